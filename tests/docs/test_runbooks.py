"""The runbooks: every command in them runs, in order, on a domain with a backup and recovery shares, and shows what the page says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.docs.pages import ROOT, Step, check, run, steps

if TYPE_CHECKING:
    from pathlib import Path

RUNBOOKS = ROOT / "docs" / "runbooks"
INDEX = "README"
NAMES = ["custody-knows-less", "root-corrupted", "root-half-migrated", "root-lost", "root-stolen", "shares-lost"]

# What a runbook says that you have: a domain, a backup on another disk, five shares of which three are needed.
BEFORE = [
    "umask 077",
    "mkdir ~/usb",
    "hermetic init --root local:insecure-file --project clinic --backup ~/usb",
    "printf 'case,age\\n1,44\\n2,53\\n3,61\\n' > patients.csv",
    "hermetic seal patients.csv --as dataset/patients --class restricted",
    "hermetic key shares create -n 5 -m 3 --name board --to-folder ~/shares",
]


@pytest.mark.parametrize("name", NAMES)
def test_runbook(name: str, folder: Path, home: Path) -> None:
    page = RUNBOOKS / f"{name}.md"
    check(page, run([*(Step(command, 0) for command in BEFORE), *steps(page)], folder, home))


def test_every_runbook_is_run_and_listed() -> None:
    assert {page.stem for page in RUNBOOKS.glob("*.md")} == {*NAMES, INDEX}
    index = (RUNBOOKS / f"{INDEX}.md").read_text(encoding="utf-8")
    assert [name for name in NAMES if f"({name}.md)" not in index] == []
    assert "runbooks/README.md" in (ROOT / "docs" / "index.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", NAMES)
def test_every_runbook_says_what_it_looks_like_and_the_way_out(name: str) -> None:
    text = (RUNBOOKS / f"{name}.md").read_text(encoding="utf-8")
    assert text.index("## What it looks like") < text.index("## The way out")
    assert "hermetic: error: " in text or name == "root-stolen"
