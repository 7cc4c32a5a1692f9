"""Formats with a fixed mark: one table, and the few that need a second look."""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING

from hermetic.gate.sniff.sample import Guess

if TYPE_CHECKING:
    from hermetic.gate.sniff.sample import Sample

_D, _M, _E = "dataset", "model", "embeddings"

# (offset, mark, kind, format); the first that fits counts
_MARKS: tuple[tuple[int, bytes, str, str], ...] = (
    (0, b"\x93NUMPY", _D, "npy"),
    (0, b"GGUF", _M, "gguf"),
    (0, b"ggml", _M, "ggml"),
    (0, b"tjgg", _M, "ggml"),
    (0, b"lmgg", _M, "ggml"),
    (0, b"FEA1", _D, "feather"),
    (0, b"Obj\x01", _D, "avro"),
    (0, b"ORC", _D, "orc"),
    (4, b"TFL3", _M, "tflite"),
    (0, b"CBM1", _M, "catboost"),
    (0, b"usearch", _E, "usearch"),
    (8, b"DUCK", "database", "duckdb"),
    (0, b"PGDMP", _D, "postgres-dump"),
    (0, b"CDF\x01", _D, "netcdf"),
    (0, b"CDF\x02", _D, "netcdf"),
    (0, b"MATLAB 5.0 MAT-file", _D, "matlab"),
    (0, b"<stata_dta>", _D, "stata"),
    (0, b"$FL2", _D, "spss"),
    (0, b"RDX", _D, "r-data"),
    (128, b"DICM", _D, "dicom"),
    (344, b"n+1\0", _D, "nifti"),
    (0, b"\x89PNG\r\n\x1a\n", "image", "png"),
    (0, b"\xff\xd8\xff", "image", "jpeg"),
    (0, b"GIF87a", "image", "gif"),
    (0, b"GIF89a", "image", "gif"),
    (0, b"II*\0", "image", "tiff"),
    (0, b"MM\0*", "image", "tiff"),
    (4, b"ftypheic", "image", "heic"),
    (4, b"ftypavif", "image", "avif"),
    (0, b"fLaC", "audio", "flac"),
    (0, b"OggS", "audio", "ogg"),
    (0, b"ID3", "audio", "mp3"),
    (4, b"ftypM4A", "audio", "m4a"),
    (4, b"ftyp", "video", "mp4"),
    (0, b"\x1aE\xdf\xa3", "video", "matroska"),
)
_TEXT = re.compile(rb"[\t\n\r -~]*")
_RIFF = {b"WEBP": ("image", "webp"), b"WAVE": ("audio", "wav"), b"AVI ": ("video", "avi")}
_FAISS = frozenset({b"IxFI", b"IxF2", b"IwFl", b"IwPQ", b"IxPq", b"IHNf", b"IHNp", b"IxMp", b"IxM2", b"IBxF", b"IwSq", b"IxSQ"})
_HDF5 = b"\x89HDF\r\n\x1a\n"
_SQLITE = b"SQLite format 3\0"
_CUSTODY_ID = b"HRMC"  # application id of a custody database, at byte 68 of an SQLite file


def by_mark(sample: Sample) -> Guess | None:
    """Return what the fixed mark says, or None. Raises OSError."""
    head = sample.head
    for second_look in (_parquet, _arrow_file, _hdf5, _sqlite, _faiss, _riff, _tensorizer, _lance):
        if found := second_look(sample):
            return found
    for offset, mark, kind, name in _MARKS:
        if head.startswith(mark, offset):
            return Guess(kind, name, "plaintext", f"{name} by its mark")
    if head[:2] == b"BM" and sample.size and head[2:6] == struct.pack("<I", sample.size & 0xFFFFFFFF):
        return Guess("image", "bmp", "plaintext", "bmp by its mark and length")
    return None


def _parquet(sample: Sample) -> Guess | None:
    mark = sample.head[:4]
    if mark not in {b"PAR1", b"PARE"}:
        return None
    tail = sample.tail(8)
    if tail is not None and (len(tail) < 8 or tail[4:] not in {b"PAR1", b"PARE"}):
        if _TEXT.fullmatch(sample.head[:64]):
            return None
        return Guess(_D, "parquet", "plaintext", "starts like Parquet and has no end: cut or still being written")
    if b"PARE" in {mark, (tail or b"")[4:]}:
        return Guess(
            _D, "parquet-encrypted", "sealed", "Parquet with an encrypted footer (modular encryption), not sealed by Hermetic"
        )
    return Guess(_D, "parquet", "plaintext", "Parquet marks at start and end")


def _arrow_file(sample: Sample) -> Guess | None:
    if not sample.head.startswith(b"ARROW1\0\0"):
        return None
    return Guess(_D, "arrow-file", "plaintext", "Arrow IPC file (Feather version 2)")


def _hdf5(sample: Sample) -> Guess | None:
    if not any(sample.head.startswith(_HDF5, offset) for offset in (0, 512, 1024, 2048, 4096)):
        return None
    if any(word in sample.head for word in (b"keras_version", b"model_weights", b"layer_names")):
        return Guess(_M, "keras-hdf5", "plaintext", "HDF5 that holds Keras weights")
    return Guess(_D, "hdf5", "plaintext", "HDF5 by its mark")


def _sqlite(sample: Sample) -> Guess | None:
    head = sample.head
    if not head.startswith(_SQLITE):
        return None
    if head[68:72] == _CUSTODY_ID:
        return Guess("custody", "hermetic-custody", "sealed", "a custody database: what it knows is in encrypted columns")
    schema = head.lower()
    if b"embedding" in schema or b"vec0(" in schema or b"vss0(" in schema:
        return Guess(_E, "sqlite", "plaintext", "SQLite database whose schema names embeddings")
    return Guess("database", "sqlite", "plaintext", "SQLite database")


def _faiss(sample: Sample) -> Guess | None:
    if sample.head[:4] not in _FAISS or len(sample.head) < 16:
        return None
    dimensions, count = struct.unpack_from("<iq", sample.head, 4)
    if not (0 < dimensions <= 1 << 20 and 0 <= count <= 1 << 48):
        return None
    return Guess(_E, "faiss", "plaintext", f"FAISS index of {count} vectors with {dimensions} dimensions")


def _riff(sample: Sample) -> Guess | None:
    if sample.head[:4] != b"RIFF" or sample.head[8:12] not in _RIFF:
        return None
    kind, name = _RIFF[sample.head[8:12]]
    return Guess(kind, name, "plaintext", f"{name} by its mark")


def _tensorizer(sample: Sample) -> Guess | None:
    if not sample.head.startswith(b"|TZR|"):
        return None
    return Guess(_M, "tensorizer", "unknown", "tensorizer weights, which may or may not be encrypted")


def _lance(sample: Sample) -> Guess | None:
    if (sample.tail(4) or b"") != b"LANC":
        return None
    return Guess(_E, "lance", "plaintext", "Lance data file by the mark at its end")
