"""fsspec's abstract tests on hermetic://.

Everything runs on `hermetic://scratch/…`, which is a run's own: copy, get, put, open, pipe. On governed names (`features/…`) run
those that do not remove what was published: open, pipe, get. Not run there, because they contradict an invariant:

    copy, put   remove what they have just written and look that it is gone. A version is immutable and never removed by fsspec: what
                is to end is a matter of retention and keys, with consequences said before. `test_removal_is_refused` holds it.
"""

from __future__ import annotations

import fsspec.tests.abstract as suite
import pytest

from hermetic.errors import UsageError
from tests.unit.integrations.abstract import MemoryTargets


class ScratchFixtures(MemoryTargets):
    @pytest.fixture
    def fs(self, fs, h):
        with h.run("suite", purpose="prepare"):
            yield fs

    @pytest.fixture
    def fs_path(self):
        return "scratch/suite"


class TestScratchCopy(suite.AbstractCopyTests, ScratchFixtures):
    pass


class TestScratchGet(suite.AbstractGetTests, ScratchFixtures):
    pass


class TestScratchPut(suite.AbstractPutTests, ScratchFixtures):
    pass


class TestScratchOpen(suite.AbstractOpenTests, ScratchFixtures):
    pass


class TestScratchPipe(suite.AbstractPipeTests, ScratchFixtures):
    pass


class GovernedFixtures(MemoryTargets):
    """Sources are folders in a version that was published before; nothing is cleaned up after a test, since nothing is removed.

    They lie below a name and are none themselves: a version of one file is that file, and the suite has folders of one file.
    """

    @pytest.fixture
    def fs(self, fs, h):
        for name in ("all", "target"):
            h.seal(b"known", name=f"features/{name}")
        with h.run("suite", purpose="prepare"):
            yield fs

    @pytest.fixture
    def fs_path(self):
        return "features/all"

    @pytest.fixture
    def fs_target(self, fs):
        return "features/target"

    @pytest.fixture
    def fs_bulk_operations_scenario_0(self, fs, fs_join, fs_path):
        with fs.transaction:
            return self._bulk_operations_scenario_0(fs, fs_join, fs_path)

    @pytest.fixture
    def fs_glob_edge_cases_files(self, fs, fs_join, fs_path):
        with fs.transaction:
            return self._glob_edge_cases_files(fs, fs_join, fs_path)

    @pytest.fixture
    def fs_dir_and_file_with_same_name_prefix(self, fs, fs_join, fs_path):
        with fs.transaction:
            return self._dir_and_file_with_same_name_prefix(fs, fs_join, fs_path)

    @pytest.fixture
    def fs_10_files_with_hashed_names(self, fs, fs_join, fs_path):
        with fs.transaction:
            return self._10_files_with_hashed_names(fs, fs_join, fs_path)


class TestGovernedGet(suite.AbstractGetTests, GovernedFixtures):
    pass


class OutsideFixtures(GovernedFixtures):
    @pytest.fixture
    def fs(self, fs, h):
        h.seal(b"known", name="features/target")
        return fs


class TestGovernedOpenOutside(suite.AbstractOpenTests, OutsideFixtures):
    pass


class TestGovernedPipeOutside(suite.AbstractPipeTests, OutsideFixtures):
    pass


class TestGovernedOpen(suite.AbstractOpenTests, GovernedFixtures):
    pass


class TestGovernedPipe(suite.AbstractPipeTests, GovernedFixtures):
    pass


class TestWhatContradicts(GovernedFixtures):
    def test_removal_is_refused(self, fs, fs_bulk_operations_scenario_0):
        before = fs.find(fs_bulk_operations_scenario_0)
        with pytest.raises(UsageError, match="cannot be removed"):
            fs.rm(fs_bulk_operations_scenario_0, recursive=True)
        assert fs.find(fs_bulk_operations_scenario_0) == before != []
