"""What an approver reads: whole, on one line, and no two texts alike."""

from __future__ import annotations

import dataclasses
import typing
import unicodedata

import pytest

from hermetic.formats import codec
from hermetic.formats.messages.destruction import ShredVersions
from hermetic.formats.messages.packages import RecipientKey, ShareVersion
from hermetic.formats.readable import pairs, spelled


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", '""'),
        ('""', '\\x22"'),
        ("Ana Müller", "Ana Müller"),
        ("a\\nb", "a\\\\nb"),
        ("a\nb", "a\\nb"),
        ("a\x1b[2Jb\x7f\x9b", "a\\x1b[2Jb\\x7f\\x9b"),
        ("\u202egpj\u2066\u200b\ufeff", "\\u202egpj\\u2066\\u200b\\ufeff"),
        ("a   b", "a \\x20\\x20b"),
        (" a ", "\\x20a\\x20"),
        ("a\u00a0b\u3164\ufe0f\U000e0101", "a\\xa0b\\u3164\\ufe0f\\U000e0101"),
        ("\ud800", "\\ud800"),
    ],
)
def test_text_is_spelled_so_that_nothing_hides(text, shown):
    assert spelled(text) == shown


def test_lines_of_a_file_keep_their_spaces_until_they_could_fill_a_terminal():
    assert spelled("    retention: 2y  # two", spaces=32) == "    retention: 2y  # two"
    assert spelled("a" + " " * 34 + "b", spaces=32) == "a" + " " * 32 + "\\x20\\x20b"


def test_every_character_is_shown_or_written_out():
    for code in range(0x11000):
        char = chr(code)
        shown = spelled(f"<{char}>")
        assert shown.isprintable()
        assert unicodedata.category(char)[0] != "C" or char not in shown
        assert len(shown) > 2


def test_nothing_of_a_message_is_cut_or_left_out():
    reason, key = "because " * 300, bytes(range(256)) * 5
    shared = ShareVersion("model/risk@3", "v" * 26, (RecipientKey("ana", key), RecipientKey("ben", b"\0" * 32)), 30, reason)
    said = {pair.name: pair.value for pair in pairs(shared)}
    assert said["reason"] == spelled(reason)
    assert said["recipients[0].public"].startswith("1280 bytes, SHA-256 ")
    assert said["recipients[1].public"].startswith("00" * 32)
    assert (said["recipients[1].name"], said["days"]) == ("ben", "30")
    shown = [{pair.name: pair.value for pair in pairs(dataclasses.replace(shared, reason=text))} for text in ("", "(none)")]
    assert [one["reason"] for one in shown] == ['""', "\\x28none)"]
    many = ShredVersions(tuple(f"dataset/a@{n}" for n in range(500)), ("v" * 26,) * 500, "x")
    assert sum(pair.name.startswith("refs[") for pair in pairs(many)) == 500


def test_every_message_that_can_be_asked_has_all_its_fields_shown():
    """Each field of each registered message appears, by name: what is added to a message later is shown too."""
    for cls in codec.registered().values():
        hints = typing.get_type_hints(cls)
        blank = cls(**{field.name: _blank(hints[field.name]) for field in dataclasses.fields(cls)})
        shown = {pair.name.partition("[")[0].partition(".")[0] for pair in pairs(blank)}
        assert shown == {field.name for field in dataclasses.fields(cls)}


def _blank(kind):
    if type(None) in typing.get_args(kind):
        return None
    if typing.get_origin(kind) is tuple:
        return ()
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        return kind(**{field.name: _blank(hints[field.name]) for field in dataclasses.fields(kind)})
    kind = getattr(kind, "__supertype__", kind)
    return next(iter(kind)) if hasattr(kind, "__members__") else kind()
