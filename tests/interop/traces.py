"""Search folders for a planted marker: raw, in other alphabets, in gzip, zip, zstd and tar, and in decoded Parquet and Arrow files.

    traces = Traces((home, temporary))
    with traces.control():         # fails unless what happens inside leaves the marker somewhere; what it left is removed
        frame.to_csv("plain.csv")
    frame.to_csv("hermetic://dataset/x")
    assert traces.found() == []

A file that is being searched and cannot be read or unpacked is searched raw; nothing is skipped.
"""

from __future__ import annotations

import base64
import bz2
import gzip
import io
import lzma
import os
import secrets
import shutil
import tarfile
import zipfile
import zlib
from contextlib import contextmanager, suppress
from pathlib import Path

_DEPTH = 4  # archives inside archives


class Traces:
    """A marker of its own for each test, and where it must not be found. `text` is to be planted."""

    def __init__(self, folders: tuple[Path, ...]) -> None:
        self.text = f"planted-{secrets.token_hex(12)}"
        self._folders = folders
        self._patterns = tuple(_spellings(self.text))
        self._before = set(_loose())

    @property
    def raw(self) -> bytes:
        """The marker for tensors and binary files."""
        return self.text.encode()

    def found(self) -> list[str]:
        """Return where the marker is, and how, in order of path."""
        hits = []
        for path in sorted(self._reachable()):
            try:
                content = path.read_bytes()
            except FileNotFoundError:
                continue
            hits += [f"{path} ({how})" for how in _search(content, self._patterns, _DEPTH)]
        return hits

    @contextmanager
    def control(self):
        """Fail unless the block leaves the marker where `found` finds it; then remove what holds it, and what the block made."""
        assert self.found() == [], "the marker lay there before anything was done"
        before = set(self._reachable())
        yield
        assert self.found() != [], "the plain way left no trace that this search finds, so that the search is void"
        for path in set(self._reachable()) - before:
            path.unlink()
        for folder in self._folders:
            for child in folder.iterdir():
                if child.is_dir() and not any(_files(child)) and child.name not in {"work", "temporary"}:
                    shutil.rmtree(child)
        assert self.found() == []

    def _reachable(self):
        return {path for folder in self._folders for path in _files(folder)} | (set(_loose()) - self._before)


def _loose():
    """Yield this user's files directly in /tmp, for tools that do not ask what the temporary folder is."""
    with os.scandir("/tmp") as entries:
        for entry in entries:
            with suppress(FileNotFoundError):
                if entry.is_file(follow_symlinks=False) and entry.stat().st_uid == os.getuid():
                    yield Path(entry.path)


def _files(folder: Path):
    for root, _, names in os.walk(folder):
        for name in names:
            path = Path(root, name)
            if path.is_file() and not path.is_symlink():
                yield path


def _spellings(text: str):
    raw = text.encode()
    yield "raw", raw
    yield "hexadecimal", raw.hex().encode()
    yield "UTF-16", text.encode("utf-16-le")
    yield "UTF-32", text.encode("utf-32-le")
    for shift in range(3):  # the inside of any base64 text that holds it, whatever stands before
        whole = base64.b64encode(b"\0" * shift + raw)
        yield "base64", whole[4 : len(whole) // 4 * 4 - 4]


def _search(content: bytes, patterns, depth: int):
    found = sorted({how for how, pattern in patterns if pattern in content})
    if depth:
        for kind, inner in _unpacked(content):
            found += [f"{how} in {kind}" for how in _search(inner, patterns, depth - 1)]
    return found


def _unpacked(content: bytes):
    for kind, magic, unpack in _KINDS:
        if content.startswith(magic):
            try:
                yield from ((kind, inner) for inner in unpack(content))
            except _TORN:
                continue


def _zip(content):
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        yield from (archive.read(name) for name in archive.namelist())


def _tar(content):
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        yield from (archive.extractfile(member).read() for member in archive if member.isfile())


def _parquet(content):
    import pyarrow.parquet as pq

    yield pq.read_table(io.BytesIO(content)).to_pandas().to_csv().encode()


def _arrow_file(content):
    import pyarrow as pa

    yield pa.ipc.open_file(content).read_pandas().to_csv().encode()


def _arrow_stream(content):
    import pyarrow as pa

    yield pa.ipc.open_stream(content).read_pandas().to_csv().encode()


def _zstd(content):
    import pyarrow as pa

    with pa.input_stream(io.BytesIO(content), compression="zstd") as stream:
        yield stream.read()


_TORN = (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, tarfile.TarError, RuntimeError, ImportError)
_KINDS = (
    ("gzip", b"\x1f\x8b", lambda content: [gzip.decompress(content)]),
    ("bzip2", b"BZh", lambda content: [bz2.decompress(content)]),
    ("xz", b"\xfd7zXZ", lambda content: [lzma.decompress(content)]),
    ("zlib", b"\x78", lambda content: [zlib.decompress(content)]),
    ("zstd", b"\x28\xb5\x2f\xfd", _zstd),
    ("zip", b"PK\x03\x04", _zip),
    ("tar", b"", lambda content: _tar(content) if content[257:262] == b"ustar" else []),
    ("Parquet", b"PAR1", _parquet),
    ("Arrow file", b"ARROW1", _arrow_file),
    ("Arrow stream", b"\xff\xff\xff\xff", _arrow_stream),
)
