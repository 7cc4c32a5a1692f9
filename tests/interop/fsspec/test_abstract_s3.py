"""fsspec's own abstract tests on sealed::s3://, against servers on loopback."""

from __future__ import annotations

import zlib

import fsspec.tests.abstract as suite
import pytest

from tests.unit.integrations.abstract import MemoryTargets


class S3Fixtures(MemoryTargets):
    @pytest.fixture
    def fs(self, ground, request):
        if "glob_edge_cases" in request.node.name and zlib.crc32(request.node.name.encode()) % 8:
            pytest.skip("patterns are fsspec's own work: memory tries them all, a bucket every eighth")
        return ground.fs

    @pytest.fixture
    def fs_path(self, ground):
        return ground.base


class TestCopy(suite.AbstractCopyTests, S3Fixtures):
    pass


class TestGet(suite.AbstractGetTests, S3Fixtures):
    pass


class TestPut(suite.AbstractPutTests, S3Fixtures):
    pass


class TestOpen(suite.AbstractOpenTests, S3Fixtures):
    pass


class TestPipe(suite.AbstractPipeTests, S3Fixtures):
    pass
