import os
import pickle
import struct

import pytest

from hermetic.formats.object_header import FIXED, ObjectHeader
from hermetic.formats.suites import SUITES
from hermetic.formats.trailer import Layout
from hermetic.gate.sniff.recognise import recognise
from hermetic.gate.sniff.sample import FileSample, Sample
from hermetic.ids import id_from_bytes
from tests.unit.gate import makers


@pytest.fixture
def look(tmp_path):
    def look(raw, name="x"):
        path = tmp_path / name
        path.write_bytes(raw)
        fd = os.open(path, os.O_RDONLY)
        try:
            return recognise(FileSample(fd, len(raw)))
        finally:
            os.close(fd)

    return look


@pytest.mark.parametrize("name", [*makers.PLAINTEXT, *makers.IMAGES])
def test_plaintext_is_recognised(look, name):
    raw, kind, format_ = {**makers.PLAINTEXT, **makers.IMAGES}[name]
    guess = look(raw)
    assert (guess.state, guess.kind, guess.format) == ("plaintext", kind, format_), guess.reason
    assert guess.reason


@pytest.mark.parametrize("name", makers.ELSEWHERE)
def test_sealed_elsewhere_is_recognised(look, name):
    raw, format_ = makers.ELSEWHERE[name]
    guess = look(raw)
    assert (guess.state, guess.format) == ("sealed", format_), guess.reason
    assert "not" in guess.reason


@pytest.mark.parametrize("name", makers.UNKNOWN)
def test_what_is_no_data_stays_unknown(look, name):
    guess = look(makers.UNKNOWN[name])
    assert guess.state == "unknown", guess.reason


def sealed_object(payload=5000):
    suite = next(iter(SUITES.values()))
    ids = [id_from_bytes(bytes([n]) * 16) for n in range(5)]
    prefix = ObjectHeader(*ids, index=0, suite_name=suite.name).encode()
    layout = Layout.of(suite, prefix=len(prefix), plain_length=payload, metadata_length=10)
    body = os.urandom(layout.payload + layout.metadata + layout.leaf_table)
    return prefix + body + layout.encode(bytes(32))


def test_sealed_objects_and_damaged_ones(look):
    raw = sealed_object()
    guess = look(raw)
    assert (guess.kind, guess.format, guess.state) == ("sealed", "hermetic", "sealed")
    damaged = {
        "cut": raw[:-1],
        "longer": raw + b"x",
        "no trailer": raw[:-88] + bytes(88),
        "newer": raw[:8] + b"\0\2" + raw[10:],
        "mark only": b"HERMETIC",
        "huge header": b"HERMETIC" + struct.pack(">HI", 1, 0xFFFFFFFF) + raw[FIXED.size :],
        "header changed": raw[: FIXED.size] + b"[" + raw[FIXED.size + 1 :],
        "plain behind the mark": b"HERMETIC" + makers.CSV,
    }
    for name, one in damaged.items():
        guess = look(one)
        assert (guess.format, guess.state) == ("damaged", "unknown"), name


def test_databases(look, tmp_path):
    assert look(makers.sqlite(tmp_path, "create table people (name text)")).kind == "database"
    assert look(makers.sqlite(tmp_path, "create table embeddings (id integer, vector blob)")).kind == "embeddings"
    custody = look(makers.sqlite(tmp_path, f"pragma application_id = {0x48524D43}", "create table meta (key text)"))
    assert (custody.format, custody.state) == ("hermetic-custody", "sealed")


def test_parquet_without_its_end_is_plaintext_still(look):
    guess = look(makers.PARQUET[:-20])
    assert guess.state == "plaintext"
    assert "no end" in guess.reason


def test_the_name_does_not_matter(look):
    for name in ("innocent.txt", "photo.jpg", ".bashrc", "x.sealed"):
        assert look(makers.PARQUET, name).format == "parquet"
    assert look(b"just text, honest\n", "data.parquet").state == "unknown"


class Bomb:
    def __reduce__(self):
        return (os.mkdir, ("pickle-was-loaded",))


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_pickle_is_never_loaded(look, tmp_path, monkeypatch, protocol):
    monkeypatch.chdir(tmp_path)
    raw = pickle.dumps(Bomb(), protocol=protocol)
    assert look(raw).format == "pickle"
    assert look(makers.zipped({"m/data.pkl": raw, "m/version": b"3"})).format == "torch"
    assert look(makers.zipped({"a": raw})).format == "zip of pickle"
    assert not (tmp_path / "pickle-was-loaded").exists()


class Counting(Sample):
    """A file of 10 GiB that counts what is read of it."""

    def __init__(self, head, size):
        super().__init__(head, size)
        self.read = len(head)

    def at(self, offset, length):
        self.read += length
        return (self.head[offset : offset + length] + bytes(length))[:length] if offset < self.size else b""

    def tail(self, length):
        return self.at(self.size - length, length)


@pytest.mark.parametrize("name", makers.PLAINTEXT)
def test_little_is_read_of_a_large_file(name):
    raw, _, _ = makers.PLAINTEXT[name]
    sample = Counting(raw[:8192].ljust(8192, b"\0"), 10 << 30)
    recognise(sample)
    assert sample.read < 3 << 20


def test_a_member_of_an_archive_without_a_name(look):
    raw = makers.zipped({"Ax": makers.CSV, "y": b"hello"}).replace(b"Ax", b"\0x")  # a name ends at a zero byte
    assert look(raw).format == "zip of csv"


def test_archives_that_lie(look):
    bomb = makers.zipped({"a": bytes(50_000_000)})
    assert len(bomb) < 100_000
    assert look(bomb).state == "unknown"
    huge = bytearray(makers.tarred({"a": makers.CSV}))
    huge[124:136] = b"\x80" + b"\xff" * 11  # a member of 2**88 bytes
    assert look(bytes(huge)).state == "unknown"
    directory = bytearray(makers.zipped({"a": b"1"}))
    end = directory.index(b"PK\5\6")
    directory[end + 12 : end + 16] = struct.pack("<I", 0x7FFFFFFF)
    assert look(bytes(directory)).state == "unknown"
    nested = makers.CSV
    for _ in range(5):
        nested = makers.zipped({"a": nested})
    assert look(nested).state == "unknown"
