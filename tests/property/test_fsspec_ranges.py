"""Ranges read through hermetic:// and sealed:: are those of the plain file."""
# ruff: noqa: F811 - fixtures by import

from __future__ import annotations

import random
from types import SimpleNamespace

import fsspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hermetic
from tests.unit.integrations.sealed_domain import copied, entered, fresh_process, ground_in, sealed_template  # noqa: F401

SIZES = (0, 1, 1000, 1_048_575, 1_048_576, 1_048_577, 2_500_000)


@pytest.fixture(scope="module")
def shared(sealed_template, tmp_path_factory):
    with copied(sealed_template, tmp_path_factory.mktemp("ranges") / "domain") as made, fresh_process():
        yield made


@pytest.fixture(scope="module")
def contents():
    source = random.Random(7)
    return {size: source.randbytes(size) for size in SIZES}


@pytest.fixture(params=["hermetic", "file", "memory"])
def files(request, shared, contents, monkeypatch):
    """A file system with a file of each size, by path."""
    entered(shared, monkeypatch)
    monkeypatch.setenv("HERMETIC_PURPOSE", "prepare")
    if request.param == "hermetic":
        with hermetic.connect() as h:
            for size, content in contents.items():
                if not any(True for _ in h.connection.ask(_listing(f"features/f{size}")).assets):
                    h.seal(content, name=f"features/f{size}", data_class="internal")
        return SimpleNamespace(fs=fsspec.filesystem("hermetic"), paths={f"features/f{size}": data for size, data in contents.items()})
    there = ground_in(shared, request.param)
    paths = {f"{there.base}/f{size}": data for size, data in contents.items()}
    if not there.fs.exists(f"{there.base}/f0"):
        with there.fs.transaction:
            for path, data in paths.items():
                there.fs.pipe_file(path, data)
    return SimpleNamespace(fs=there.fs, paths=paths)


def _listing(name):
    from hermetic.formats.messages.catalogue import ListAssets

    return ListAssets(name)


EDGES = st.one_of(st.none(), st.integers(-3_000_000, 3_000_000), st.sampled_from((0, 1, -1, 1_048_575, 1_048_576, 1_048_577)))


def test_ranges_are_slices(files):
    @given(st.data())
    @settings(max_examples=40, deadline=None)
    def check(data):
        paths = data.draw(st.lists(st.sampled_from(sorted(files.paths)), min_size=1, max_size=6))
        starts, ends = ([data.draw(EDGES) for _ in paths] for _ in range(2))
        found = files.fs.cat_ranges(paths, starts, ends, on_error="raise")
        assert found == [files.paths[path][start:end] for path, start, end in zip(paths, starts, ends, strict=True)]

    check()


def test_reading_and_seeking_is_that_of_a_file(files):
    @given(st.data())
    @settings(max_examples=25, deadline=None)
    def check(data):
        path = data.draw(st.sampled_from(sorted(files.paths)))
        plain = files.paths[path]
        with files.fs.open(path) as file:
            for _ in range(data.draw(st.integers(1, 5))):
                at, count = data.draw(st.integers(0, 3_000_000)), data.draw(st.integers(0, 1_500_000))
                file.seek(at)
                assert file.read(count) == plain[at : at + count]
                assert file.tell() == at + len(plain[at : at + count])

    check()


def test_one_range_for_all_and_errors_in_place(files):
    fs, paths = files.fs, sorted(files.paths)
    assert fs.cat_ranges(paths, 0, 5) == [files.paths[path][:5] for path in paths]
    found = fs.cat_ranges([paths[0], f"{paths[0]}-none", paths[-1]], 0, 3, max_gap=0)
    assert isinstance(found[1], FileNotFoundError)
    assert (found[0], found[2]) == (files.paths[paths[0]][:3], files.paths[paths[-1]][:3])
    with pytest.raises(FileNotFoundError):
        fs.cat_ranges([f"{paths[0]}-none"], 0, 3, on_error="raise")
    for starts, ends in (([0], 1), (0, [1, 2])):
        with pytest.raises(ValueError, match="as many"):
            fs.cat_ranges(paths[:1] * 3, starts, ends)
    with pytest.raises(TypeError):
        fs.cat_ranges(paths[0], 0, 1)


def test_head_and_tail_of_single_files(files):
    for path, plain in files.paths.items():
        assert files.fs.cat_file(path, 3, -3) == plain[3:-3]
        assert files.fs.head(path, 10) == plain[:10]
        assert files.fs.tail(path, 10) == plain[-10:]
        assert files.fs.read_block(path, 5, 100) == plain[5:105]
        assert files.fs.info(path)["size"] == len(plain)
