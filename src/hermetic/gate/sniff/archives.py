"""Archives and compressed files: what their first members are. Reads central directories, headers and a few KiB of members."""

from __future__ import annotations

import bz2
import lzma
import struct
import zipfile
import zlib
from typing import TYPE_CHECKING, Protocol

from hermetic.gate.sniff.sample import HEAD, Guess, Sample, SampleFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Recognise = Callable[[Sample, int], Guess | None]

_MEMBERS_LOOKED_AT = 32
_COMPRESSED_AT_HAND = 1 << 20  # bytes fed to a decompressor at most: a bzip2 block has up to 900 kB
_STEP = 1 << 16
_INSIDE = 1 << 16  # bytes taken out of a compressed stream
_LZMA_MEMORY = 256 << 20
_BLOCK = 512
# What zipfile raises for archives that are no archives; the last three it does not document.
_UNREADABLE = (zipfile.BadZipFile, NotImplementedError, ValueError, EOFError, zlib.error, IndexError, OverflowError, struct.error)
_READABLE = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
_NOT_LOOKED_INTO = ((b"\x28\xb5\x2f\xfd", "zstd"), (b"\x04\x22\x4d\x18", "lz4"), (b"Rar!\x1a\x07", "rar"))


class _Decompressor(Protocol):
    def decompress(self, data: bytes, max_length: int) -> bytes: ...


def archived(sample: Sample, depth: int, recognise: Recognise) -> Guess | None:
    """Return what an archive or compressed file holds, or None if this is none. Raises OSError, TooMuch."""
    if sample.head[:4] in {b"PK\3\4", b"PK\5\6"}:
        return _zip(sample, depth, recognise)
    if sample.head[257:262] == b"ustar":
        return _tar(sample, depth, recognise)
    for mark, name in _NOT_LOOKED_INTO:
        if sample.head.startswith(mark):
            return Guess("archive", name, "unknown", f"{name}: not looked into")
    return _compressed(sample, depth, recognise)


def _zip(sample: Sample, depth: int, recognise: Recognise) -> Guess:
    if sample.size is None or sample.tail(1) is None:
        return Guess("archive", "zip", "unknown", "zip inside something else: not looked into")
    try:
        with zipfile.ZipFile(SampleFile(sample)) as archive:
            members = [member for member in archive.infolist() if not member.filename.endswith("/")]
            return _zip_by_names(members) or _zip_by_members(archive, members, depth, recognise)
    except _UNREADABLE:
        return Guess("archive", "zip", "unknown", "starts like a zip archive and cannot be read as one")


def _zip_by_names(members: list[zipfile.ZipInfo]) -> Guess | None:
    names = {member.filename for member in members}
    encrypted = [member for member in members if member.flag_bits & 1]
    if members and len(encrypted) == len(members):
        weak = any(member.compress_type != 99 for member in encrypted)
        remark = "; ZipCrypto is weak, and names are readable" if weak else "; names are readable"
        return Guess("sealed", "zip-encrypted", "sealed", f"every member is encrypted, not by Hermetic{remark}")
    if encrypted:
        return None
    if any(name.rpartition("/")[2] == "data.pkl" for name in names):
        script = any("/code/" in name for name in names)
        return Guess(
            "model", "torchscript" if script else "torch", "plaintext", "torch archive: holds data.pkl, loading it may run code"
        )
    if {"config.json", "model.weights.h5"} <= names:
        return Guess("model", "keras", "plaintext", "Keras archive")
    if "xl/workbook.xml" in names:
        return Guess("dataset", "xlsx", "plaintext", "spreadsheet")
    return None


def _zip_by_members(archive: zipfile.ZipFile, members: list[zipfile.ZipInfo], depth: int, recognise: Recognise) -> Guess:
    guesses = [recognise(inner, depth + 1) for inner in _zip_samples(archive, members)]
    if members and all(member.filename.endswith(".npy") for member in members) and any(g and g.format == "npy" for g in guesses):
        return Guess("dataset", "npz", "plaintext", f"{len(members)} numpy arrays")
    return _summary("zip", len(members), guesses)


def _zip_samples(archive: zipfile.ZipFile, members: list[zipfile.ZipInfo]) -> Iterator[Sample]:
    for member in members[:_MEMBERS_LOOKED_AT]:
        if not member.flag_bits & 1 and member.compress_type in _READABLE:
            try:
                with archive.open(member) as file:
                    yield Sample(file.read(HEAD), member.file_size)
            except _UNREADABLE:
                continue


def _tar(sample: Sample, depth: int, recognise: Recognise) -> Guess:
    guesses: list[Guess | None] = []
    position, count = 0, 0
    while count < _MEMBERS_LOOKED_AT:
        block = sample.at(position, _BLOCK)
        length = _octal(block[124:136])
        if len(block) < _BLOCK or not block.strip(b"\0") or length is None:
            break
        if block[156:157] in {b"0", b"\0"}:
            count += 1
            inner = sample.at(position + _BLOCK, min(length, HEAD))
            guesses.append(recognise(Sample(inner, length), depth + 1) if inner else None)
        position += _BLOCK + -(-length // _BLOCK) * _BLOCK
    return _summary("tar", count, guesses)


def _octal(field: bytes) -> int | None:
    if field[:1] == b"\x80":  # GNU base-256
        return int.from_bytes(field[1:], "big")
    try:
        return max(0, int(field.strip(b" \0") or b"0", 8))
    except ValueError:
        return None


def _summary(name: str, count: int, guesses: list[Guess | None]) -> Guess:
    for guess in guesses:
        if guess is not None and guess.state == "plaintext":
            return Guess("archive", f"{name} of {guess.format}", "plaintext", f"{name} archive that holds {guess.format}")
    return Guess(
        "archive", name, "unknown", f"{name} archive, nothing recognised in its first {min(count, _MEMBERS_LOOKED_AT)} members"
    )


def _compressed(sample: Sample, depth: int, recognise: Recognise) -> Guess | None:
    found = _decompressor(sample.head)
    if found is None:
        return None
    name, decompressor = found
    inside = _inside(sample, decompressor)
    if not inside:
        return None
    guess = recognise(Sample(inside, None), depth + 1)
    if guess is None or guess.state == "unknown":
        reason = "" if guess is None else f": {guess.reason}"
        return None if name == "zlib" else Guess("archive", name, "unknown", f"{name}, content not recognised{reason}")
    return Guess(guess.kind, f"{guess.format}+{name}", guess.state, f"{name} of {guess.format}: {guess.reason}")


def _decompressor(head: bytes) -> tuple[str, _Decompressor] | None:
    if head.startswith(b"\x1f\x8b\x08"):
        return "gzip", zlib.decompressobj(31)
    if head.startswith(b"BZh") and head[4:10] == b"1AY&SY":
        return "bzip2", bz2.BZ2Decompressor()
    if head.startswith(b"\xfd7zXZ\0"):
        return "xz", lzma.LZMADecompressor(memlimit=_LZMA_MEMORY)
    if len(head) > 2 and head[0] == 0x78 and int.from_bytes(head[:2], "big") % 31 == 0:
        return "zlib", zlib.decompressobj()
    return None


def _inside(sample: Sample, decompressor: _Decompressor) -> bytes:
    """Return the first bytes of the content; what decompressed before an error counts."""
    content = bytearray()
    try:
        for offset in range(0, _COMPRESSED_AT_HAND, _STEP):
            piece = sample.at(offset, _STEP)
            if not piece or len(content) >= HEAD:
                break
            content += decompressor.decompress(piece, _INSIDE - len(content))
    except (zlib.error, lzma.LZMAError, OSError, EOFError, ValueError):
        return bytes(content)
    return bytes(content)
