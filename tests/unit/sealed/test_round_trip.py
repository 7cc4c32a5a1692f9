"""What was sealed comes back, through every way in and every way out."""

from __future__ import annotations

import io
import os

import pytest

from hermetic.errors import UsageError
from hermetic.formats.object_metadata import ObjectMetadata
from hermetic.formats.padding import Padding, padded_length
from hermetic.formats.suites import SUITES
from hermetic.sealed.content import content_digest
from hermetic.sealed.files import seal_file
from hermetic.sealed.reader import ObjectReader
from hermetic.sealed.stream import SealedFile
from hermetic.sealed.verification import verify_ciphertext
from hermetic.stores.output import DescriptorOutput
from tests.unit.sealed.objects import KEY, SEGMENT, BytesSource, content_of, make_header, seal_bytes

EDGES = [0, 1, SEGMENT - 1, SEGMENT, SEGMENT + 1, 16 * SEGMENT, 16 * SEGMENT + 1, 80 * SEGMENT - 7]


def read_all(data, sealed, key=KEY):
    with ObjectReader(BytesSource(data), key, sealed.record) as reader:
        buffer = bytearray(reader.length)
        assert reader.readinto_at(0, buffer) == reader.length == sealed.plaintext_length
        return bytes(buffer)


@pytest.mark.parametrize("length", EDGES)
@pytest.mark.parametrize("padding", list(Padding))
def test_written_stream_comes_back(tmp_path, length, padding):
    plain = os.urandom(length)
    data, sealed = seal_bytes(tmp_path, plain, header=make_header(padding=padding))
    assert len(data) == sealed.length
    assert sealed.segments == max(1, -(-padded_length(padding, length, SEGMENT) // SEGMENT))
    assert read_all(data, sealed) == plain
    assert verify_ciphertext(BytesSource(data, step=1000), sealed.record) == sealed.header


@pytest.mark.parametrize("suite", list(SUITES))
@pytest.mark.parametrize("length", [0, 5, 3_000_000, 9 * 1024 * 1024])
def test_sealed_file_comes_back_and_is_exposed(tmp_path, fd, suite, length):
    plain = os.urandom(length)
    (tmp_path / "in").write_bytes(plain)
    with (tmp_path / "in").open("rb") as source:
        sealed = seal_file(
            source.fileno(),
            DescriptorOutput(fd),
            make_header(suite=suite, padding=Padding.PADME),
            KEY,
            metadata=ObjectMetadata(),
            content_algorithm="blake3",
        )
        assert sealed.content_digest == content_digest(source.fileno(), length, "blake3")
    data = content_of(fd)
    assert read_all(data, sealed) == plain
    with ObjectReader(BytesSource(data), KEY, sealed.record) as reader, (tmp_path / "exposed").open("xb+") as out:
        assert reader.expose_to(out.fileno()) == length
        assert content_of(out.fileno()) == plain


@pytest.mark.parametrize("sizes", [[1] * 40, [0, 70_000, 0], [5_000_000, 1, 6_000_000], [1024 * 1024] * 3])
def test_any_cut_of_the_writes_gives_the_same_content(tmp_path, sizes):
    parts = [os.urandom(size) for size in sizes]
    plain = b"".join(parts)
    data, sealed = seal_bytes(tmp_path, plain, writes=parts, content_algorithm="sha256")
    assert read_all(data, sealed) == plain
    whole, again = seal_bytes(tmp_path, plain, content_algorithm="sha256")
    assert again.content_digest == sealed.content_digest
    assert whole != data, "two objects never share a FLOE header"


def test_metadata_travels_encrypted(tmp_path):
    metadata = ObjectMetadata("folder/patients.csv", "text/csv", {"label": "geheim"}, {"schema": [{"name": "age"}]})
    data, sealed = seal_bytes(tmp_path, b"x" * 10, metadata=metadata)
    with ObjectReader(BytesSource(data), KEY, sealed.record) as reader:
        assert reader.metadata == metadata.with_length(10)
        assert reader.header == sealed.header
    for word in (b"patients", b"geheim", b"age", b"csv"):
        assert word not in data


def test_large_metadata_has_segments_of_its_own(tmp_path):
    metadata = ObjectMetadata(details={"index": "x" * 300_000})
    data, sealed = seal_bytes(tmp_path, b"", metadata=metadata)
    with ObjectReader(BytesSource(data), KEY, sealed.record) as reader:
        assert reader.metadata.details == metadata.details


def test_ranges_at_segment_edges(tmp_path):
    plain = os.urandom(40 * SEGMENT + 11)
    data, sealed = seal_bytes(tmp_path, plain)
    with ObjectReader(BytesSource(data, step=50_000), KEY, sealed.record) as reader:
        for start in (0, 1, SEGMENT - 1, SEGMENT, SEGMENT + 1, 16 * SEGMENT, 40 * SEGMENT, len(plain) - 1, len(plain)):
            for length in (0, 1, 2, SEGMENT - 1, SEGMENT, SEGMENT + 1, 17 * SEGMENT, len(plain)):
                buffer = bytearray(length)
                count = reader.readinto_at(start, buffer)
                assert bytes(buffer[:count]) == plain[start : start + length]
                assert count == len(plain[start : start + length])
        assert reader.readinto_at(len(plain) + 5, bytearray(3)) == 0
        with pytest.raises(UsageError):
            reader.readinto_at(-1, bytearray(3))


def test_sealed_file_behaves_like_a_file(tmp_path):
    plain = os.urandom(3 * SEGMENT + 100)
    data, sealed = seal_bytes(tmp_path, plain)
    source = BytesSource(data)
    file = SealedFile(ObjectReader(source, KEY, sealed.record))
    with io.BufferedReader(file, buffer_size=4096) as buffered:
        assert buffered.readable()
        assert buffered.seekable()
        assert not buffered.writable()
        assert buffered.read(10) == plain[:10]
        assert buffered.seek(-5, os.SEEK_END) == len(plain) - 5
        assert buffered.read() == plain[-5:]
        assert buffered.seek(SEGMENT - 3) == SEGMENT - 3
        assert buffered.read(7) == plain[SEGMENT - 3 : SEGMENT + 4]
        assert buffered.tell() == SEGMENT + 4
        buffered.seek(0)
        assert buffered.read() == plain
        with pytest.raises(UsageError):
            file.seek(-1)
    assert source.closed
    with pytest.raises(ValueError, match="closed"):
        file.read(1)
