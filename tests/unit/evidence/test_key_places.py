"""Findings about where keys live: alone in a provider, or elsewhere than their class wants."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hermetic.evidence import key_places
from hermetic.formats.messages.keys import KeyVersionRow
from hermetic.policy.document import parse
from tests.unit.evidence import sample
from tests.unit.evidence.test_status import KEY, SOUND

HOME, OTHER = "openbao:transit/hermetic", "pkcs11:token=a;object=b"


def found(versions, rules):
    facts = replace(SOUND, keys=(replace(KEY, versions=versions),))
    return [(item.code, item.severity, item.message) for item in key_places.find(facts, _around(rules))]


def _around(rules):
    text = f"format: hermetic-policy/1\ndomain: {sample.DOMAIN}\nproject: cardio\nclasses:\n  {KEY.data_class}: {{{rules}}}\n"
    return sample.around(document=parse(text))


def version(number, home="", keys=2, state="active"):
    return KeyVersionRow(number, state, sample.NOW, keys, keys, None, home)


IN, IN_TOKEN, HERE = "kek: in-provider", "kek: in-provider, kek_provider: pkcs11", "kek: wrapped"


@pytest.mark.parametrize(
    ("versions", "rules", "codes"),
    [
        ((version(1),), HERE, []),
        ((version(1, HOME),), IN, ["key-in-one-provider"]),
        ((version(1, HOME),), HERE, ["key-in-one-provider", "key-not-where-wanted"]),
        ((version(1),), IN, ["key-not-where-wanted"]),
        ((version(1, HOME),), IN_TOKEN, ["key-in-one-provider", "key-not-where-wanted"]),
        ((version(1, OTHER),), IN_TOKEN, ["key-in-one-provider"]),
        ((version(1, keys=0, state="deactivated"), version(2, HOME)), IN, ["key-in-one-provider"]),
        ((version(1, state="deactivated"), version(2, HOME)), IN, ["key-in-one-provider", "key-not-where-wanted"]),
        ((version(1, HOME, state="destroyed"), version(2)), HERE, []),
    ],
)
def test_what_is_found(versions, rules, codes):
    assert [code for code, _, _ in found(versions, rules)] == codes


def test_what_is_said():
    (alone, wrong) = found((version(1, HOME), version(2, HOME, keys=1)), HERE)[:2]
    assert alone[1:] == (
        "low",
        f"3 data keys of development/restricted/cardio open through {HOME} alone: no share, escrow or other root brings them back",
    )
    assert wrong[1:] == (
        "low",
        f"version 1 of development/restricted/cardio lives in {HOME} alone, with 2 data keys, and its class says `kek: wrapped`",
    )
