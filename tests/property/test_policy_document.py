"""hermetic.yaml from anybody: garbage gives ConfigError and nothing else, in bounded time; mistakes have places inside the text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermetic.errors import ConfigError
from hermetic.policy import defaults, document

if TYPE_CHECKING:
    from hermetic.policy.model import PolicyDocument

DEFAULT = defaults.document_text("a" * 26, "risk")
HEAD = "format: hermetic-policy/1\ndomain: aaaaaaaaaaaaaaaaaaaaaaaaaa\nproject: risk\n"
LINES = DEFAULT.splitlines(keepends=True)

# Text that looks like YAML finds more than random characters do.
PIECES = st.sampled_from(
    [
        *(
            "- ",
            ": ",
            "{",
            "}",
            "[",
            "]",
            ",",
            "\n",
            "  ",
            "'",
            '"',
            "#",
            "|",
            ">",
            "&a",
            "*a",
            "!t",
            "%",
            "---",
            "? ",
            "\t",
            "\\",
            "<<",
        ),
        *("\x00", "~", "null", "true", "1", "-1.5", "9" * 30, "\ud800", "\u2028", "\ufeff", "é", "\x85", "x"),
        *("classes", "rules", "public", "15m"),
    ]
)
YAMLISH = st.lists(PIECES, max_size=60).map("".join)

VALUES: Any = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["public", "15m", "share", "none", "/x", "a://b"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(list(document._fields.Raw.__dataclass_fields__)), inner, max_size=4)
    ),
    max_leaves=12,
)


def read(text: str) -> PolicyDocument | None:
    """Parse, and check the error if there is one."""
    found = document.problems(text, now_ms=1_790_000_000_000)
    if not found:
        return document.parse(text, now_ms=1_790_000_000_000)
    with pytest.raises(ConfigError) as caught:
        document.parse(text, now_ms=1_790_000_000_000)
    assert "\n" not in str(caught.value)
    assert (caught.value.line, caught.value.column) == (found[0].line, found[0].column)
    for problem in found:
        assert 1 <= problem.line <= len(text.splitlines()) + 1
        assert problem.column >= 1
        assert problem.remedy
    return None


@given(st.text(max_size=300))
def test_any_text(text: str) -> None:
    assert read(text) is None


@given(YAMLISH)
def test_text_that_looks_like_yaml(text: str) -> None:
    read(text)
    read(HEAD + text)


@given(st.binary(max_size=200))
def test_any_bytes_read_as_latin_text(raw: bytes) -> None:
    read(HEAD + raw.decode("latin-1"))


def flow(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(flow, value)) + "]"
    return repr(value) if isinstance(value, str) else "null" if value is None else str(value).lower()


@given(st.sampled_from(list(document._fields.Raw.__dataclass_fields__)), VALUES)
def test_any_value_under_any_key(key: str, value: Any) -> None:
    read(HEAD + f"{key}: {flow(value)}\n")


@given(st.data())
def test_a_default_file_with_a_line_lost_moved_or_doubled(data: st.DataObject) -> None:
    at, to = (data.draw(st.integers(0, len(LINES) - 1)) for _ in range(2))
    changed = list(LINES)
    line = changed.pop(at)
    if data.draw(st.booleans()):
        changed.insert(to, line)
    read("".join(changed))


@given(st.integers(0, len(DEFAULT)), st.sampled_from(["", "x", ":", "[", "\n", "'", "\x01", "9"]))
def test_a_default_file_with_a_character_changed(at: int, put: str) -> None:
    read(DEFAULT[:at] + put + DEFAULT[at + 1 :])


@given(st.integers(0, len(DEFAULT)))
def test_a_default_file_that_was_cut(at: int) -> None:
    read(DEFAULT[:at])


@pytest.mark.parametrize("unit", ["[", "{", "- ", "a: ", "? ", "!", "'", '"', "#", "[a,", "{a: ", "\n", " ", "a\n", "- a\n", "&a "])
def test_long_repetitions_cost_no_more_than_their_length(unit: str) -> None:
    read((unit * 130_000)[:131_072])
