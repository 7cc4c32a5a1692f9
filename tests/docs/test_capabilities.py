"""docs/capabilities.md lists exactly what tests/acceptance shows, and only commands that exist."""

from __future__ import annotations

import re
from pathlib import Path

from hermetic.cli import commands

ROOT = Path(__file__).resolve().parents[2]
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in (ROOT / "docs" / "capabilities.md").read_text(encoding="utf-8").splitlines()
    if re.match(r"\| [A-Z]{2}\d+ ", line)
]


def test_each_row_is_shown_by_a_test_and_each_test_shows_a_row():
    files = (ROOT / "tests" / "acceptance").glob("test_*.py")
    shown = {
        name for file in files for name in re.findall(r"^def test_([A-Z]{2}\d+)_", file.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert [row[0] for row in ROWS] == list(dict.fromkeys(row[0] for row in ROWS))
    assert {row[0] for row in ROWS} == shown


def test_what_a_row_tells_one_to_look_at_is_there():
    for row in ROWS:
        told = re.findall(r"`([a-z][^`]*)`", row[2])
        links = re.findall(r"\]\((\S+)\)", row[2])
        assert told or links, row[0]
        for words in told:
            assert words.split()[0] in commands.COMMANDS or words == "classes:" or (ROOT / words).exists(), words
        for link in links:
            assert (ROOT / "docs" / link).resolve().exists(), link
