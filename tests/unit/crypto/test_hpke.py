"""Sealing to a hybrid key: known answers of the drafts, an own reading of RFC 9180, and everything that must not open."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidTag
from hypothesis import given, settings
from hypothesis import strategies as st

from hermetic.crypto import hpke
from hermetic.crypto.hpke import PrivateKey
from hermetic.crypto.secret import Secret
from hermetic.errors import FormatError, UsageError, WrongKey
from tests.unit.crypto import rfc9180

VECTORS = json.loads(Path(__file__).with_name("hpke_vectors.json").read_text())
SEED = bytes(range(32))
KEY = PrivateKey(Secret(SEED))
INFO = b"hermetic/v1/test\nplace"


def _hex(value):
    return bytes.fromhex(value)


@pytest.mark.parametrize("vector", VECTORS["xwing"], ids=range(3))
def test_key_pairs_are_those_of_the_draft(vector):
    assert PrivateKey(Secret(_hex(vector["seed"]))).public == _hex(vector["pk"])
    assert rfc9180.decapsulate(_hex(vector["seed"]), _hex(vector["ct"])) == _hex(vector["ss"])


def test_the_own_reading_agrees_with_the_draft():
    vector, message = VECTORS["hpke"], VECTORS["hpke"]["encryption"]
    seed, enc, info = _hex(vector["skRm"]), _hex(vector["enc"]), _hex(vector["info"])
    assert PrivateKey(Secret(seed)).public == _hex(vector["pkRm"])
    assert rfc9180.decapsulate(seed, enc) == _hex(vector["shared_secret"])
    assert rfc9180.schedule(_hex(vector["shared_secret"]), info, 1, 3) == (_hex(vector["key"]), _hex(vector["base_nonce"]))
    plain = rfc9180.open_(seed, enc + _hex(message["ct"]), info, kdf=1, aead=3, aad=_hex(message["aad"]))
    assert plain == _hex(message["pt"])


@settings(max_examples=25, deadline=None)
@given(plain=st.binary(max_size=5000), info=st.binary(max_size=300), seed=st.binary(min_size=32, max_size=32))
def test_what_is_sealed_opens_here_and_by_the_rfc(plain, info, seed):
    key = PrivateKey(Secret(seed))
    sealed = hpke.seal(key.public, plain, info)
    assert len(sealed) == len(plain) + hpke.OVERHEAD
    assert rfc9180.open_(seed, sealed, info, kdf=2, aead=2) == plain
    assert bytes(key.open(sealed, info)._data) == plain


def test_each_message_is_another():
    assert hpke.seal(KEY.public, b"same", INFO) != hpke.seal(KEY.public, b"same", INFO)


@pytest.mark.parametrize("info", [b"", INFO + b" ", INFO[:-1], b"hermetic/v1/other\nplace"])
def test_another_place_refuses(info):
    with pytest.raises(WrongKey):
        KEY.open(hpke.seal(KEY.public, b"secret", INFO), info)


def test_another_key_refuses():
    with pytest.raises(WrongKey):
        PrivateKey.generate().open(hpke.seal(KEY.public, b"secret", INFO), INFO)


@pytest.mark.parametrize("at", [0, 1087, 1088, 1119, 1120, -17, -16, -1])
@pytest.mark.parametrize("bit", [0, 7])
def test_flipped_bits_refuse(at, bit):
    sealed = bytearray(hpke.seal(KEY.public, b"secret", INFO))
    sealed[at] ^= 1 << bit
    with pytest.raises(WrongKey):
        KEY.open(bytes(sealed), INFO)


def test_the_ignored_bit_of_x25519_is_bound_all_the_same():
    """X25519 drops it (RFC 7748 section 5), and X-Wing hashes the ephemeral key as it was sent."""
    sealed = bytearray(hpke.seal(KEY.public, b"secret", INFO))
    sealed[1119] ^= 0x80
    with pytest.raises(WrongKey):
        KEY.open(bytes(sealed), INFO)


@pytest.mark.parametrize("length", [0, 1, hpke.ENC, hpke.OVERHEAD - 1])
def test_short_messages_refuse(length):
    with pytest.raises(FormatError):
        KEY.open(bytes(length), INFO)


def test_cut_and_longer_messages_refuse():
    sealed = hpke.seal(KEY.public, b"secret", INFO)
    for wrong in (sealed[:-1], sealed + b"\0", sealed[1:]):
        with pytest.raises(WrongKey):
            KEY.open(wrong, INFO)


def test_a_point_of_small_order_refuses():
    """Such a key gives the same X25519 secret with everybody; the library refuses it, and so do we, in our own words."""
    with pytest.raises(FormatError, match="small order"):
        hpke.check_public(KEY.public[:1184] + bytes(32))
    sealed = hpke.seal(KEY.public, b"secret", INFO)
    with pytest.raises(WrongKey):
        KEY.open(sealed[:1088] + bytes(32) + sealed[1120:], INFO)


@pytest.mark.parametrize("public", [b"", bytes(1215), bytes(1217), b"\xff" * 1216], ids=["empty", "short", "long", "out of range"])
def test_what_is_no_public_key(public):
    with pytest.raises(FormatError):
        hpke.check_public(public)


@pytest.mark.parametrize("length", [0, 31, 33, 64])
def test_seeds_have_32_bytes(length):
    with pytest.raises(UsageError):
        PrivateKey(Secret(bytes(length)))


def test_the_private_key_stays_quiet():
    key = PrivateKey(Secret(SEED))
    assert SEED.hex() not in repr(key)
    for leak in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(UsageError):
            leak(key)
    assert key.seed().same_as(Secret(SEED))
    key.wipe()
    with pytest.raises(UsageError):
        key.open(hpke.seal(key.public, b"secret", INFO), INFO)


def test_the_key_has_its_own_copy_of_the_seed():
    seed = Secret(SEED)
    key = PrivateKey(seed)
    seed.wipe()
    assert bytes(key.open(hpke.seal(key.public, b"secret", INFO), INFO).view()) == b"secret"


def test_fingerprints():
    assert hpke.fingerprint(KEY.public) == hpke.fingerprint(PrivateKey(Secret(SEED)).public)
    assert len(hpke.fingerprint(KEY.public)) == 35
    assert hpke.fingerprint(KEY.public) != hpke.fingerprint(PrivateKey.generate().public)


def test_the_comparison_itself_refuses():
    with pytest.raises(InvalidTag):
        rfc9180.open_(SEED, hpke.seal(KEY.public, b"secret", INFO), b"other", kdf=2, aead=2)
