"""Peak memory of reading and writing sealed data, over that of the process after imports: prints a table.

    python benchmarks/memory.py [--mib 64,1024] [--folder DIR]

Each line is a process of its own, connected to a domain in a temporary folder before it starts to count. What must hold: loading takes
the destination and at most 32 MiB; everything that streams takes under 64 MiB, however long the file is. Exits with 1 if it does not.
The count is the kernel's (VmHWM after /proc/self/clear_refs), so that it holds for Linux only.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import hermetic
from hermetic.domain.create import create_domain

MIB = 1024 * 1024
LIMITS = {"load_tensors": 32, "load_tensors, another dtype": 32}  # over the destination; everything else is a stream
STREAM_LIMIT = 64
_PIECE = bytearray(os.urandom(4 * MIB))


def _write(h, mib: int) -> None:
    with h.writer("dataset/a") as file:
        for _ in range(0, mib, 4):
            file.write(_PIECE)


def _read(h) -> None:
    with h.open("dataset/plain", purpose="evaluate") as file:
        while file.read(MIB):
            pass


def _load(h, **options):
    return h.load_tensors("model/weights", framework="numpy", purpose="evaluate", **options)


# What is done with a workspace, a folder with a plain file, the size, and tensors that are in memory already where they are wanted.
OPERATIONS = {
    "seal": lambda h, folder, _mib, _: h.seal(folder / "plain", name="dataset/a"),
    "write": lambda h, _folder, mib, _: _write(h, mib),
    "read": lambda h, _folder, _mib, _: _read(h),
    "expose": lambda h, folder, _mib, _: h.expose("dataset/plain", folder / "out", seconds=600, purpose="evaluate"),
    "load_tensors": lambda h, _folder, _mib, _: _load(h),
    "load_tensors, another dtype": lambda h, _folder, _mib, _: _load(h, dtype="float64"),
    "seal_tensors": lambda h, _folder, _mib, tensors: h.seal_tensors(tensors, name="model/weights"),
}


def measure(root: Path, label: str, mib: int) -> tuple[float, float]:
    """Return (MiB taken over what is needed to hold the result, MiB of the result). Runs in a process of its own."""
    import numpy  # noqa: F401, ICN001, PLC0415 - what is measured begins after imports

    with hermetic.connect(root / "project") as h:
        tensors = _load(h) if label == "seal_tensors" else None
        h.seal(b"warm", name="dataset/warm", data_class="internal")
        with h.open("dataset/warm", purpose="evaluate") as file:
            file.read()
        Path("/proc/self/clear_refs").write_text("5")
        before = _status("VmRSS")
        result = OPERATIONS[label](h, root / "project", mib, tensors)
        peak = _status("VmHWM") - before
    held = sum(tensor.nbytes for tensor in result.values()) / MIB if isinstance(result, dict) else 0
    return peak - held, held


def _status(name: str) -> float:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) / 1024


def prepare(root: Path, mib: int) -> None:
    """Make a domain that holds a file and weights of that size."""
    import numpy as np  # noqa: PLC0415 - the measured process may not need it

    project = root / "project"
    project.mkdir()
    create_domain(project, provider_uri="local:insecure-file", project_name="memory")
    with (project / "plain").open("wb") as file:
        for _ in range(0, mib, 4):
            file.write(_PIECE)
    tensors = {f"layer{number}": np.ones((MIB, 4), "float32") for number in range(mib // 16)}
    with hermetic.connect(project) as h:
        h.seal(project / "plain", name="dataset/plain", data_class="internal")
        h.seal_tensors(tensors, name="model/weights", data_class="internal")
        h.seal(b"first", name="dataset/a", data_class="internal")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mib", default="64,1024")
    parser.add_argument("--folder")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        root, label, mib = options.child
        print(json.dumps(measure(Path(root), label, int(mib))))
        return
    sys.exit(1 if table([int(size) for size in options.mib.split(",")], options.folder) else 0)


def table(sizes: list[int], folder: str | None) -> list[str]:
    """Measure and print; return what took too much."""
    print(f"{'MiB over the process after imports, beside the result':54}" + "".join(f"{size:>8} MiB" for size in sizes) + "   limit")
    found: dict[str, list[float]] = {}
    for size in sizes:
        with tempfile.TemporaryDirectory(dir=folder, prefix="hermetic-bench-") as name:
            os.environ["HERMETIC_HOME"] = str(Path(name, "home"))
            prepare(Path(name), size)
            for label in OPERATIONS:
                command = [sys.executable, __file__, "--child", name, label, str(size)]
                over, _ = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
                found.setdefault(label, []).append(over)
    for label, measured in found.items():
        limit = LIMITS.get(label, STREAM_LIMIT)
        print(f"{label:54}" + "".join(f"{value:>12.1f}" for value in measured) + f"{limit:>8}")
    return [label for label, measured in found.items() if max(measured) > LIMITS.get(label, STREAM_LIMIT)]


if __name__ == "__main__":
    main()
