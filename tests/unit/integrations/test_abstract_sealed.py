"""fsspec's abstract tests on sealed:: over a disk and over memory: all of them, copy, get, put, open, pipe; and mv.

Each file that they write is a version of one asset. What is copied out with `get` goes to a folder in memory.
"""

from __future__ import annotations

import itertools
import zlib

import fsspec.tests.abstract as suite
import pytest

from tests.unit.integrations.abstract import MemoryTargets
from tests.unit.integrations.sealed_domain import SUITES, copied, entered, fresh_process, ground_in, sealed_template  # noqa: F401

_turn = itertools.count()


@pytest.fixture(scope="module")
def shared(sealed_template, tmp_path_factory):  # noqa: F811
    """One domain for all: the tests remove what they wrote."""
    with copied(sealed_template, tmp_path_factory.mktemp("suite") / "domain") as made, fresh_process():
        yield made


@pytest.fixture(params=["file", "memory"])
def ground(request, shared, monkeypatch):
    if request.param == "file" and "glob_edge_cases" in request.node.name and zlib.crc32(request.node.name.encode()) % 4:
        pytest.skip("patterns are fsspec's own work: memory tries them all, a disk every fourth")
    entered(shared, monkeypatch)
    monkeypatch.setenv("HERMETIC_PURPOSE", "prepare")
    return ground_in(shared, request.param, f"suite{next(_turn) % SUITES}")


class SealedFixtures(MemoryTargets):
    @pytest.fixture
    def fs(self, ground):
        ground.plain.makedirs(ground.base, exist_ok=True)
        return ground.fs

    @pytest.fixture
    def fs_path(self, ground):
        return ground.base

    @pytest.fixture
    def supports_empty_directories(self):
        return True


class TestCopy(suite.AbstractCopyTests, SealedFixtures):
    pass


class TestGet(suite.AbstractGetTests, SealedFixtures):
    pass


class TestPut(suite.AbstractPutTests, SealedFixtures):
    pass


class TestOpen(suite.AbstractOpenTests, SealedFixtures):
    pass


class TestPipe(suite.AbstractPipeTests, SealedFixtures):
    pass
