"""Tests against other people's tools. Those that need an environment of their own lie in a folder of its name.

`make interop-NAME` makes .environments/NAME from environments/NAME.txt and runs tests/interop/NAME there; elsewhere that folder is not
collected. `traces` and `nothing_left` look for plaintext on disks (`traces.py`).
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.interop.traces import Traces

_HERE = Path(__file__).parent
collect_ignore = [path.stem for path in (_HERE / "environments").glob("*.txt") if path.stem != os.environ.get("HERMETIC_INTEROP")]


@pytest.fixture
def traces(isolated_environment, tmp_path, monkeypatch):
    """A marker to plant, and the search for it in everything that this test can write: HOME, temporary folder, working directory."""
    temporary, work = tmp_path / "temporary", tmp_path / "work"
    temporary.mkdir()
    work.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.chdir(work)
    return Traces((isolated_environment, tmp_path))


@pytest.fixture
def nothing_left(traces):
    """Call it with two functions that do the same, the plain way and the sealed way: only the plain one may leave a trace.

    The plain one is the control: if the search does not find what it left, the search is void and the test fails.
    """

    def check(*, plain, sealed):
        with traces.control():
            plain()
        sealed()
        assert traces.found() == []

    return check
