"""Who is compared: what each does, in which environment, and on what terms. The modules in contenders/ do it."""

from __future__ import annotations

from typing import NamedTuple

SEAL, OPEN, SAVE, LOAD, ONE, PANDAS, ARROW = "seal", "open", "save", "load", "one", "pandas", "pyarrow"
MEANINGS = {
    SEAL: "seal one file to a file",
    OPEN: "open a sealed file to a file",
    SAVE: "write a dict of torch tensors, sealed",
    LOAD: "load all tensors into torch on the CPU, and touch each page",
    ONE: "load one 16 MiB tensor, freshly opened",
    PANDAS: "read Parquet into a pandas frame",
    ARROW: "read Parquet into a pyarrow table",
}
BASELINES = {
    SEAL: "cp",
    OPEN: "cp",
    SAVE: "safetensors",
    LOAD: "safetensors, mmap and clone",
    ONE: "safetensors",
    PANDAS: "plain file",
    ARROW: "plain file",
}
TENSORS = (SAVE, LOAD, ONE)
TABLES = (PANDAS, ARROW)


class Contender(NamedTuple):
    """One row. `module` and `variant` name what runs; `terms` is what it does for durability and verification."""

    label: str
    environment: str
    module: str
    variant: str
    works: tuple[str, ...]
    terms: str
    encrypts: bool = True


CONTENDERS = (
    Contender("cp", "coreutils", "copies", "cp", (SEAL, OPEN), "not synced; nothing verified", encrypts=False),
    Contender("cp, then sync of the copy", "coreutils", "copies", "synced", (SEAL, OPEN), "synced; nothing verified", encrypts=False),
    Contender(
        "copy loop in Python",
        "coreutils",
        "copies",
        "loop",
        (SEAL, OPEN),
        "not synced; 1 MiB reads and writes, no cryptography",
        encrypts=False,
    ),
    Contender(
        "hermetic, pipeline",
        "hermetic",
        "hermetic_pipeline",
        "blake3",
        (SEAL, OPEN, LOAD, ONE),
        "not synced; BLAKE3 of each MiB of ciphertext and of the content; record given",
    ),
    Contender(
        "hermetic, pipeline, SHA-256",
        "hermetic",
        "hermetic_pipeline",
        "sha256",
        (SEAL, OPEN, LOAD, ONE),
        "not synced; SHA-256 of each MiB of ciphertext and of the content; record given",
    ),
    Contender(
        "hermetic, API",
        "hermetic",
        "hermetic_api",
        "",
        (SEAL, OPEN, SAVE, LOAD, ONE, PANDAS, ARROW),
        "seal and save synced and backed up, open not; release on record, signature and digests verified",
    ),
    Contender(
        "hermetic, command",
        "hermetic",
        "hermetic_command",
        "",
        (SEAL, OPEN),
        "whole process; seal synced and backed up, expose not; release on record, signature and digests verified",
    ),
    Contender("age", "age", "age", "", (SEAL, OPEN), "not synced; tag of each 64 KiB, no signature"),
    Contender("pyrage", "pyrage", "pyrage_files", "", (SEAL, OPEN), "not synced; tag of each 64 KiB, no signature"),
    Contender("tink, 1 MiB segments", "tink", "tink_streams", "1MB", (SEAL, OPEN), "not synced; tag of each segment, no signature"),
    Contender("tink, 4 KiB segments", "tink", "tink_streams", "4KB", (SEAL, OPEN), "not synced; tag of each segment, no signature"),
    Contender(
        "AWS Encryption SDK, default",
        "aws-encryption-sdk",
        "aws_sdk",
        "default",
        (SEAL, OPEN),
        "not synced; 4 KiB frames, key commitment, ECDSA P-384",
    ),
    Contender(
        "AWS Encryption SDK, 1 MiB frames",
        "aws-encryption-sdk",
        "aws_sdk",
        "frames",
        (SEAL, OPEN),
        "not synced; key commitment, no signature",
    ),
    Contender("openssl enc", "openssl", "openssl", "", (SEAL, OPEN), "not synced; AES-256-CTR, nothing verified"),
    Contender(
        "safetensors", "plain", "safetensors_plain", "mmap", (SAVE, LOAD, ONE), "plain, mapped; nothing verified", encrypts=False
    ),
    Contender(
        "safetensors, mmap and clone",
        "plain",
        "safetensors_plain",
        "clone",
        (LOAD, ONE),
        "plain, copied out of the map; nothing verified",
        encrypts=False,
    ),
    Contender(
        "safetensors, pread",
        "plain",
        "safetensors_plain",
        "pread",
        (LOAD, ONE),
        "plain, backend=pread; nothing verified",
        encrypts=False,
    ),
    Contender("safetensors, load(f.read())", "plain", "safetensors_plain", "read", (LOAD,), "plain; nothing verified", encrypts=False),
    Contender(
        "cryptotensors",
        "cryptotensors",
        "crypto_tensors",
        "",
        TENSORS,
        "not synced; tags, Ed25519 over the header; names and shapes in clear",
    ),
    Contender(
        "tensorizer, encrypted",
        "tensorizer",
        "tensorizer_files",
        "encrypted",
        TENSORS,
        "not synced; tags, no order or truncation; names and shapes in clear",
    ),
    Contender("tensorizer, plain", "tensorizer", "tensorizer_files", "plain", TENSORS, "plain; nothing verified", encrypts=False),
    Contender("plain file", "plain", "parquet_plain", "", TABLES, "plain; nothing verified", encrypts=False),
    Contender(
        "Parquet's own encryption", "plain", "parquet_plain", "modular", (ARROW,), "tags of pages and footer, one key for all columns"
    ),
)
