"""Seal and expose one large file, against `cp` in the same run: prints a table of ratios.

    python benchmarks/sealed_object.py [--mib 1024] [--rounds 5] [--folder DIR]

Every round runs each contender once, in its own process, page cache warm, outputs removed and the disk synced before. "synced" rows
include fsync of the output on both sides; the others leave it to the kernel on both sides. The copy loop is what the same reads and
writes cost in Python without cryptography.
"""

from __future__ import annotations

import argparse
import json
import mmap
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from hermetic.crypto.secret import Secret
from hermetic.formats.manifest import ManifestObject
from hermetic.formats.object_header import ObjectHeader
from hermetic.formats.object_metadata import ObjectMetadata
from hermetic.sealed.files import seal_file
from hermetic.sealed.reader import ObjectReader
from hermetic.stores.local import LocalStore
from hermetic.stores.output import DescriptorOutput

MIB = 1024 * 1024
IDS = ["a" * 26] * 5


def _header(suite: str):
    return ObjectHeader(*IDS, index=0, suite_name=suite)


def _key():
    return Secret(bytes(32))


def seal(folder: Path, suite: str, *, sync: bool, content: str | None = None):
    start = time.perf_counter()
    with (folder / "plain").open("rb") as source, (folder / "out").open("xb+") as out:
        seal_file(
            source.fileno(),
            DescriptorOutput(out.fileno()),
            _header(suite),
            _key(),
            metadata=ObjectMetadata(),
            content_algorithm=content,
            write_behind=sync,
        )
        if sync:
            os.fsync(out.fileno())
    return time.perf_counter() - start


def _open(folder: Path):
    record = json.loads((folder / "record.json").read_text())
    record["root"] = bytes.fromhex(record["root"])
    store = LocalStore(folder)
    start = time.perf_counter()
    return start, ObjectReader(store.open("sealed"), _key(), ManifestObject(**record))


def expose(folder: Path, *, sync: bool):
    start, reader = _open(folder)
    with reader, (folder / "out").open("xb+") as out:
        reader.expose_to(out.fileno(), write_behind=sync)
        if sync:
            os.fsync(out.fileno())
    return time.perf_counter() - start


def load(folder: Path):
    start, reader = _open(folder)
    with reader:
        reader.readinto_at(0, memoryview(np.empty(reader.length, dtype="u1")))
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
    _warm_memory()
    busy, before = _busy_seconds(), _processor_seconds()
    seconds = CONTENDERS[name](folder)
    own = _processor_seconds() - before
    print(json.dumps([seconds, own, (_busy_seconds() - busy - own) / seconds]))


def _busy_seconds() -> float:
    """Processor seconds that anybody on the machine has used, without waiting for disks."""
    fields = [int(field) for field in Path("/proc/stat").read_text().split("\n")[0].split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / os.sysconf("SC_CLK_TCK")


def _warm_memory() -> None:
    """Touch and free memory: virtual machines that give it back to their host are slow when it is used again."""
    size = 3 << 30
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    for offset in range(0, size, 4096):
        memory[offset] = 1
    memory.close()


def _processor_seconds() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def prepare(folder: Path, mib: int) -> None:
    with (folder / "plain").open("xb") as out:
        for _ in range(mib):
            out.write(os.urandom(MIB))
    with (folder / "plain").open("rb") as source, (folder / "sealed").open("xb+") as out:
        sealed = seal_file(source.fileno(), DescriptorOutput(out.fileno()), _header(BLAKE3), _key(), metadata=ObjectMetadata())
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
        figures: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
        for _ in range(arguments.rounds):
            for name in names:
                figures[name].append(_measure(name, folder))
    finally:
        shutil.rmtree(folder)
    report(figures, f"{arguments.mib} MiB, {arguments.rounds} rounds, {os.cpu_count()} processors")


def _measure(name: str, folder: Path) -> tuple[float, float]:
    command = [sys.executable, __file__, "--child", name, str(folder)]
    for _ in range(4):
        (folder / "out").unlink(missing_ok=True)
        os.sync()
        done = subprocess.run(command, check=True, capture_output=True)
        seconds, processor, foreign = json.loads(done.stdout)
        if foreign < 0.15:
            break
    return seconds, processor


def report(figures: dict[str, list[tuple[float, float]]], title: str) -> None:
    print(f"{title}; seconds: least, median, processor (median); then least and median as multiples of cp")
    for name, values in figures.items():
        base = AGAINST.get(name, "cp")
        (least, middle, processor), (cp_least, cp_middle, _) = _summary(values), _summary(figures[base])
        ratios = f"{least / cp_least:5.2f} {middle / cp_middle:5.2f} x {base}"
        print(f"{name:<22} {least:7.3f} {middle:7.3f} {processor:7.3f}  {ratios}")


def _summary(values: list[tuple[float, float]]) -> tuple[float, float, float]:
    wall, processor = [value[0] for value in values], [value[1] for value in values]
    return min(wall), statistics.median(wall), statistics.median(processor)


if __name__ == "__main__":
    main()
