"""Results: one JSON document, or aligned text, or rich on a terminal; never an escape sequence from a name."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from hermetic.cli import fancy
from hermetic.cli.blocks import Facts, Heading, Line, Mark, Table, plain
from hermetic.cli.out import Out, to_json
from hermetic.ids import Purpose
from tests.unit.evidence import sample

BLOCKS = [
    Facts([("name", Mark("dataset/a", "name")), ("longer label", 3)]),
    Heading("Things"),
    Table(("name", "size"), [("a\x1b[31m", 1), ("日本", 200)], frozenset({"size"})),
    Table(("name",), [], empty="no things"),
    Line("end", 2),
]


def test_text_is_aligned_and_safe():
    assert list(plain(BLOCKS)) == [
        "name          dataset/a",
        "longer label  3",
        "",
        "Things",
        "NAME       SIZE",
        "a\\x1b[31m     1",
        "日本        200",
        "no things",
        "  end",
    ]


def test_a_terminal_gets_the_same_words_and_no_foreign_escapes():
    console = Console(file=io.StringIO(), force_terminal=True, width=100)
    fancy.draw(BLOCKS, console)
    text = console.file.getvalue()
    assert "\x1b[31m" not in text
    for word in ("dataset/a", "Things", "日本", "no things"):
        assert word in text


def test_json_is_one_document_of_plain_values(capsys):
    Out(as_json=True).emit(
        {"row": sample.exposure("dataset/a@1", "/p"), "bytes": b"\x01\xff", "purpose": Purpose.TRAIN, "none": None}, "never shown"
    )
    document = json.loads(capsys.readouterr().out)
    assert document["bytes"] == "01ff"
    assert document["purpose"] == "train"
    assert document["row"]["path"] == "/p"
    assert document["none"] is None


def test_json_is_ascii_so_that_no_terminal_is_steered():
    assert to_json({"name": "a\x9b31m\u202e"}).isascii()


def test_what_has_no_json_form_is_an_error():
    with pytest.raises(TypeError):
        to_json({"x": object()})


def test_notes_go_to_stderr(capsys):
    Out().warn("a\x1b[2Jb")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "hermetic: note: a\\x1b[2Jb\n"


def test_progress_is_silent_without_a_terminal(capsys):
    with Out().progress("working", 3) as advance:
        advance(3)
    assert capsys.readouterr() == ("", "")


def test_a_cell_never_ends_a_line():
    lines = list(plain([Table(("owner", "name"), [("ana\nsafe  yes", "x")]), Facts([("owner", "b\nc")]), Line("d\ne")]))
    assert len(lines) == 4
    assert "ana\\nsafe  yes  x" in lines
