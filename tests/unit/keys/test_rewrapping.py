"""Rewrapping many is rewrapping each: same data key, other KEK; and everything wrong is refused as it is for one."""

from __future__ import annotations

import pytest

from hermetic.crypto.secret import Secret
from hermetic.errors import FormatError, IntegrityError, WrongKey
from hermetic.ids import AssetId, DataClass, DataKeyId, DomainId, Environment, KekId, VersionId
from hermetic.keys import wrap
from hermetic.keys.rewrapping import Rewrapper

OLD, NEW = Secret.random(32), Secret.random(32)


def an_id(letter):
    return letter * 25 + "a"


def place(number, environment=Environment.DEVELOPMENT):
    return wrap.KekContext(KekId(an_id("k")), number, environment, DataClass.RESTRICTED, "cardio")


def context(key="d", version="v"):
    names = (DomainId(an_id("o")), Environment.DEVELOPMENT, AssetId(an_id("a")), VersionId(an_id(version)), DataKeyId(an_id(key)))
    return wrap.DataKeyContext(*names)


def wrapped(key="d", kek=OLD, number=1):
    return wrap.wrap_data_key(kek, wrap.new_secret(), place(number), context(key))


def test_it_gives_what_one_at_a_time_gives():
    with Rewrapper((OLD, place(1)), (NEW, place(2))) as mover:
        for key in "bcdefg":
            before = wrapped(key)
            after = mover.move(DataKeyId(an_id(key)), before, context(key).encode())
            assert after != before
            opened = wrap.unwrap_data_key(NEW, after, place(2), context(key))
            assert opened.same_as(wrap.unwrap_data_key(OLD, before, place(1), context(key)))
            with pytest.raises(WrongKey):
                wrap.unwrap_data_key(OLD, after, place(1), context(key))


def test_every_flipped_bit_refuses():
    good = wrapped()
    with Rewrapper((OLD, place(1)), (NEW, place(2))) as mover:
        for at in range(len(good)):
            changed = bytearray(good)
            changed[at] ^= 1 << at % 8
            with pytest.raises(IntegrityError):
                mover.move(DataKeyId(an_id("d")), bytes(changed), context().encode())
        mover.move(DataKeyId(an_id("d")), good, context().encode())


@pytest.mark.parametrize("raw", [b"", b"HDK\x01", bytes(96), b"HDK\x01" + bytes(91), b"HDK\x01" + bytes(93)], ids=len)
def test_foreign_bytes_refuse(raw):
    with Rewrapper((OLD, place(1)), (NEW, place(2))) as mover, pytest.raises((FormatError, WrongKey)):
        mover.move(DataKeyId(an_id("d")), raw, context().encode())


def test_another_place_refuses():
    with Rewrapper((OLD, place(1)), (NEW, place(2))) as mover:
        with pytest.raises(WrongKey):
            mover.move(DataKeyId(an_id("e")), wrapped("d"), context("d").encode())
        with pytest.raises(IntegrityError, match="check value"):
            mover.move(DataKeyId(an_id("d")), wrapped("d"), context("d", version="w").encode())
        with pytest.raises(WrongKey):
            mover.move(DataKeyId(an_id("d")), wrapped("d", number=3), context("d").encode())
    with Rewrapper((NEW, place(1)), (OLD, place(2))) as mover, pytest.raises(WrongKey):
        mover.move(DataKeyId(an_id("d")), wrapped("d"), context("d").encode())


def test_environments_stay_apart():
    with pytest.raises(IntegrityError):
        Rewrapper((OLD, place(1)), (NEW, place(2, Environment.PRODUCTION)))


def test_what_was_inside_is_wiped():
    mover = Rewrapper((OLD, place(1)), (NEW, place(2)))
    with mover:
        mover.move(DataKeyId(an_id("d")), wrapped(), context().encode())
    buffers = [value for value in vars(mover).values() if isinstance(value, bytearray)]
    assert buffers == [bytes(64), bytes(64)]
