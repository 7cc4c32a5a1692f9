"""A domain on disk, and shards of records in it."""

from __future__ import annotations

import json

import numpy as np
import pytest

from hermetic.formats.messages.log import ReadLog
from hermetic.integrations import process
from tests.unit.assets.real import domain, domain_template, real  # noqa: F401 - fixtures

ROWS, WIDTH = (700, 300, 0, 501), 1000  # records of 2000 bytes, so that they lie across the segments' borders


@pytest.fixture(autouse=True)
def nothing_attached():
    """hermetic:// of one test does not stay connected to the domain of another."""
    yield
    for found in list(process._known.values()):
        found.close()
    process._known.clear()


@pytest.fixture
def numbers():
    return np.random.default_rng(5).integers(0, 30_000, (sum(ROWS), WIDTH), dtype=np.int16)


@pytest.fixture
def shards(real, numbers, tmp_path):  # noqa: F811
    """dataset/train@1: four shards, one of them empty, all records numbered through."""
    folder, done = tmp_path / "shards", 0
    folder.mkdir()
    for number, rows in enumerate(ROWS):
        (folder / f"{number}.bin").write_bytes(numbers[done : done + rows].tobytes())
        done += rows
    return real.seal(folder, name="dataset/train", data_class="internal", purpose="ingest")


@pytest.fixture
def releases(real):  # noqa: F811
    """Count the releases on record so far."""

    def count():
        rows = real.connection.ask(ReadLog(limit=2000)).rows
        return sum(row.kind == "release.intent" and json.loads(row.leaf)["facts"]["action"] == "open" for row in rows)

    return count
