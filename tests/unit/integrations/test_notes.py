"""What custody says about a version reaches whoever writes by URL, who gets no result to look at."""

from __future__ import annotations

import warnings

import fsspec
import pytest

from hermetic.assets.notes import WriterNote
from hermetic.integrations import process
from hermetic.integrations.filesystem import HermeticFileSystem
from tests.unit.assets.real import domain, domain_template, real  # noqa: F401 - fixtures


@pytest.fixture
def fs(real, monkeypatch):  # noqa: F811
    monkeypatch.setattr(process, "_known", {})
    HermeticFileSystem.clear_instance_cache()
    yield fsspec.filesystem("hermetic", purpose="prepare")
    for found in process._known.values():
        found.close()
    HermeticFileSystem.clear_instance_cache()


@pytest.mark.parametrize("way", ["file", "transaction", "run"])
def test_a_write_that_raises_the_class_of_a_name_warns(real, fs, way):  # noqa: F811
    real.seal(b"1", name="features/x")
    real.seal(b"secret", name="dataset/patients", data_class="restricted")
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        if way == "run":
            with real.run("prepare", purpose="prepare"):
                fs.cat_file("dataset/patients")
                fs.pipe_file("features/x", b"2")
        else:
            fs.cat_file("dataset/patients")
            if way == "transaction":
                with fs.transaction:
                    fs.pipe_file("features/x", b"2")
            else:
                fs.pipe_file("features/x", b"2")
    notes = [str(item.message) for item in told if item.category is WriterNote]
    assert len(notes) == 1
    assert notes[0].startswith("features/x was internal and is restricted from this version on")
    assert (real.show("features/x").data_class, real.list("features/x")[0].data_class) == ("restricted", "restricted")
