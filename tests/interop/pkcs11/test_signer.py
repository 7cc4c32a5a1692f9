"""Signing keys inside a token, verified by `cryptography`."""

from __future__ import annotations

import pickle

import PyKCS11
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from hermetic.errors import Conflict, IntegrityError, KeyServiceUnavailable, SignatureError, Unsupported, UsageError
from hermetic.providers import pkcs11_signer
from hermetic.providers.pkcs11_token import Token

NO_EDWARDS = "-CKM_EC_EDWARDS_KEY_PAIR_GEN,CKM_EC_EDWARDS_KEY_PAIR_GEN"
MESSAGES = [b"a", b"x" * 100_000, bytes(range(256))]


@pytest.fixture
def token(hsm, home):
    return Token(hsm.uri(), hsm.place(home))


@pytest.fixture
def signer(token):
    return pkcs11_signer.generate(token, "log")


class Signers:
    algorithm = ""

    def check(self, public, signature, data):
        raise NotImplementedError

    def test_others_verify_it(self, signer):
        assert signer.algorithm == self.algorithm
        for data in MESSAGES:
            self.check(signer.public, signer.sign(data), data)
            assert pkcs11_signer.verify(signer.algorithm, signer.public, signer.sign(data), data) == data

    def test_other_data_and_other_keys_do_not_verify(self, signer, token):
        signature = signer.sign(b"data")
        other = pkcs11_signer.generate(token, "another")
        for public, data in ((signer.public, b"datA"), (other.public, b"data")):
            with pytest.raises(SignatureError):
                pkcs11_signer.verify(signer.algorithm, public, signature, data)

    def test_another_process_finds_it(self, signer, hsm, home):
        again = pkcs11_signer.open_(Token(hsm.uri(), hsm.place(home)), "log")
        assert (again.public, again.algorithm) == (signer.public, signer.algorithm)
        self.check(signer.public, again.sign(b"data"), b"data")

    def test_the_private_half_stays(self, signer):
        def look(session):
            (handle,) = session.findObjects([(PyKCS11.CKA_CLASS, PyKCS11.CKO_PRIVATE_KEY)])
            return session.getAttributeValue(handle, [PyKCS11.CKA_SENSITIVE, PyKCS11.CKA_EXTRACTABLE, PyKCS11.CKA_VALUE])

        assert signer.token.run(look) in ([True, False, None], [1, 0, None])


class TestEd25519(Signers):
    algorithm = "ed25519"

    def check(self, public, signature, data):
        ed25519.Ed25519PublicKey.from_public_bytes(public).verify(signature, data)


class TestP256(Signers):
    algorithm = "ecdsa-p256-sha256"

    @pytest.fixture
    def mechanisms(self):
        return NO_EDWARDS

    def check(self, public, signature, data):
        ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), public).verify(signature, data, ec.ECDSA(hashes.SHA256()))


class TestNeither:
    @pytest.fixture
    def mechanisms(self):
        return f"{NO_EDWARDS},CKM_EC_KEY_PAIR_GEN"

    def test_it_is_refused(self, token):
        with pytest.raises(Unsupported, match="makes no signing keys"):
            pkcs11_signer.generate(token, "log")


def test_one_label_is_one_key(signer):
    with pytest.raises(Conflict):
        pkcs11_signer.generate(signer.token, "log")


def test_none_of_that_name(token):
    with pytest.raises(KeyServiceUnavailable, match="no signing key 'other'"):
        pkcs11_signer.open_(token, "other")


def test_a_signature_that_is_wrong_is_not_handed_over(signer, monkeypatch):
    monkeypatch.setattr(PyKCS11.Session, "sign", lambda self, *rest: bytes(64))
    with pytest.raises(IntegrityError, match="does not verify"):
        signer.sign(b"data")


def test_nothing_is_not_signed(signer):
    with pytest.raises(UsageError):
        signer.sign(b"")


def test_it_is_not_copied(signer):
    with pytest.raises(UsageError):
        pickle.dumps(signer)
