"""Seal and expose one large file, against `cp` in the same run: prints a table of ratios.

    python benchmarks/sealed_object.py [--mib 1024] [--rounds 7] [--folder DIR]

Every round runs each contender once, in its own process, page cache warm, outputs removed and the disk synced before. "synced" rows
include fsync of the output on both sides; the others leave it to the kernel on both sides. The copy loop is what the same reads and
writes cost in Python without cryptography.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

import _objects
from _fresh import fresh
from peers.contenders import copies

from hermetic.bench.measuring import Sample, measure, summary
from hermetic.sealed.memory import private_memory

MIB = 1024 * 1024
PLAIN, SEALED, BACK = "weights.safetensors", "sealed", "back"


def _seal(suite: str, **more: bool):
    return lambda folder: _objects.seal(folder / PLAIN, folder / BACK, suite=_objects.SUITES[suite], **more)


def _load(folder: Path) -> None:
    with _objects.reader(folder / SEALED) as reader:
        reader.readinto_at(0, memoryview(private_memory(reader.length)))


def _load_one(folder: Path) -> None:
    with _objects.reader(folder / SEALED) as reader:
        reader.readinto_at(reader.length // 3, bytearray(16 * MIB))


CONTENDERS = {
    "cp": lambda folder: copies.open(folder, "cp")(),
    "cp, synced": lambda folder: copies.open(folder, "synced")(),
    "copy loop in Python": lambda folder: copies.open(folder, "loop")(),
    "seal": _seal("blake3"),
    "seal, content digest": _seal("blake3", content=True),
    "seal, SHA-256": _seal("sha256"),
    "seal, 64K segments": _seal("blake3, 64K"),
    "seal, synced": _seal("blake3", sync=True),
    "expose": lambda folder: _objects.expose(folder / SEALED, folder / BACK),
    "expose, synced": lambda folder: _objects.expose(folder / SEALED, folder / BACK, sync=True),
    "load into memory": _load,
    "one range of 16 MiB": _load_one,
}
AGAINST = {"seal, synced": "cp, synced", "expose, synced": "cp, synced"}


def prepare(folder: Path, mib: int) -> None:
    with (folder / PLAIN).open("xb") as out:
        for _ in range(mib):
            out.write(os.urandom(MIB))
    _objects.seal(folder / PLAIN, folder / SEALED, suite=_objects.SUITES["blake3"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--folder", type=Path, default=None)
    parser.add_argument("--only", default="")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        name, place, warm = options.child
        print(json.dumps(measure(lambda: CONTENDERS[name](Path(place)), warm=int(warm))))
        return
    folder = Path(tempfile.mkdtemp(prefix="hermetic-bench-", dir=options.folder))
    names = [name for name in CONTENDERS if name.startswith(("cp", *filter(None, options.only.split(",")))) or not options.only]
    try:
        prepare(folder, options.mib)
        figures: dict[str, list[Sample]] = {name: [] for name in names}
        for _ in range(options.rounds):
            for name in names:
                command = [sys.executable, __file__, "--child", name, str(folder), str(3 * options.mib * MIB)]
                figures[name].append(fresh(command, remove=(folder / BACK, folder / f"{BACK}.json")).sample)
    finally:
        shutil.rmtree(folder)
    report(figures, f"{options.mib} MiB, {options.rounds} rounds, {os.cpu_count()} processors")


def report(figures: dict[str, list[Sample]], title: str) -> None:
    print(f"{title}; seconds: least, median, processor (median), peak MiB; then least and median as multiples of cp")
    found = {name: summary(samples) for name, samples in figures.items()}
    for name, one in found.items():
        base = AGAINST.get(name, "cp")
        ratios = f"{one.least / found[base].least:5.2f} {one.median / found[base].median:5.2f} x {base}"
        print(f"{name:<22} {one.least:7.3f} {one.median:7.3f} {one.processor:7.3f} {(one.memory or 0) / MIB:6.0f}  {ratios}")


if __name__ == "__main__":
    main()
