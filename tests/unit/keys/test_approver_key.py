"""An approver's key file: what opens it, and what does not."""

from __future__ import annotations

import json

import pytest

from hermetic.crypto.kdf import Argon2Parameters
from hermetic.crypto.secret import Secret
from hermetic.errors import FormatError, HermeticError, IntegrityError, SignatureError, Unsupported, UsageError, WrongKey
from hermetic.formats import canonical
from hermetic.keys import approver_key

PASSPHRASE = b"correct horse battery staple"
CHEAP = Argon2Parameters(64 * 1024, 2, 1)


@pytest.fixture(scope="module")
def files():
    return approver_key.create(Secret(PASSPHRASE), CHEAP)


def changed(raw, **fields):
    return canonical.encode(json.loads(raw) | fields)


def test_the_passphrase_opens_it(files):
    private, public = files
    key = approver_key.open_file(private, Secret(PASSPHRASE))
    assert key.signing.public == approver_key.parse_public(public)
    assert key.key_id == json.loads(private)["key"] == json.loads(public)["key"]
    assert key.signing.seed().view().hex() not in repr(key) + str(key) + private.decode()


@pytest.mark.parametrize("wrong", [b"correct horse battery stapl", PASSPHRASE + b"\n", PASSPHRASE.upper(), b"x" * 30])
def test_another_passphrase_does_not(files, wrong):
    with pytest.raises(WrongKey, match="does not open this approver's key"):
        approver_key.open_file(files[0], Secret(wrong))


@pytest.mark.parametrize("bad", [b"short", b"x" * 1025])
def test_a_passphrase_has_a_length(bad):
    with pytest.raises(UsageError):
        approver_key.create(Secret(bad), CHEAP)


@pytest.mark.parametrize("name", ["public", "salt", "wrapped", "key", "argon2id", "format"])
def test_nothing_of_another_file_fits(files, name):
    """Each field of a second file of the same person, under the same passphrase: nothing of it can be put into the first."""
    other = json.loads(approver_key.create(Secret(PASSPHRASE), Argon2Parameters(64 * 1024, 3, 1))[0])
    other["format"] = "hermetic/approver-key/v2"
    with pytest.raises(Unsupported if name == "format" else IntegrityError):
        approver_key.open_file(changed(files[0], **{name: other[name]}), Secret(PASSPHRASE))


def test_a_public_half_exchanged_with_its_id_does_not_open(files):
    """Else an approver would sign with a key, and be told the id of another one."""
    other = json.loads(approver_key.create(Secret(PASSPHRASE), CHEAP)[0])
    with pytest.raises(WrongKey):
        approver_key.open_file(changed(files[0], public=other["public"], key=other["key"]), Secret(PASSPHRASE))


def test_every_flipped_byte_is_refused_before_a_key_comes_out(files):
    """Those that change what Argon2 is asked are refused for their form or cost; the others open nothing."""
    private = files[0]
    for at in range(0, len(private), 11):
        with pytest.raises(HermeticError):
            approver_key.open_file(private[:at] + bytes([private[at] ^ 1]) + private[at + 1 :], Secret(PASSPHRASE))
    for cut in (0, 1, len(private) // 2, len(private) - 1):
        with pytest.raises(FormatError):
            approver_key.open_file(private[:cut], Secret(PASSPHRASE))


@pytest.mark.parametrize("cost", [{"memory": 1 << 31}, {"memory": 8}, {"iterations": 0}, {"iterations": 1 << 20}, {"lanes": 0}])
def test_costs_out_of_bounds_are_refused_before_anything_is_stretched(files, cost, monkeypatch):
    """A changed file must neither make the passphrase cheap to try nor take the machine's memory."""
    monkeypatch.setattr(approver_key, "stretched", lambda *_given: pytest.fail("it was stretched"))
    given = json.loads(files[0])["argon2id"]
    name = next(key for key in given if key.startswith(next(iter(cost))[:4]))
    with pytest.raises(FormatError):
        approver_key.open_file(changed(files[0], argon2id=given | {name: next(iter(cost.values()))}), Secret(PASSPHRASE))


def test_a_public_file_is_no_private_one_and_its_proof_is_its_own(files):
    private, public = files
    with pytest.raises(FormatError):
        approver_key.open_file(public, Secret(PASSPHRASE))
    with pytest.raises(FormatError):
        approver_key.parse_public(private)
    other = json.loads(approver_key.create(Secret(PASSPHRASE), CHEAP)[1])
    with pytest.raises(SignatureError):
        approver_key.parse_public(changed(public, proof=other["proof"]))
