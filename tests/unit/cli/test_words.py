"""Durations, sizes, times, and text that cannot steer a terminal."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermetic.cli import words
from hermetic.errors import UsageError


@pytest.mark.parametrize(("text", "expected"), [("45s", 45), ("30m", 1800), ("8h", 28800), ("7d", 604800), ("2w", 1209600)])
def test_durations(text, expected):
    assert words.seconds(text) == expected


@pytest.mark.parametrize("text", ["", "0h", "8", "h", "-1h", "1.5h", "8 h", "1h30m", "8H", "٣h", "9999999999d"])
def test_anything_else_is_no_duration(text):
    with pytest.raises(UsageError):
        words.seconds(text)


@pytest.mark.parametrize(("seconds", "text"), [(0, "0s"), (59, "59s"), (61, "1m"), (7200, "2h"), (90000, "1d"), (-7200, "-2h")])
def test_spans(seconds, text):
    assert words.span(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (5 * 2**40, "5.0 TiB"), (2**61, "2048.0 PiB")]
)
def test_sizes(count, text):
    assert words.size(count) == text


def test_moments_are_utc():
    assert words.moment(1_763_712_000_000) == "2025-11-21 08:00:00Z"
    assert words.moment(None) == "-"


@pytest.mark.parametrize(
    ("at_ms", "text"),
    [
        (253_402_300_799_999, "9999-12-31 23:59:59Z"),
        (253_402_300_800_000, "253402300800000 ms"),
        (-1, "-1 ms"),
        (0, "1970-01-01 00:00:00Z"),
    ],
)
def test_a_moment_that_no_calendar_has_is_written_as_it_is(at_ms, text):
    assert words.moment(at_ms) == text


@given(st.text())
def test_no_text_reaches_a_terminal_with_a_control_or_direction_character(text):
    assert not any(unicodedata.category(char) in {"Cc", "Cf", "Cs"} and char != "\n" for char in words.safe(text))


@given(st.text(st.characters(categories=["L", "N", "P"])))
def test_ordinary_text_stays_as_it_is(text):
    assert words.safe(text) == text


def test_one_line_stays_one_line():
    assert words.one_line("ana\nsafe  yes") == "ana\\nsafe  yes"
    assert words.one_line("a\r\x1b[2J\u202eb") == "a\\r\\x1b[2J\\u202eb"
