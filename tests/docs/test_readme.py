"""The README: every command in it runs, and what it points to is there."""

from __future__ import annotations

import re
import tomllib
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING

import pytest

from tests.docs.pages import ROOT, blocks, check, run, steps

if TYPE_CHECKING:
    from pathlib import Path

README = ROOT / "README.md"
PAGES = [
    README,
    ROOT / "examples" / "clinic" / "README.md",
    ROOT / "examples" / "clinic_service" / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "docs" / "how-to").glob("*.md")),
]
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")

pytest.importorskip("pyarrow")


def test_five_minutes(folder: Path, home: Path, patients: None) -> None:
    check(README, run(steps(README), folder, home))


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"(?m)^([a-z-]+):.*##", (ROOT / "Makefile").read_text()))
    named = {name for page in PAGES for name in re.findall(r"`?make ([a-z-]+)\b", page.read_text())}
    assert named & {"demo", "demo-service", "test", "bench"} == {"demo", "demo-service", "test", "bench"}
    assert {name for name in named if name in {"demo", "demo-service", "test", "bench", "venv", "soak", "docs"}} <= targets


def test_extras_exist() -> None:
    extras = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])
    installs = [line for page in PAGES for block in blocks(page) if block.language == "sh" for line in block.text.splitlines()]
    named = {name for line in installs for listed in re.findall(r"\.\[([a-z,]+)\]", line) for name in listed.split(",")}
    assert named
    assert named <= extras
    assert all(".[torch]" not in line or "https://download.pytorch.org/whl/cpu" in line for line in installs)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    broken = []
    for link in LINK.findall(page.read_text(encoding="utf-8")):
        target, _, heading = link.partition("#")
        if target.startswith("https://"):
            continue
        place = (page.parent / target).resolve() if target else page
        if not place.exists() or (heading and heading not in anchors(place)):
            broken.append(link)
    assert broken == []


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"(?m)^#+ (.*)$", page.read_text(encoding="utf-8"))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", ["hermetic.svg", "clinic-map.svg"])
def test_pictures_say_what_they_show(name: str) -> None:
    root = ET.fromstring((ROOT / "docs" / "img" / name).read_text(encoding="utf-8"))
    space = "{http://www.w3.org/2000/svg}"
    assert root.findtext(f"{space}title")
    assert root.findtext(f"{space}desc")
    assert not [item for item in root.iter() if item.tag.endswith(("script", "image", "foreignObject"))]


def test_figures_have_their_place() -> None:
    text = README.read_text(encoding="utf-8")
    assert text.index("<!-- figures: begin -->") < text.index("<!-- figures: end -->")
