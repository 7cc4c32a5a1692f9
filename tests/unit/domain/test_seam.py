"""The small parts of the seam: refusals, offline checks, the port's edges."""

from __future__ import annotations

import dataclasses

import pytest

from hermetic import errors
from hermetic.custody.call import Moved
from hermetic.domain.refusals import error_of, refusal_of
from hermetic.domain.verify import verify_released, verify_signature
from hermetic.errors import ConfigError, HermeticError, IntegrityError, LeaseEnded, PolicyDenied, SignatureError
from hermetic.formats.messages.base import KeyBlob, Refusal
from hermetic.formats.messages.versions import Opening
from hermetic.ids import DataClass, Environment
from tests import world as w


@pytest.mark.parametrize("name", [name for name, cls in vars(errors).items() if isinstance(cls, type)])
def test_every_error_travels(name):
    cls = getattr(errors, name)
    error = cls("message", hint="hint")
    refusal = refusal_of(error)
    again = error_of(refusal)
    assert type(again) is cls
    assert (again.message, again.hint, again.exit_code) == ("message", "hint", cls.exit_code)


def test_reasons_travel_with_their_error():
    assert error_of(refusal_of(PolicyDenied("no", reasons=("a", "b")))).reasons == ("a", "b")


def test_unknown_and_inner_errors_read_as_what_is_known():
    assert type(error_of(Refusal("Newer", "m", None, ()))) is HermeticError
    assert refusal_of(Moved("m")).error == "HermeticError"
    assert refusal_of(ConfigError("m", file="x", line=1)).error == "ConfigError"


def test_a_blob_is_redeemed_in_process_only_by_handle(world):
    port = world.port()
    for blob in (KeyBlob(None, None), KeyBlob(None, b"sealed"), KeyBlob("handle", b"sealed"), KeyBlob("unknown", None)):
        with pytest.raises(LeaseEnded):
            port.redeem(blob)


@pytest.fixture
def released(world):
    with world.connect() as connection:
        w.seal(connection)
        w.seal(connection, "dataset/shops", DataClass.INTERNAL)
        opened = w.open_(connection, "dataset/patients", "dataset/shops").released
        yield (*opened, connection.pins)


def test_what_custody_says_is_compared_with_what_was_signed(released):
    good, other, pins = released
    assert verify_released(good, pins).number == 1
    lies = [
        {"manifest": other.manifest},
        {"version": other.version},
        {"asset": other.asset},
        {"number": 2},
        {"data_class": DataClass.PUBLIC},
        {"environment": Environment.PRODUCTION},
        {"openings": ()},
        {"openings": other.openings},
        {"openings": good.openings[:2]},
        {"openings": (*good.openings[:2], Opening("writer", bytes(32), "mallory"))},
        {"manifest": good.manifest[:-1]},
        {"manifest": good.manifest.replace(b"payload", b"pailoyd")},
    ]
    for changes in lies:
        with pytest.raises(IntegrityError):
            verify_released(dataclasses.replace(good, **changes), pins)


def test_signatures_need_a_pinned_key(released):
    good, _, _ = released
    for keys in ({}, {"other": bytes(32)}):
        with pytest.raises(SignatureError):
            verify_signature(good.manifest, keys)
