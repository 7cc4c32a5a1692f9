"""Signing keys inside a token, verified by `cryptography`."""

from __future__ import annotations

import pickle
from dataclasses import replace

import PyKCS11
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519

from hermetic.crypto.sign import SigningKey
from hermetic.errors import IntegrityError, KeyServiceUnavailable, Unsupported, UsageError
from hermetic.ids import id_from_bytes
from hermetic.providers import pkcs11_signer
from hermetic.providers.pkcs11_token import Token

MESSAGES = [b"a", b"x" * 100_000, bytes(range(256))]
KEY, OTHER = id_from_bytes(bytes(16)), id_from_bytes(bytes([7] * 16))


@pytest.fixture
def token(hsm, home):
    return Token(hsm.uri(), hsm.place(home))


@pytest.fixture
def signer(token):
    return pkcs11_signer.generate(token, KEY)


def objects(token, *more):
    return token.run(lambda session: session.findObjects([(PyKCS11.CKA_LABEL, token.wanted.label), *more]))


def test_others_verify_it(signer):
    for data in MESSAGES:
        ed25519.Ed25519PublicKey.from_public_bytes(signer.public).verify(signer.sign(data), data)


def test_keys_of_one_label_are_told_apart_by_their_ids(signer, token):
    other = pkcs11_signer.generate(token, OTHER)
    assert other.public != signer.public
    for one in (signer, other):
        ed25519.Ed25519PublicKey.from_public_bytes(one.public).verify(one.sign(b"data"), b"data")
    pkcs11_signer.remove(token, KEY)
    pkcs11_signer.remove(token, KEY)  # once is enough
    with pytest.raises(KeyServiceUnavailable, match="has no signing key"):
        signer.sign(b"data")
    other.sign(b"data")


def test_another_process_finds_it(signer, hsm, home):
    again = replace(signer, token=Token(hsm.uri(), hsm.place(home)))
    ed25519.Ed25519PublicKey.from_public_bytes(signer.public).verify(again.sign(b"data"), b"data")


def test_the_private_half_stays(signer):
    def look(session):
        (handle,) = session.findObjects([(PyKCS11.CKA_CLASS, PyKCS11.CKO_PRIVATE_KEY)])
        return session.getAttributeValue(handle, [PyKCS11.CKA_SENSITIVE, PyKCS11.CKA_EXTRACTABLE, PyKCS11.CKA_VALUE])

    assert signer.token.run(look) in ([True, False, None], [1, 0, None])


def test_another_key_under_its_name_is_refused(signer, token):
    """Somebody with the PIN deletes the pair and makes another one that looks alike."""
    pkcs11_signer.generate(token, KEY)
    with pytest.raises(IntegrityError, match="not the one on record"):
        signer.sign(b"data")


def test_a_second_key_under_its_name_is_refused(signer, token):
    def copy(session):
        pkcs11_signer._make(session, token, KEY)

    token.run(copy, write=True)
    with pytest.raises(IntegrityError, match="has 2 signing keys"):
        signer.sign(b"data")


def test_a_key_that_could_leave_is_refused(token, monkeypatch):
    """One that somebody brought along, and has a copy of."""
    seed = SigningKey.generate()
    template = [
        (PyKCS11.CKA_CLASS, PyKCS11.CKO_PRIVATE_KEY),
        (PyKCS11.CKA_KEY_TYPE, 0x40),
        (PyKCS11.CKA_LABEL, token.wanted.label),
        (PyKCS11.CKA_ID, KEY.encode()),
        (PyKCS11.CKA_TOKEN, True),
        (PyKCS11.CKA_SENSITIVE, False),
        (PyKCS11.CKA_EXTRACTABLE, True),
        (PyKCS11.CKA_SIGN, True),
        (PyKCS11.CKA_EC_PARAMS, bytes.fromhex("130c656477617264733235353139")),
        (PyKCS11.CKA_VALUE, bytes([4, 32]) + bytes(seed.seed().view())),
    ]
    token.run(lambda session: session.createObject(template), write=True)
    with pytest.raises(IntegrityError, match="can leave token"):
        pkcs11_signer.TokenSigner(token, KEY, seed.public).sign(b"data")


class TestWithoutEd25519:
    @pytest.fixture
    def mechanisms(self):
        return "-CKM_EC_EDWARDS_KEY_PAIR_GEN,CKM_EC_EDWARDS_KEY_PAIR_GEN"

    def test_it_is_refused_and_nothing_is_left(self, token):
        with pytest.raises(Unsupported, match="makes no Ed25519 keys") as caught:
            pkcs11_signer.generate(token, KEY)
        assert "--in roots" in caught.value.hint
        assert objects(token) == []


def test_a_signature_that_is_wrong_is_not_handed_over(signer, token, monkeypatch):
    monkeypatch.setattr(PyKCS11.Session, "sign", lambda self, *rest: bytes(64))
    with pytest.raises(IntegrityError, match="not the one on record"):
        signer.sign(b"data")
    with pytest.raises(IntegrityError):  # nor is such a token taken
        pkcs11_signer.generate(token, OTHER)
    assert objects(token, (PyKCS11.CKA_ID, OTHER.encode())) == []


def test_nothing_is_not_signed(signer):
    with pytest.raises(UsageError):
        signer.sign(b"")


def test_it_is_not_copied(signer):
    with pytest.raises(UsageError):
        pickle.dumps(signer)
