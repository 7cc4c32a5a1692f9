import dataclasses
import doctest
import hashlib
import hmac

import pytest

from hermetic.crypto.secret import Secret
from hermetic.errors import FormatError, IntegrityError, InvalidName, UsageError, WrongKey
from hermetic.formats import canonical
from hermetic.ids import DataClass, Environment
from hermetic.keys import wrap
from hermetic.keys.rewrapping import Rewrapper
from hermetic.keys.wrap import (
    WRAPPED,
    SlotKind,
    data_key_and_check,
    new_secret,
    open_payload,
    payload,
    unwrap_data_key,
    wrap_data_key,
)
from tests.unit.keys.values import ASSET, DATA, DATA_KEY, DOMAIN, PLACE, VERSION, an_id, raw

OTHER = an_id(99)
DATA_CHANGES = [{"domain": OTHER}, {"asset_id": OTHER}, {"version_id": OTHER}, {"data_key_id": OTHER}]
PLACE_CHANGES = [
    {"kek_id": OTHER},
    {"number": 2},
    {"data_class": DataClass.PUBLIC},
    {"project": "risk2"},
    {"project": ""},
    {"slot": SlotKind.IN_PROVIDER},
]


@pytest.fixture
def kek():
    return Secret.random(32)


@pytest.fixture
def secret():
    return new_secret()


def test_the_worked_example_holds():
    assert doctest.testmod(wrap) == doctest.TestResults(0, doctest.testmod(wrap).attempted)
    assert doctest.testmod(wrap).attempted >= 10


def test_derivation_against_plain_hmac():
    """HKDF-Expand (RFC 5869 section 2.3) written out."""
    secret = bytes(range(32))
    context = canonical.encode(
        {"asset": ASSET, "data_key": DATA_KEY, "domain": DOMAIN, "environment": "development", "version": VERSION}
    )
    assert DATA.encode() == context
    info = b"hermetic/v1/data-key\n" + hashlib.sha384(context).digest()
    first = hmac.digest(secret, info + b"\x01", "sha384")
    both = (first + hmac.digest(secret, first + info + b"\x02", "sha384"))[:64]
    key, check = data_key_and_check(Secret(secret), DATA)
    assert raw(key) + check == both


def test_associated_data_is_canonical_and_complete():
    after_marker = canonical.decode(PLACE.associated_data(DATA_KEY)[4:], limit=1000)
    assert after_marker == {
        "class": "restricted",
        "data_key": DATA_KEY,
        "environment": "development",
        "kek": PLACE.kek_id,
        "number": 1,
        "project": "risk",
        "slot": "kek",
    }


@pytest.mark.parametrize("project", ["", "??????????????????????????", 'a"b\\c\n', "日本", "?" * 27])
def test_no_project_name_confuses_the_associated_data(project):
    place = dataclasses.replace(PLACE, project=project)
    decoded = canonical.decode(place.associated_data(DATA_KEY)[4:], limit=1000)
    assert (decoded["project"], decoded["data_key"]) == (project, DATA_KEY)


def test_round_trip(kek, secret):
    wrapped = wrap_data_key(kek, secret, PLACE, DATA)
    assert len(wrapped) == WRAPPED == 96
    assert unwrap_data_key(kek, wrapped, PLACE, DATA).same_as(data_key_and_check(secret, DATA)[0])
    assert wrap_data_key(kek, secret, PLACE, DATA) != wrapped


@pytest.mark.parametrize("change", DATA_CHANGES, ids=lambda change: next(iter(change)))
def test_any_changed_data_context_refuses(kek, secret, change):
    wrapped = wrap_data_key(kek, secret, PLACE, DATA)
    with pytest.raises(IntegrityError) as caught:
        unwrap_data_key(kek, wrapped, PLACE, dataclasses.replace(DATA, **change))
    assert caught.value.exit_code == 4


@pytest.mark.parametrize("change", PLACE_CHANGES, ids=str)
def test_any_changed_kek_context_refuses(kek, secret, change):
    wrapped = wrap_data_key(kek, secret, PLACE, DATA)
    with pytest.raises(WrongKey) as caught:
        unwrap_data_key(kek, wrapped, dataclasses.replace(PLACE, **change), DATA)
    assert caught.value.hint


def test_environments_never_mix(kek, secret):
    production = dataclasses.replace(DATA, environment=Environment.PRODUCTION)
    with pytest.raises(IntegrityError, match="cannot hold"):
        wrap_data_key(kek, secret, PLACE, production)
    wrapped = wrap_data_key(kek, secret, PLACE, DATA)
    with pytest.raises(IntegrityError, match="cannot hold"):
        unwrap_data_key(kek, wrapped, PLACE, production)
    with pytest.raises(WrongKey):
        unwrap_data_key(kek, wrapped, dataclasses.replace(PLACE, environment=Environment.PRODUCTION), production)


@pytest.mark.parametrize("change", [*DATA_CHANGES, {"environment": Environment.STAGING}], ids=str)
def test_the_check_value_alone_refuses_another_context(secret, change):
    """Also where the provider binds nothing: what a key service hands back is compared here."""
    inside = payload(secret, DATA)
    back, key = open_payload(inside, DATA)
    assert back.same_as(secret)
    assert key.same_as(data_key_and_check(secret, DATA)[0])
    with pytest.raises(IntegrityError, match="check value"):
        open_payload(inside, dataclasses.replace(DATA, **change))


def test_a_swapped_check_value_is_found(secret):
    other = dataclasses.replace(DATA, version_id=OTHER)
    forged = Secret(raw(secret) + data_key_and_check(secret, other)[1])
    with pytest.raises(IntegrityError):
        open_payload(forged, DATA)
    assert not open_payload(forged, other)[1].same_as(data_key_and_check(secret, DATA)[0])


def test_every_flipped_bit_and_every_length(kek, secret):
    wrapped = wrap_data_key(kek, secret, PLACE, DATA)
    for bit in range(len(wrapped) * 8):
        changed = bytearray(wrapped)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(IntegrityError):
            unwrap_data_key(kek, bytes(changed), PLACE, DATA)
    for length in [*range(len(wrapped)), len(wrapped) + 1]:
        with pytest.raises(FormatError):
            unwrap_data_key(kek, (wrapped + b"\0")[:length], PLACE, DATA)


def test_another_kek_refuses(secret, kek):
    with pytest.raises(WrongKey, match="does not unwrap"):
        unwrap_data_key(Secret.random(32), wrap_data_key(kek, secret, PLACE, DATA), PLACE, DATA)


def rewrapped(wrapped, context, old, new):
    with Rewrapper(old, new) as mover:
        return mover.move(context.data_key_id, wrapped, context.encode())


def test_rewrap_keeps_the_data_key(kek, secret):
    new, place = Secret.random(32), dataclasses.replace(PLACE, number=2)
    wrapped = wrap_data_key(kek, secret, PLACE, DATA)
    moved = rewrapped(wrapped, DATA, (kek, PLACE), (new, place))
    assert unwrap_data_key(new, moved, place, DATA).same_as(unwrap_data_key(kek, wrapped, PLACE, DATA))
    with pytest.raises(WrongKey):
        unwrap_data_key(kek, moved, place, DATA)


def test_rewrap_does_not_launder_a_wrap_of_another_place(kek, secret):
    wrapped = wrap_data_key(kek, secret, PLACE, DATA)
    stolen = dataclasses.replace(DATA, version_id=OTHER)
    with pytest.raises(IntegrityError):
        rewrapped(wrapped, stolen, (kek, PLACE), (Secret.random(32), dataclasses.replace(PLACE, number=2)))
    with pytest.raises(IntegrityError, match="do not move between environments"):
        rewrapped(wrapped, DATA, (kek, PLACE), (Secret.random(32), dataclasses.replace(PLACE, environment=Environment.STAGING)))


@pytest.mark.parametrize("length", [0, 16, 31, 33, 64])
def test_lengths_of_keys(length, kek):
    with pytest.raises(UsageError):
        wrap_data_key(kek, Secret(bytes(length)), PLACE, DATA)
    with pytest.raises(UsageError):
        wrap_data_key(Secret(bytes(length)), new_secret(), PLACE, DATA)


def test_contexts_take_ids_and_positive_numbers_only():
    with pytest.raises(InvalidName):
        dataclasses.replace(DATA, domain='","version":"')
    with pytest.raises(InvalidName):
        dataclasses.replace(PLACE, kek_id="x")
    with pytest.raises(UsageError):
        dataclasses.replace(PLACE, number=0)
