"""Fixtures for fsspec's own abstract tests (fsspec.tests.abstract), whose classes take them from their subclass."""

from __future__ import annotations

import posixpath
import tempfile
from pathlib import Path

import pytest
from fsspec.tests.abstract import AbstractFixtures

from hermetic.assets import private_tmp

MEMORY = Path("/dev/shm")


class MemoryTargets(AbstractFixtures):
    """What is copied out goes to a folder in memory: to one on a disk it is refused, which test_downloads.py shows."""

    @pytest.fixture
    def fs_join(self):
        return posixpath.join

    @pytest.fixture
    def local_path(self):
        if not private_tmp.is_in_memory(MEMORY):
            pytest.skip("/dev/shm is no tmpfs here")
        with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
            yield folder

    @pytest.fixture
    def supports_empty_directories(self):
        return False
