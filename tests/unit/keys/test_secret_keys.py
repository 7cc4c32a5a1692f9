import pytest

from hermetic.crypto import sign
from hermetic.crypto.secret import Secret
from hermetic.db import tables
from hermetic.errors import Conflict, IntegrityError, KeyUnusable, Locked, UsageError
from hermetic.ids import KeyState
from hermetic.keys import secret_keys
from hermetic.keys.secret_keys import LOG_SIGNING, MANIFEST_SIGNING
from hermetic.testing.fake_provider import Fault
from tests.unit.keys.conftest import NOW
from tests.unit.keys.values import ROOTS


@pytest.fixture
def key(session, anchors):
    return secret_keys.create(session, anchors, LOG_SIGNING, now_ms=NOW)


def test_it_signs(session, anchors, key):
    signing = secret_keys.load(session, anchors, key.key_id)
    assert sign.verify(key.public, signing.sign(b"data"), b"data") == b"data"
    assert secret_keys.active(session, LOG_SIGNING) == key
    assert key.algorithm == "ed25519"


def test_a_seed_can_be_given(session, anchors):
    made = secret_keys.create(session, anchors, MANIFEST_SIGNING, now_ms=NOW, seed=Secret(bytes(32)))
    assert made.public == sign.SigningKey(Secret(bytes(32))).public


def test_one_active_key_a_purpose(session, anchors, key):
    with pytest.raises(Conflict):
        secret_keys.create(session, anchors, LOG_SIGNING, now_ms=NOW)
    with pytest.raises(UsageError):
        secret_keys.create(session, anchors, "other", now_ms=NOW)
    with pytest.raises(KeyUnusable):
        secret_keys.active(session, MANIFEST_SIGNING)


def test_rotation(session, anchors, key):
    new = secret_keys.rotate(session, anchors, LOG_SIGNING, now_ms=NOW + 1)
    assert [one.state for one in secret_keys.ls(session, LOG_SIGNING)] == [KeyState.DEACTIVATED, KeyState.ACTIVE]
    assert secret_keys.active(session, LOG_SIGNING) == new
    with pytest.raises(KeyUnusable):
        secret_keys.load(session, anchors, key.key_id)
    assert secret_keys.get(session, key.key_id).public == key.public
    with pytest.raises(KeyUnusable):
        secret_keys.rotate(session, anchors, MANIFEST_SIGNING, now_ms=NOW)


def test_roots(session, anchors, providers, key):
    providers[ROOTS[0]].fault = Fault.UNREACHABLE
    assert secret_keys.load(session, anchors, key.key_id).public == key.public
    providers[ROOTS[1]].fault = Fault.LOCKED
    with pytest.raises(Locked):
        secret_keys.load(session, anchors, key.key_id)


def test_a_provider_that_answers_with_another_seed_is_found(session, anchors, providers, key):
    providers[ROOTS[0]].fault = Fault.WRONG_SECRET
    with pytest.raises(IntegrityError, match="not the recorded one"):
        secret_keys.load(session, anchors, key.key_id)


def test_the_wrap_of_one_key_is_not_that_of_another(session, anchors, key):
    other = secret_keys.create(session, anchors, MANIFEST_SIGNING, now_ms=NOW)
    wrapped = session.require(tables.secret_key, other.key_id)["wrapped"]
    session.update(tables.secret_key, key.key_id, key.revision, wrapped=wrapped)
    with pytest.raises(IntegrityError):
        secret_keys.load(session, anchors, key.key_id)


def test_destroyed(session, anchors, key):
    gone = secret_keys.set_state(session, key.key_id, KeyState.DESTROYED)
    assert session.require(tables.secret_key, gone.key_id)["wrapped"] == b""
    assert gone.public == key.public
    with pytest.raises(KeyUnusable):
        secret_keys.load(session, anchors, key.key_id)
