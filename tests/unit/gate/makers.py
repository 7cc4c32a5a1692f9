"""Bytes of every format that a scan knows, made by the libraries that own them or, where those are not installed, by hand."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import pickle
import sqlite3
import struct
import tarfile
import zipfile
import zlib

import joblib
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.feather
import pyarrow.ipc
import pyarrow.orc
import pyarrow.parquet as pq
import safetensors.numpy
from sklearn.linear_model import LogisticRegression

ROWS = 200
FRAME = pd.DataFrame({"patient": [f"p{n}" for n in range(ROWS)], "age": range(ROWS), "score": np.linspace(0, 1, ROWS)})
TABLE = pa.Table.from_pandas(FRAME)
ARRAY = np.arange(5000, dtype=np.float32)


def into(write):
    buffer = io.BytesIO()
    write(buffer)
    return buffer.getvalue()


def arrow(opener):
    def write(buffer):
        with opener(buffer, TABLE.schema) as writer:
            writer.write_table(TABLE)

    return into(write)


def zipped(members, encrypted=()):
    def write(buffer):
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in members.items():
                archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)  # dated 1980, the same each time

    raw = bytearray(into(write))
    for name in encrypted:  # set the flag of encryption in both headers; a scan reads nothing more of it
        local = raw.index(b"PK\3\4", raw.index(name.encode()) - 30)
        raw[local + 6] |= 1
        central = raw.index(name.encode(), raw.index(b"PK\1\2")) - 46
        raw[central + 8] |= 1
    return bytes(raw)


def tarred(members):
    def write(buffer):
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            for name, data in members.items():
                info = tarfile.TarInfo(name)
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))

    return into(write)


def sqlite(tmp_path, *statements):
    path = tmp_path / "made.db"
    with sqlite3.connect(path) as connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()
    raw = path.read_bytes()
    path.unlink()
    return raw


def varint(value):
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def field(number, content):
    if isinstance(content, int):
        return varint(number << 3) + varint(content)
    return varint(number << 3 | 2) + varint(len(content)) + content


def onnx():
    node = field(1, b"x") + field(2, b"y") + field(4, b"Relu")
    tensor = field(2, 1) + field(9, bytes(40_000)) + field(8, b"weights")
    graph = field(1, node) + field(2, b"graph") + field(5, tensor)
    return field(1, 8) + field(2, b"pytorch") + field(3, b"2.13") + field(7, graph) + field(8, field(1, b"") + field(2, 17))


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def tfrecord(data=b"example"):
    def masked(part):
        crc = crc32c(part)
        return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)

    length = struct.pack("<Q", len(data))
    return length + masked(length) + data + masked(data)


def notebook(cells=1):
    made = [{"cell_type": "code", "source": ["1+1"], "outputs": [], "metadata": {}, "execution_count": None} for _ in range(cells)]
    return json.dumps({"cells": made, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}, indent=1).encode()


CSV = FRAME.to_csv(index=False).encode()
JSONL = FRAME.to_json(orient="records", lines=True).encode()
PICKLE = pickle.dumps(FRAME, protocol=5)
MODEL = pickle.dumps(LogisticRegression().fit(FRAME[["age"]], FRAME["age"] > 100), protocol=4)
TORCH = zipped({"model/data.pkl": pickle.dumps({"a": 1}, protocol=2), "model/data/0": bytes(4000), "model/version": b"3\n"})
NPY = into(lambda buffer: np.save(buffer, ARRAY))
SAFETENSORS = safetensors.numpy.save({"layer.weight": ARRAY, "layer.bias": ARRAY[:3]}, metadata={"format": "np"})
BIG_SAFETENSORS = safetensors.numpy.save({f"transformer.layer.{n}.weight": ARRAY[:4] for n in range(2000)})
ARROW_FILE = arrow(pa.ipc.new_file)
ARROW_STREAM = arrow(pa.ipc.new_stream)
PARQUET = into(lambda buffer: pq.write_table(TABLE, buffer))
LIGHTGBM = b"tree\nversion=v4\nnum_class=1\nnum_tree_per_iteration=1\n"

PLAINTEXT = {
    "parquet": (PARQUET, "dataset", "parquet"),
    "feather": (into(lambda buffer: pa.feather.write_feather(TABLE, buffer)), "dataset", "arrow-file"),
    "arrow file": (ARROW_FILE, "dataset", "arrow-file"),
    "arrow stream": (ARROW_STREAM, "dataset", "arrow-stream"),
    "orc": (into(lambda buffer: pa.orc.write_table(TABLE, buffer)), "dataset", "orc"),
    "safetensors": (SAFETENSORS, "model", "safetensors"),
    "safetensors, long header": (BIG_SAFETENSORS, "model", "safetensors"),
    "gguf": (b"GGUF" + struct.pack("<IQQ", 3, 0, 0) + bytes(100), "model", "gguf"),
    "onnx": (onnx(), "model", "onnx"),
    "saved model": (field(1, 1) + field(2, bytes(9000)), "model", "saved-model"),
    "tflite": (b"\x1c\0\0\0TFL3" + bytes(100), "model", "tflite"),
    "pickle of a frame": (PICKLE, "dataset", "pickle"),
    "pickle of a model": (MODEL, "model", "pickle"),
    "pickle of builtins": (pickle.dumps(list(range(5000)), protocol=2), "pickle", "pickle"),
    "pickle, tiny": (pickle.dumps((1, 2), protocol=4), "pickle", "pickle"),
    "joblib": (into(lambda buffer: joblib.dump({"weights": ARRAY}, buffer)), "dataset", "joblib"),
    "joblib, zlib": (into(lambda buffer: joblib.dump(FRAME, buffer, compress=("zlib", 3))), "dataset", "joblib+zlib"),
    "torch": (TORCH, "model", "torch"),
    "torchscript": (zipped({"m/data.pkl": b"\x80\2N.", "m/code/a.py": b"1", "m/version": b"3"}), "model", "torchscript"),
    "torch, old": (pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2) + pickle.dumps(1001, protocol=2), "model", "torch-legacy"),
    "keras": (zipped({"config.json": b"{}", "metadata.json": b"{}", "model.weights.h5": b"\x89HDF"}), "model", "keras"),
    "npy": (NPY, "dataset", "npy"),
    "npz": (into(lambda buffer: np.savez(buffer, a=ARRAY, b=ARRAY)), "dataset", "npz"),
    "npz, compressed": (into(lambda buffer: np.savez_compressed(buffer, a=ARRAY)), "dataset", "npz"),
    "hdf5": (b"\x89HDF\r\n\x1a\n" + bytes(2000), "dataset", "hdf5"),
    "hdf5 behind a user block": (bytes(512) + b"\x89HDF\r\n\x1a\n" + bytes(2000), "dataset", "hdf5"),
    "keras hdf5": (b"\x89HDF\r\n\x1a\n" + bytes(900) + b"keras_version" + bytes(900), "model", "keras-hdf5"),
    "tfrecord": (tfrecord() + tfrecord(bytes(9000)), "dataset", "tfrecord"),
    "csv": (CSV, "dataset", "csv"),
    "csv, dos": (CSV.replace(b"\n", b"\r\n"), "dataset", "csv"),
    "csv, bom": (b"\xef\xbb\xbf" + CSV, "dataset", "csv"),
    "csv, utf-16": (CSV.decode().encode("utf-16"), "dataset", "csv"),
    "csv, latin-1": ("name,stadt,alter\nJörg,Köln,3\nÄnne,Düren,4\nUte,Ulm,5\n".encode("latin-1"), "dataset", "csv"),
    "csv, bom and cut inside a character": (b"\xef\xbb\xbf" + ("n,ort,x\n" + "1,Köln,2\n" * 3000).encode(), "dataset", "csv"),
    "csv, semicolons": (b"name;age\nana;30\nbo;41\n", "dataset", "csv"),
    "csv, quoted": (b'id,note\n1,"a, b\nand c"\n2,"d"\n3,"e"\n', "dataset", "csv"),
    "csv, text only": (b"name,city,plan\n" + b"ana,bonn,basic\nbo,rome,pro\n" * 4, "dataset", "csv"),
    "csv, counts first": (b"4,2,malignant,benign\n" + b"1.0,2.5,3\n" * 8, "dataset", "csv"),
    "csv, one row": (b"name,age,city\nana,30,bonn\n", "dataset", "csv"),
    "tsv": (FRAME.to_csv(index=False, sep="\t").encode(), "dataset", "tsv"),
    "columns": (b"chins situps jumps\n5 162 60\n2 110 60\n12 101 101\n", "dataset", "columns"),
    "libsvm": (b"1 1:0.5 7:2\n-1 2:1 9:3.5\n1 4:1\n", "dataset", "libsvm"),
    "arff": (b"% iris\n@RELATION iris\n@ATTRIBUTE a REAL\n@DATA\n1\n", "dataset", "arff"),
    "jsonl": (JSONL, "dataset", "jsonl"),
    "jsonl, long lines": (b"\n".join([json.dumps({"embedding": [0.5] * 3000}).encode()] * 4), "dataset", "jsonl"),
    "json records": (FRAME.to_json(orient="records").encode(), "dataset", "json-records"),
    "geojson": (b'{"type": "FeatureCollection", "features": []}', "dataset", "geojson"),
    "notebook": (notebook(), "notebook", "notebook"),
    "notebook, large": (notebook(500), "notebook", "notebook"),
    "xgboost": (b'{"learner":{"attributes":{},"feature_names":[]},"version":[3,0,0]}', "model", "xgboost-json"),
    "lightgbm": (LIGHTGBM, "model", "lightgbm"),
    "faiss": (b"IxFI" + struct.pack("<iq", 384, 10) + bytes(64), "embeddings", "faiss"),
    "lance": (bytes(500) + b"LANC", "embeddings", "lance"),
    "duckdb": (bytes(8) + b"DUCK" + bytes(500), "database", "duckdb"),
    "sql dump": (b"--\n-- PostgreSQL database dump\n--\n", "dataset", "sql-dump"),
    "dicom": (bytes(128) + b"DICM" + bytes(100), "dataset", "dicom"),
    "csv, gzip": (gzip.compress(CSV, mtime=0), "dataset", "csv+gzip"),
    "csv, bzip2": (bz2.compress(CSV * 300), "dataset", "csv+bzip2"),
    "csv, xz": (lzma.compress(CSV), "dataset", "csv+xz"),
    "parquet, gzip": (gzip.compress(PARQUET, mtime=0), "dataset", "parquet+gzip"),
    "zip of csv": (zipped({"readme": b"hello", "a/data": CSV}), "archive", "zip of csv"),
    "zip of parquet": (zipped({"x": PARQUET}), "archive", "zip of parquet"),
    "zip, part encrypted": (zipped({"one": CSV, "two": CSV}, encrypted=["two"]), "archive", "zip of csv"),
    "tar of csv": (tarred({"readme": b"hello", "data": CSV * 50, "z": CSV}), "archive", "tar of csv"),
    "tar of torch": (tarred({"m.pt": SAFETENSORS}), "archive", "tar of safetensors"),
    "tar.gz of csv": (gzip.compress(tarred({"data": CSV}), mtime=0), "archive", "tar of csv+gzip"),
    "xlsx": (zipped({"[Content_Types].xml": b"<x/>", "xl/workbook.xml": b"<x/>"}), "dataset", "xlsx"),
}

IMAGES = {
    "png": (b"\x89PNG\r\n\x1a\n" + bytes(50), "image", "png"),
    "jpeg": (b"\xff\xd8\xff\xe0" + bytes(50), "image", "jpeg"),
    "webp": (b"RIFF\0\0\0\0WEBP" + bytes(50), "image", "webp"),
    "bmp": (b"BM" + struct.pack("<I", 60) + bytes(54), "image", "bmp"),
    "wav": (b"RIFF\0\0\0\0WAVE" + bytes(50), "audio", "wav"),
    "mp4": (b"\0\0\0 ftypisom" + bytes(50), "video", "mp4"),
}

AGE = b"age-encryption.org/v1\n-> X25519 abc\nxyz\n--- mac\n" + bytes(range(256))
ELSEWHERE = {
    "age": (AGE, "age"),
    "age, armoured": (b"-----BEGIN AGE ENCRYPTED FILE-----\nYWdl\n", "age"),
    "openpgp, armoured": (b"-----BEGIN PGP MESSAGE-----\n\nhQIMA\n", "openpgp"),
    "openpgp to a key": (bytes.fromhex("85020c03") + bytes(8) + b"\x01\x0f\xff" + bytes(range(256)) * 3, "openpgp"),
    "openpgp to a passphrase": (bytes.fromhex("8c0d04090302") + bytes(range(9)) + b"\xd2\x40\x01" + bytes(range(200)), "openpgp"),
    "openssl": (b"Salted__" + bytes(range(200)), "openssl-enc"),
    "luks": (b"LUKS\xba\xbe\0\2" + bytes(100), "luks"),
    "ansible": (b"$ANSIBLE_VAULT;1.1;AES256\n6162\n", "ansible-vault"),
    "fernet": (b"gAAAAABm" + b"A" * 120 + b"==", "fernet"),
    "zip": (zipped({"one": CSV, "two": CSV}, encrypted=["one", "two"]), "zip-encrypted"),
    "7z": (b"7z\xbc\xaf\x27\x1c\0\4" + bytes(4) + struct.pack("<QQ", 10, 20) + bytes(14) + b"\x06\xf1\x07\x01" + bytes(40), "7z"),
    "parquet": (b"PARE" + bytes(100) + b"\4\0\0\0PARE", "parquet-encrypted"),
    "gzip of age": (gzip.compress(AGE, mtime=0), "age+gzip"),
}

UNKNOWN = {
    "empty": b"",
    "prose": b"Hello, world.\nThis is a text, and it has commas.\nNot a table, though, at all.\nBye.\n" * 5,
    "python": b"import os, sys\n\n\ndef f(a, b):\n    return g(a, b)\n\n\nprint(f(1, 2), f(3, 4))\n" * 20,
    "python about arff": b'# reads @relation and @attribute\nTAGS = ["@relation", "@attribute"]\nprint(TAGS)\n',
    "markdown table": b"| a | b |\n|---|---|\n| 1 | 2 |\n| 3 | 4 |\n",
    "json settings": b'{"name": "x", "version": 1, "list": [1, 2, 3]}',
    "json numbers": b"[1, 2, 3, 4]",
    "yaml": b"a: 1\nb:\n  - c\n  - d\n",
    "toml": b'[project]\nname = "x"\n',
    "html": b"<html><body>a,b\nc,d\n</body></html>",
    "elf": b"\x7fELF\2\1\1" + bytes(9000),
    "zeros": bytes(100_000),
    "protocol 1 pickle": pickle.dumps([1, 2, 3], protocol=1),
    "looks like a pickle": b"\x80\x02" + b"\xff\xfe\xfd" * 100,
    "text that starts like parquet": b"PARENT_DIRECTORY\n----------------\n\nSource directory that added it.\n",
    "text that starts with a digit line": b"12\nThis is a poem\n",
    "wheel record": b"a/__init__.py,sha256=" + b"A" * 43 + b",12\na/b.py,sha256=" + b"B" * 43 + b",0\na/RECORD,,\n",
    "zstd": b"\x28\xb5\x2f\xfd" + bytes(100),
    "cut zip": TORCH[: len(TORCH) // 2],
    "gzip of prose": gzip.compress(b"hello there " * 1000, mtime=0),
    "cut gzip": gzip.compress(bytes(range(256)) * 100, mtime=0)[:12],
    "deep json": b"[" * 100_000,
    "deep json lines": (b'{"a":' * 5000 + b"\n") * 3,
    "zlib of nothing known": zlib.compress(bytes(5000)),
}
