"""Settings for every test: an environment of its own, data from outside, and a count of the known-answer files that ran.

test_data       folder that HERMETIC_TEST_DATA names; the test is skipped, visibly, when it is not set
count_vector    call it with a known-answer file once its answer was checked; the summary prints how many ran
domain_home     an empty HERMETIC_HOME for this test

A test that calls `record_property("summary", TEXT)` has TEXT printed in the summary.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.stretching import at_lowest_cost

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).resolve().parent.parent
DATA_VARIABLE = "HERMETIC_TEST_DATA"
_XDG = ("DATA", "CONFIG", "STATE", "CACHE", "RUNTIME")
_PROPERTY = "known-answer file"
_SUMMARY = "summary"
_FUZZED = "fuzzed inputs"


def pytest_configure() -> None:
    os.umask(0o077)
    at_lowest_cost()


@pytest.fixture(scope="session")
def _empty_homes() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="hermetic-tests-") as folder:
        yield Path(folder)


@pytest.fixture(autouse=True)
def isolated_environment(_empty_homes: Path) -> Iterator[Path]:
    """Give the test a home of its own; nothing of the user's settings, domains or HERMETIC_* variables is seen."""
    with tempfile.TemporaryDirectory(dir=_empty_homes) as folder, pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("HERMETIC_") and name != DATA_VARIABLE]:
            patch.delenv(name)
        patch.setenv("HOME", folder)
        for name in _XDG:
            patch.setenv(f"XDG_{name}_{'DIR' if name == 'RUNTIME' else 'HOME'}", str(Path(folder, f".{name.lower()}")))
        patch.setenv("NO_COLOR", "1")
        patch.setenv("COLUMNS", "120")
        if (current := sys.modules.get("hermetic.assets.current")) is not None:
            patch.setattr(current, "_read", {})  # a test is a process that has read nothing yet
        yield Path(folder)


@pytest.fixture
def domain_home(isolated_environment: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Set HERMETIC_HOME to an empty folder, mode 0700, and return it."""
    home = isolated_environment / "hermetic"
    home.mkdir(mode=0o700)
    monkeypatch.setenv("HERMETIC_HOME", str(home))
    return home


@pytest.fixture(scope="session")
def test_data() -> Path:
    """Return the folder with test data from outside; skip when there is none, fail when the variable is wrong."""
    named = os.environ.get(DATA_VARIABLE)
    if not named:
        pytest.skip(f"{DATA_VARIABLE} is not set")
    folder = Path(named)
    assert folder.is_dir(), f"{DATA_VARIABLE} names {named}, which is not a folder"
    return folder


@pytest.fixture
def count_vector(record_property: Callable[[str, object], None]) -> Callable[[Path], None]:
    """Return a function to call with each known-answer file whose answer was checked."""

    def count(path: Path) -> None:
        record_property(_PROPERTY, str(Path(path).resolve()))

    return count


def pytest_sessionfinish() -> None:
    if (backends := sys.modules.get("tests.backends")) is not None:
        backends.close_standing()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print how many known-answer files the passed tests checked; works across pytest-xdist, which carries properties over."""
    ran = {
        str(value)
        for report in terminalreporter.stats.get("passed", [])
        for name, value in report.user_properties
        if name == _PROPERTY
    }
    own = {path for path in ran if Path(path).is_relative_to(ROOT)}
    where = "" if os.environ.get(DATA_VARIABLE) else f" ({DATA_VARIABLE} is not set)"
    terminalreporter.write_line(f"test data: {len(ran - own)} known-answer files ran{where}")
    terminalreporter.write_line(f"own vectors: {len(own)} files ran")
    if counts := [
        value for report in terminalreporter.stats.get("passed", []) for name, value in report.user_properties if name == _FUZZED
    ]:
        terminalreporter.write_line(f"fuzz: {len(counts)} targets, {sum(counts):,} seeded inputs")
    for reports in ("passed", "skipped", "failed"):
        for report in terminalreporter.stats.get(reports, []):
            for name, value in report.user_properties:
                if name == _SUMMARY:
                    terminalreporter.write_line(str(value))
