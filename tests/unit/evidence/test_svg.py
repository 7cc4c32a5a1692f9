"""The picture: well-formed, self-contained, complete, safe against names that want to be markup, and the same each time."""

from __future__ import annotations

import re
from itertools import pairwise
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermetic.evidence import map as pipeline
from hermetic.evidence import svg
from hermetic.evidence.surroundings import PlainFile
from hermetic.evidence.svg_layout import arrange
from hermetic.evidence.svg_shapes import fit
from tests.unit.evidence import sample

SVG = "{http://www.w3.org/2000/svg}"
FULL = pipeline.draw(sample.FULL_FACTS, sample.FULL_AROUND)


def words(text: str) -> str:
    return " ".join(item.text or "" for item in ET.fromstring(text).iter(f"{SVG}text"))


@pytest.mark.parametrize("theme", ["auto", "light", "dark"])
def test_the_picture_is_well_formed_and_names_itself(theme):
    root = ET.fromstring(svg.render(FULL, theme=theme))
    assert root.find(f"{SVG}title").text == "Pipeline map of cardio-risk"
    assert "ingestion: stored: 3 sealed" in root.find(f"{SVG}desc").text


def test_it_refers_to_nothing_outside_and_runs_nothing():
    text = svg.render(FULL)
    assert not re.search(r"<script|href=|<image|@import|\son\w+=|<foreignObject", text)
    assert set(re.findall(r"url\(([^)]*)\)", text)) <= {"#gap"}
    assert text.count("http") == 1  # the name space


def test_all_stages_and_what_is_in_them_are_there():
    said = words(svg.render(FULL))
    for word in (
        "Ingestion",
        "Monitoring",
        "patients",
        "lab-results",
        "train-risk",
        "drift-watch",
        "from hospital-export",
        "data/raw",
    ):
        assert word in said


def test_it_is_the_same_each_time():
    assert svg.render(FULL) == svg.render(pipeline.draw(sample.FULL_FACTS, sample.FULL_AROUND))


def test_nothing_overlaps_in_a_lane():
    for lane in arrange(FULL).lanes:
        boxes = sorted((item.box for group in (lane.outside, lane.pills, lane.stores) for item in group), key=lambda box: box.y)
        assert all(upper.bottom < lower.y for upper, lower in pairwise(boxes))
        assert all(lane.box.x < box.x and box.right < lane.box.right and box.bottom < arrange(FULL).foot for box in boxes)


def test_many_assets_are_counted_not_drawn():
    many = tuple(sample.asset(f"dataset/d{number:03}") for number in range(200))
    drawn = pipeline.draw(sample.facts(assets=many, runs=(sample.run("clean", "prepare", ("dataset/d150@1",), ()),)), sample.around())
    assert "and 196 more" in words(svg.render(drawn))


def test_names_cannot_become_markup_or_turn_text_around():
    files = (PlainFile('a/<script>alert("x")</script>\u202e\x1b[31m&.csv', "csv", 1),)
    text = svg.render(pipeline.draw(sample.facts(), sample.around(plain_files=files, scanned=("a",))))
    ET.fromstring(text)
    assert "<script" not in text
    assert "\u202e" not in text
    assert "\x1b" not in text


@given(st.text(max_size=60), st.integers(20, 300))
def test_text_is_cut_to_its_room(text, room):
    cut = fit(text, room, 12)
    assert cut == text or cut.endswith("…")


@given(st.text(max_size=30))
def test_any_path_gives_a_well_formed_picture(path):
    files = (PlainFile(path, "csv", 1),)
    ET.fromstring(svg.render(pipeline.draw(sample.facts(), sample.around(plain_files=files, scanned=()))))
