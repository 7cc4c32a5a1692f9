"""The text of a wrapped Parquet key has one spelling, and opens in its place only."""

from __future__ import annotations

import pytest

from hermetic.crypto.secret import Secret
from hermetic.errors import FormatError, UsageError, WrongKey
from hermetic.integrations.parquet.wrapping import Place, parse, unwrap, wrap

KEY = Secret(bytes(range(32)))
PLACE = Place("a" * 26, "b" * 25 + "a", "c" * 25 + "a", 3, "d" * 25 + "a")
KNOWN = (  # computed with cryptography's AESGCM alone: nonce 12 zero bytes, Parquet key 16 bytes of 0x41
    "HPK1.aaaaaaaaaaaaaaaaaaaaaaaaaa.bbbbbbbbbbbbbbbbbbbbbbbbba.ccccccccccccccccccccccccca.3.ddddddddddddddddddddddddda."
    "AAAAAAAAAAAAAAAAT_30n_RtwvxJ6eh0WW3Q2MYR25972IGLm08NGTbQsd8"
)


@pytest.mark.parametrize("length", [16, 24, 32])
def test_round_trip(length):
    text = wrap(KEY, b"k" * length, PLACE)
    place, sealed = parse(text)
    assert place == PLACE
    assert unwrap(KEY, place, sealed) == b"k" * length
    assert wrap(KEY, b"k" * length, PLACE) != text


def test_known_answer():
    assert unwrap(KEY, *parse(KNOWN)) == b"A" * 16


@pytest.mark.parametrize("length", [0, 15, 33])
def test_only_keys_are_wrapped(length):
    with pytest.raises(UsageError):
        wrap(KEY, bytes(length), PLACE)


def test_every_part_is_bound():
    text = wrap(KEY, b"k" * 32, PLACE)
    parts = text.split(".")
    for at, other in ((1, "e" * 25 + "a"), (2, "e" * 25 + "a"), (3, "e" * 25 + "a"), (4, "4"), (5, "e" * 25 + "a")):
        with pytest.raises(WrongKey):
            unwrap(KEY, *parse(".".join([*parts[:at], other, *parts[at + 1 :]])))
    with pytest.raises(WrongKey):
        unwrap(Secret(bytes(32)), *parse(text))


def test_any_other_spelling_is_refused():
    text = wrap(KEY, b"k" * 32, PLACE)
    parts = text.split(".")
    replaced = [
        (0, "HPK2"),
        (1, "A" * 26),
        (1, ""),
        (4, "03"),
        (4, "0"),
        (4, "-3"),
        (4, "٣"),
        (4, "1" * 11),
        (4, ""),
        (6, parts[6] + "="),
        (6, "!"),
    ]
    bad = [".".join([*parts[:at], other, *parts[at + 1 :]]) for at, other in replaced]
    for wrong in [*bad, "", text + ".x", text[:-1] + "\n", " " + text, text + "A" * 512, "HPK1" + "." * 6]:
        with pytest.raises(FormatError):
            unwrap(KEY, *parse(wrong))


def test_another_length_is_refused():
    parts = wrap(KEY, b"k" * 32, PLACE).split(".")
    with pytest.raises(FormatError):
        unwrap(KEY, *parse(".".join([*parts[:6], "AAAA"])))
