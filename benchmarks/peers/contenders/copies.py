"""Baselines: cp, cp followed by sync, and the reads and writes of a copy in Python without cryptography."""

import subprocess

MIB = 1024 * 1024


def seal(folder, variant):
    return lambda: _copy(folder / "weights.safetensors", folder / "sealed", variant)


def open(folder, variant):  # noqa: A001 - the works are called what they are called
    return lambda: _copy(folder / "sealed", folder / "back", variant)


def _copy(source, target, variant):
    if variant == "loop":
        _loop(source, target)
        return
    subprocess.run(["cp", source, target], check=True)
    if variant == "synced":
        subprocess.run(["sync", target], check=True)


def _loop(source, target):
    buffer = memoryview(bytearray(MIB))
    with source.open("rb", buffering=0) as reads, target.open("xb", buffering=0) as writes:
        while count := reads.readinto(buffer):
            writes.write(buffer[:count])
