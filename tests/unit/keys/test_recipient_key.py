"""A recipient's key pair in two files."""

from __future__ import annotations

import json

import pytest

from hermetic.crypto import hpke
from hermetic.crypto.kdf import Argon2Parameters
from hermetic.crypto.secret import Secret
from hermetic.errors import FormatError, IntegrityError, Unsupported, UsageError, WrongKey
from hermetic.keys import recipient_key
from hermetic.keys.recipient_key import Recipient

CHEAP = Argon2Parameters(memory_kib=65_536, iterations=2, lanes=1)
PASSPHRASE = b"correct horse battery staple"


@pytest.fixture(scope="module")
def pair():
    return recipient_key.create("Ada Lovelace", Secret(PASSPHRASE), CHEAP)


def test_round_trip(pair):
    raw, recipient = pair
    private = recipient_key.open_file(raw, Secret(PASSPHRASE))
    assert private.public == recipient.public
    assert Recipient.decode(recipient.encode()) == recipient
    assert recipient.fingerprint == hpke.fingerprint(private.public)
    assert bytes(private.open(hpke.seal(recipient.public, b"secret", b"i"), b"i").view()) == b"secret"


def test_the_seed_does_not_show(pair):
    raw, _ = pair
    seed = recipient_key.open_file(raw, Secret(PASSPHRASE)).seed()
    assert bytes(seed.view()) not in raw
    assert bytes(seed.view()).hex().encode() not in raw


def test_another_passphrase(pair):
    with pytest.raises(WrongKey):
        recipient_key.open_file(pair[0], Secret(b"another passphrase"))


@pytest.mark.parametrize("name", ["name", "public", "salt", "wrapped", "argon2id"])
def test_changed_fields(pair, name):
    document = json.loads(pair[0])
    if name == "argon2id":
        document[name]["iterations"] += 1
    else:
        document[name] = document[name][:4] + ("A" if document[name][4] != "A" else "B") + document[name][5:]
    raw = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    with pytest.raises(IntegrityError):
        recipient_key.open_file(raw, Secret(PASSPHRASE))


@pytest.mark.parametrize(
    "change", [{"name": ""}, {"name": " a"}, {"public": "AAAA"}, {"more": 1}, {"format": "hermetic/recipient/v2"}], ids=str
)
def test_what_is_no_public_file(pair, change):
    document = {**json.loads(pair[1].encode()), **change}
    with pytest.raises((FormatError, Unsupported)):
        Recipient.decode(json.dumps(document, sort_keys=True, separators=(",", ":")).encode())


def test_a_key_file_is_no_public_file(pair):
    with pytest.raises(FormatError):
        Recipient.decode(pair[0])
    with pytest.raises(FormatError):
        recipient_key.open_file(pair[1].encode(), Secret(PASSPHRASE))


@pytest.mark.parametrize(("name", "passphrase"), [("", PASSPHRASE), ("a\nb", PASSPHRASE), ("Ada", b"short"), ("Ada", b"x" * 1025)])
def test_what_will_not_do(name, passphrase):
    with pytest.raises(UsageError):
        recipient_key.create(name, Secret(passphrase), CHEAP)
