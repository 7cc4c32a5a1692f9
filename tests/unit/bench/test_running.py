"""The benchmark itself, with tiny files. What it measures is not looked at, only that it does the work and leaves nothing."""

import hashlib

import pytest

from hermetic.assets.workspace import connect
from hermetic.bench import cell, domains, epochs, running, shape
from hermetic.bench.report import TENSOR_WORKS, WORKS
from hermetic.bench.works import PLAIN, REF, SEALED, Bench
from hermetic.errors import IntegrityError, StorageError, UsageError
from hermetic.formats.suites import APPROVED_SUITE, DEFAULT_SUITE

PLAIN_WORKS = tuple(work for work in WORKS if work not in TENSOR_WORKS)


def plan(found, folder, **given):
    values = {"works": PLAIN_WORKS, "suites": (DEFAULT_SUITE.name,), "threads": (2,), "rounds": 7} | given
    return running.Plan(found, folder=folder, **values)


@pytest.fixture
def bench(tmp_path, monkeypatch):
    """What a cell works with, in this process: three files, one of them empty."""
    source = tmp_path / "input"
    source.mkdir()
    for name, content in {"a.parquet": b"a" * 100_000, "b#?%.bin": b"", "c.bin": bytes(range(256)) * 9000}.items():
        (source / name).write_bytes(content)
    made = domains.create(tmp_path / "sha256", APPROVED_SUITE.name)
    for name, value in made.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(made.project)
    (tmp_path / "scratch").mkdir()
    with connect(made.project) as h:
        found = Bench(h, source, tmp_path / "scratch", 2)
        found.seal_all(expect=APPROVED_SUITE.name)
        yield found


def test_every_work_is_measured_and_nothing_stays(tmp_path):
    own = tmp_path / "own.safetensors"
    own.write_bytes(b"not even tensors" * 4096)
    before = (own.stat().st_mtime_ns, hashlib.sha256(own.read_bytes()).digest())
    steps = []
    (tmp_path / "bench").mkdir()
    chosen = plan(shape.of_path(own), tmp_path / "bench")
    found = running.run(chosen, advance=steps.append)
    assert [figure.metric for figure in found.figures] == [f"{work}/blake3/2" for work in PLAIN_WORKS[:-1]] + ["release"]
    assert frozenset(figure.metric for figure in found.figures) == running.metrics(chosen)
    assert steps == [1] * len(PLAIN_WORKS)
    assert all(figure.sealed.count == figure.plain.count == 7 for figure in found.figures)
    assert list((tmp_path / "bench").iterdir()) == []
    assert (own.stat().st_mtime_ns, hashlib.sha256(own.read_bytes()).digest()) == before


def test_an_error_in_a_cell_is_told_as_it_is(tmp_path):
    own = tmp_path / "own.bin"
    own.write_bytes(b"x")
    found = shape.of_path(own)
    own.unlink()
    (tmp_path / "bench").mkdir()
    with pytest.raises(Exception, match="there is no file") as caught:
        running.run(plan(found, tmp_path / "bench"))
    assert type(caught.value).__module__ == "hermetic.errors"
    assert list((tmp_path / "bench").iterdir()) == []


def test_no_room(tmp_path):
    with pytest.raises(StorageError, match="MiB free"):
        running.run(plan(shape.default(1 << 60), tmp_path))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"works": ("sael",)}, "'sael' is no work"),
        ({"rounds": 6}, "too few"),
        ({"threads": ()}, "at least 1"),
        ({"threads": (0,)}, "at least 1"),
    ],
)
def test_plans_that_make_no_sense(tmp_path, given, said):
    with pytest.raises(UsageError, match=said):
        running.run(plan(shape.default(1), tmp_path, **given))


@pytest.mark.parametrize(("processors", "counts"), [(1, (1,)), (2, (1, 2)), (6, (1, 2, 4, 6)), (16, (1, 2, 4, 8, 16))])
def test_thread_counts(processors, counts):
    assert running.thread_counts(processors) == counts


def test_a_release_is_measured_once_whatever_suites_and_threads(tmp_path):
    chosen = plan(shape.default(1), tmp_path, works=("load", "release"), suites=tuple(domains.SHORT.values()), threads=(1, 2))
    assert len(running.metrics(chosen)) == 5


def test_what_is_exposed_is_what_was_sealed(bench):
    works = bench.works("expose")
    for side in (SEALED, PLAIN):
        works[side].before()
        works[side].run()
        out = sorted((bench.scratch / "out").iterdir())
        assert [path.read_bytes() for path in out] == [file.path.read_bytes() for file in bench.files()]
        works[side].after()
        assert not (bench.scratch / "out").exists()
    assert bench.workspace.exposures() == ()


def test_sealing_again_and_again_fills_no_disk(bench):
    store = bench._store()
    before = sorted(store.iterdir())
    work = bench.works("seal")[SEALED]
    work.before()
    work.run()
    assert len(list(store.iterdir())) == len(before) + 1
    work.after()
    assert sorted(store.iterdir()) == before


def test_an_epoch_reads_every_byte_once(bench):
    total = sum(file.length for file in bench.files())
    sealed = [epochs.Shard("hermetic", f"{REF}/{file.member}", file.length) for file in bench.files()]
    assert epochs.epoch(sealed, 2)() == total
    blocks = epochs.Blocks(sealed)
    assert b"".join(blocks[number] for number in range(len(blocks))) == b"".join(file.path.read_bytes() for file in bench.files())


def test_a_release_is_on_record_each_time(bench):
    work = bench.works("release")[SEALED]
    before = bench.workspace.show(REF).releases
    work.run()
    work.after()
    assert bench.workspace.show(REF).releases == before + 20


def test_a_domain_under_another_suite_is_not_measured_as_if_it_were(bench):
    with pytest.raises(IntegrityError, match="seals under"):
        bench.seal_all(expect=DEFAULT_SUITE.name)


def test_the_environment_of_a_cell_has_nothing_of_the_users_domain(tmp_path, monkeypatch):
    monkeypatch.setenv("HERMETIC_URL", "https://custody")
    monkeypatch.setenv("HERMETIC_HOME", "/elsewhere")
    made = domains.Throwaway(tmp_path / "home", tmp_path / "project", DEFAULT_SUITE.name)
    ours = {name: value for name, value in made.environment.items() if name.startswith("HERMETIC")}
    assert ours == {"HERMETIC_HOME": str(tmp_path / "home")}


def test_an_unknown_kind_of_error_is_still_ours():
    with pytest.raises(Exception, match="odd") as caught:
        cell.raise_told({"kind": "annotations", "message": "odd", "hint": None})
    assert type(caught.value).__name__ == "HermeticError"
