"""The search for plaintext finds a planted marker in every form that libraries write, and cannot pass by finding nothing anywhere."""

from __future__ import annotations

import base64
import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
import zlib

import pandas as pd
import pyarrow as pa
import pyarrow.feather as feather
import pytest


def zipped(raw):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("inner.txt", raw)
    return buffer.getvalue()


def tarred(raw):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        info = tarfile.TarInfo("inner")
        info.size = len(raw)
        archive.addfile(info, io.BytesIO(raw))
    return buffer.getvalue()


FORMS = {
    "raw": lambda raw: b"x" * 5000 + raw,
    "base64": lambda raw: base64.b64encode(b"..." + raw + b"..."),
    "base64, shifted": lambda raw: base64.b64encode(b"." + raw),
    "UTF-16": lambda raw: raw.decode().encode("utf-16"),
    "hexadecimal": lambda raw: raw.hex().encode(),
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zlib": zlib.compress,
    "zip": zipped,
    "tar": tarred,
    "tar in gzip": lambda raw: gzip.compress(tarred(raw)),
    "zstd": lambda raw: pa.compress(raw + b" " * 100, codec="zstd", asbytes=True),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_found(traces, tmp_path, form):
    (tmp_path / "work" / "file.bin").write_bytes(FORMS[form](traces.raw))
    assert any("file.bin" in hit for hit in traces.found())


@pytest.mark.parametrize("compression", ["snappy", "zstd", "gzip", "brotli", "none"])
def test_parquet_is_decoded(traces, tmp_path, compression):
    frame = pd.DataFrame({"a": [traces.text] * 100})
    frame.to_parquet(tmp_path / "work" / "t.parquet", compression=None if compression == "none" else compression)
    assert traces.found()


def test_arrow_is_decoded(traces, tmp_path):
    feather.write_feather(pd.DataFrame({"a": [traces.text] * 100}), str(tmp_path / "work" / "t.feather"), compression="lz4")
    assert any("Arrow" in hit for hit in traces.found())


def test_a_control_that_leaves_nothing_voids_the_search(nothing_left):
    with pytest.raises(AssertionError, match="void"):
        nothing_left(plain=lambda: None, sealed=lambda: None)


def test_what_the_sealed_way_leaves_is_told(traces, nothing_left, tmp_path):
    leave = lambda: (tmp_path / "temporary" / "x").write_bytes(gzip.compress(traces.raw))  # noqa: E731
    with pytest.raises(AssertionError, match="in gzip"):
        nothing_left(plain=leave, sealed=leave)


def test_what_the_control_left_is_removed_before_the_sealed_way(traces, nothing_left, tmp_path):
    nothing_left(plain=lambda: (tmp_path / "work" / "x").write_text(traces.text), sealed=lambda: None)
