"""Seal and expose one large file, against `cp` in the same run: prints a table of ratios.

    python benchmarks/sealed_object.py [--mib 1024] [--rounds 5] [--folder DIR]

Every round runs each contender once, in its own process, page cache warm, outputs removed and the disk synced before. "synced" rows
include fsync of the output on both sides; the others leave it to the kernel on both sides. Medians; "again" is the cost of the same
copy loop in Python without cryptography.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MIB = 1024 * 1024
IDS = ["a" * 26] * 5


def _header(suite: str):
    from hermetic.formats.object_header import ObjectHeader

    return ObjectHeader(*IDS, index=0, suite_name=suite)


def _key():
    from hermetic.crypto.secret import Secret

    return Secret(bytes(32))


def seal(folder: Path, suite: str, *, sync: bool, content: str | None = None):
    from hermetic.formats.object_metadata import ObjectMetadata
    from hermetic.sealed.files import seal_file

    start = time.perf_counter()
    with (folder / "plain").open("rb") as source, (folder / "out").open("xb+") as out:
        seal_file(
            source.fileno(), out.fileno(), _header(suite), _key(), metadata=ObjectMetadata(), content_algorithm=content
        )
        if sync:
            os.fsync(out.fileno())
    return time.perf_counter() - start


def _open(folder: Path):
    from hermetic.formats.manifest import ManifestObject
    from hermetic.sealed.reader import ObjectReader
    from hermetic.stores.local import LocalStore

    record = json.loads((folder / "record.json").read_text())
    record["root"] = bytes.fromhex(record["root"])
    store = LocalStore(folder)
    start = time.perf_counter()
    return start, ObjectReader(store.open("sealed"), _key(), ManifestObject(**record))


def expose(folder: Path, *, sync: bool):
    start, reader = _open(folder)
    with reader, (folder / "out").open("xb+") as out:
        reader.expose_to(out.fileno())
        if sync:
            os.fsync(out.fileno())
    return time.perf_counter() - start


def load(folder: Path):
    import numpy

    start, reader = _open(folder)
    with reader:
        reader.readinto_at(0, memoryview(numpy.empty(reader.length, dtype="u1")))
    return time.perf_counter() - start


def load_one(folder: Path):
    start, reader = _open(folder)
    with reader:
        reader.readinto_at(100 * MIB + 123, bytearray(16 * MIB))
    return time.perf_counter() - start


def copy(folder: Path, *, sync: bool):
    start = time.perf_counter()
    subprocess.run(["cp", folder / "plain", folder / "out"], check=True)
    if sync:
        with (folder / "out").open("rb") as out:
            os.fsync(out.fileno())
    return time.perf_counter() - start


def copy_loop(folder: Path):
    start = time.perf_counter()
    buffer = memoryview(bytearray(MIB))
    with (folder / "plain").open("rb", buffering=0) as source, (folder / "out").open("xb", buffering=0) as out:
        while count := source.readinto(buffer):
            out.write(buffer[:count])
    return time.perf_counter() - start


BLAKE3, SHA256 = "FLOE-AES256-GCM-1M-BLAKE3", "FLOE-AES256-GCM-1M-SHA256"
CONTENDERS = {
    "cp": lambda folder: copy(folder, sync=False),
    "cp, synced": lambda folder: copy(folder, sync=True),
    "copy loop in Python": copy_loop,
    "seal": lambda folder: seal(folder, BLAKE3, sync=False),
    "seal, content digest": lambda folder: seal(folder, BLAKE3, sync=False, content="blake3"),
    "seal, SHA-256": lambda folder: seal(folder, SHA256, sync=False),
    "seal, 64K segments": lambda folder: seal(folder, "FLOE-AES256-GCM-64K-BLAKE3", sync=False),
    "seal, synced": lambda folder: seal(folder, BLAKE3, sync=True),
    "expose": lambda folder: expose(folder, sync=False),
    "expose, synced": lambda folder: expose(folder, sync=True),
    "load into memory": load,
    "one range of 16 MiB": load_one,
}
AGAINST = {"seal, synced": "cp, synced", "expose, synced": "cp, synced"}


def child(name: str, folder: Path) -> None:
    import hermetic.sealed.files
    import hermetic.sealed.reader
    import hermetic.stores.local  # noqa: F401 - imports are not timed

    spare = bytearray(1536 * MIB)  # machines that give freed memory back to their host are slow at first touch
    spare[::4096] = b"\x01" * len(spare[::4096])
    del spare
    seconds = CONTENDERS[name](folder)
    print(json.dumps([seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024]))


def prepare(folder: Path, mib: int) -> None:
    from hermetic.formats.object_metadata import ObjectMetadata
    from hermetic.sealed.files import seal_file

    with (folder / "plain").open("xb") as out:
        for _ in range(mib):
            out.write(os.urandom(MIB))
    with (folder / "plain").open("rb") as source, (folder / "sealed").open("xb+") as out:
        sealed = seal_file(source.fileno(), out.fileno(), _header(BLAKE3), _key(), metadata=ObjectMetadata())
    record = {name: getattr(sealed.record, name) for name in sealed.record.__slots__}
    record["root"] = record["root"].hex()
    (folder / "record.json").write_text(json.dumps(record))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=None)
    parser.add_argument("--only", default="")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments.child[0], Path(arguments.child[1]))
        return
    folder = Path(tempfile.mkdtemp(prefix="hermetic-bench-", dir=arguments.folder))
    names = [name for name in CONTENDERS if name.startswith(("cp", *filter(None, arguments.only.split(",")))) or not arguments.only]
    try:
        prepare(folder, arguments.mib)
        figures: dict[str, list[float]] = {name: [] for name in names}
        for _ in range(arguments.rounds):
            for name in names:
                (folder / "out").unlink(missing_ok=True)
                os.sync()
                command = [sys.executable, __file__, "--child", name, str(folder)]
                seconds, _peak = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
                figures[name].append(seconds)
    finally:
        shutil.rmtree(folder)
    print(f"{arguments.mib} MiB, {arguments.rounds} rounds, {os.cpu_count()} processors; seconds, and ratio of medians")
    for name, values in figures.items():
        base = AGAINST.get(name, "cp")
        ratio = statistics.median(values) / statistics.median(figures[base])
        print(f"{name:<24} min {min(values):7.3f}  median {statistics.median(values):7.3f}  {ratio:5.2f} x {base}")


if __name__ == "__main__":
    main()
