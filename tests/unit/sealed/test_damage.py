"""Whatever is changed is refused with exit code 4, and nothing of it reaches the caller."""

from __future__ import annotations

import dataclasses
import os

import pytest

from hermetic.crypto.secret import Secret
from hermetic.errors import IntegrityError, StorageError, UsageError, WrongKey
from hermetic.formats.object_metadata import ObjectMetadata
from hermetic.sealed.inspection import UNKNOWABLE, inspect
from hermetic.sealed.reader import ObjectReader
from hermetic.sealed.verification import verify_ciphertext
from tests.unit.sealed.objects import KEY, SEGMENT, BytesSource, content_of, make_header, seal_bytes

OTHER_KEY = Secret(b"\x01" * 32)


def open_and_read(data, record, key=KEY):
    with ObjectReader(BytesSource(data), key, record) as reader:
        buffer = bytearray(reader.length)
        reader.readinto_at(0, buffer)
    return bytes(buffer)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return seal_bytes(tmp_path_factory.mktemp("small"), b"patient data" * 5, metadata=ObjectMetadata(name="a"))


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    return seal_bytes(tmp_path_factory.mktemp("large"), os.urandom(20 * SEGMENT + 77))


def test_every_changed_byte_is_refused(small):
    data, sealed = small
    for offset in range(len(data)):
        for mask in (0x01, 0x80):
            changed = bytearray(data)
            changed[offset] ^= mask
            with pytest.raises(IntegrityError) as caught:
                open_and_read(bytes(changed), sealed.record)
            assert caught.value.exit_code == 4
            with pytest.raises(IntegrityError):
                verify_ciphertext(BytesSource(bytes(changed)), sealed.record)


def test_every_truncation_is_refused_even_when_the_length_is_signed(small):
    data, sealed = small
    for length in range(len(data)):
        for record in (sealed.record, dataclasses.replace(sealed.record, length=length)):
            with pytest.raises(IntegrityError):
                open_and_read(data[:length], record)
            with pytest.raises(IntegrityError):
                inspect(BytesSource(data[:length]))


def test_every_inserted_or_removed_byte_is_refused(small):
    data, sealed = small
    for offset in range(len(data) + 1):
        for changed in (data[:offset] + b"\x00" + data[offset:], data[:offset] + data[offset + 1 :]):
            if changed == data:
                continue
            with pytest.raises(IntegrityError):
                open_and_read(changed, dataclasses.replace(sealed.record, length=len(changed)))


def test_wrong_key_is_wrong_key(small):
    data, sealed = small
    with pytest.raises(WrongKey):
        open_and_read(data, sealed.record, OTHER_KEY)


def test_damaged_segment_wipes_the_destination_and_spares_the_others(large):
    data, sealed = large
    start = data.index(b"}") + 1 + 74
    stored = SEGMENT + 32
    damaged = bytearray(data)
    damaged[start + 7 * stored + 100] ^= 1
    with ObjectReader(BytesSource(bytes(damaged)), KEY, sealed.record) as reader:
        for offset, length in ((0, reader.length), (7 * SEGMENT + 5, 10), (6 * SEGMENT, 3 * SEGMENT), (7 * SEGMENT, SEGMENT)):
            buffer = bytearray(b"\xaa" * length)
            with pytest.raises(IntegrityError, match="segment 7"):
                reader.readinto_at(offset, buffer)
            assert not any(buffer)
        assert reader.readinto_at(8 * SEGMENT, bytearray(SEGMENT)) == SEGMENT
        assert reader.readinto_at(0, bytearray(7 * SEGMENT)) == 7 * SEGMENT


def test_failed_exposure_leaves_nothing(large, fd):
    data, sealed = large
    damaged = bytearray(data)
    damaged[len(data) // 2] ^= 1
    with ObjectReader(BytesSource(bytes(damaged)), KEY, sealed.record) as reader:
        with pytest.raises(IntegrityError):
            reader.expose_to(fd)
        assert content_of(fd) == b""


def test_source_that_changes_after_opening_is_caught(large):
    data, sealed = large
    source = BytesSource(data)
    with ObjectReader(source, KEY, sealed.record) as reader:
        source.data = data[:5000] + bytes(len(data) - 5000)
        with pytest.raises(IntegrityError):
            reader.readinto_at(0, bytearray(100))
        source.data = data[:2000]
        with pytest.raises(IntegrityError, match="ended"):
            reader.readinto_at(3 * SEGMENT, bytearray(100))


def test_store_errors_become_storage_errors(large):
    data, sealed = large

    class Failing(BytesSource):
        def readinto_at(self, offset, buffer):
            raise OSError(5, "Input/output error")

    with pytest.raises(StorageError, match="input/output error"):
        ObjectReader(Failing(data), KEY, sealed.record)


def test_closed_reader_refuses(large):
    data, sealed = large
    reader = ObjectReader(BytesSource(data), KEY, sealed.record)
    assert reader.readinto_at(3, bytearray(5)) == 5
    reader.close()
    reader.close()
    with pytest.raises(UsageError):
        reader.readinto_at(0, bytearray(1))


def test_object_of_another_place_is_refused(small):
    data, sealed = small
    with pytest.raises(IntegrityError, match="another domain"):
        open_and_read(data, dataclasses.replace(sealed.record, index=1))


def test_inspection_says_what_shows_and_what_does_not(tmp_path):
    data, sealed = seal_bytes(tmp_path, b"x" * (2 * SEGMENT), header=make_header(index=3))
    seen = inspect(BytesSource(data))
    assert (seen.header, seen.root, seen.file_length) == (sealed.header, sealed.root, len(data))
    assert (seen.segments, seen.payload_length, seen.findings) == (2, 2 * SEGMENT, ())
    text = seen.text()
    assert sealed.root.hex() in text
    assert "every segment agrees" in text
    assert text.endswith(UNKNOWABLE)


def test_inspection_names_damaged_segments(large):
    data, _ = large
    damaged = bytearray(data)
    damaged[5 * SEGMENT] ^= 1
    seen = inspect(BytesSource(bytes(damaged)))
    assert [finding.code for finding in seen.findings] == ["damaged-object"]
    assert "1 segments are not what was sealed: 4" in seen.text()
