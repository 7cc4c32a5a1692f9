"""The shipped commands beside `cp`: seal and expose one large file, peak memory, in one run.

    python benchmarks/commands.py [--mib 1024] [--rounds 3] [--folder DIR]

`seal` (data key, record, digests, manifest, syncs of object and folder, backup copy) stands beside `cp` followed by sync of the copy;
`expose` (release on record, every digest checked) beside `cp`, neither of which waits for the disk. Whole processes, then the calls
alone in a process that is connected already; page cache warm, outputs removed, the disk synced and left alone for PAUSE_S before
each. Virtual disks and page caches slow down after some GiB in a row, so that a baseline runs right before what is compared with it.
Memory is the peak over that of the same process after imports and connecting.
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

PAUSE_S = 2
BASELINES = {"seal": "cp, then sync of the copy", "expose": "cp"}
HERMETIC = Path(sys.executable).with_name("hermetic")


def main() -> None:
    """Run and print the table."""
    options = _options()
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="hermetic-bench-") as name:
        root = Path(name)
        os.environ["HERMETIC_HOME"] = str(root / "home")
        project = root / "project"
        project.mkdir()
        _hermetic(project, "init", "--root", "local:insecure-file", "--backup", str(root / "backup"))
        source = root / "big.bin"
        _random_file(source, options.mib)
        times: dict[str, list[float]] = {}
        memory: dict[str, str] = {}
        for _ in range(options.rounds):
            for label, run in _contenders(project, source, root).items():
                times.setdefault(label, []).append(_timed(run, root))
            for label in ("seal", "expose"):
                synced = _contenders(project, source, root)[BASELINES[label]]
                times.setdefault(f"{BASELINES[label]}, again", []).append(_timed(synced, root))
                (root / "copy.bin").unlink()
                os.sync()
                time.sleep(PAUSE_S)
                measured = json.loads(_child(project, source, root, label))
                times.setdefault(f"h.{label}", []).append(measured["seconds"])
                memory[label] = f"{measured['grown_mib']:.1f} MiB over the process after imports ({measured['base_mib']:.1f} MiB)"
        _print(times, options)
        for label, line in memory.items():
            print(f"peak memory of {label}: {line}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--child", nargs=3)
    options = parser.parse_args()
    if options.child:
        _measure(*options.child)
        raise SystemExit(0)
    return options


def _random_file(path: Path, mib: int) -> None:
    block = os.urandom(1 << 20)
    with path.open("wb") as file:
        for number in range(mib):
            file.write(number.to_bytes(8, "big") + block[8:])


def _contenders(project: Path, source: Path, root: Path):
    copy, out = root / "copy.bin", root / "exposed.bin"
    seal = ("seal", str(source), "--as", "dataset/big", "--class", "internal")
    expose = ("expose", "dataset/big", str(out), "--for", "1h", "--purpose", "prepare")

    def cp_sync() -> None:
        subprocess.run(["cp", source, copy], check=True)
        subprocess.run(["sync", copy], check=True)

    def exposing() -> None:
        _hermetic(project, *expose)

    return {
        "cp, then sync of the copy": cp_sync,
        "hermetic seal": lambda: _hermetic(project, *seal),
        "cp": lambda: subprocess.run(["cp", source, copy], check=True),
        "hermetic expose": exposing,
    }


def _timed(run, root: Path) -> float:
    for name in ("copy.bin", "exposed.bin"):
        if (root / name).exists() and name == "exposed.bin":
            _hermetic(root / "project", "expose", "--end", str(root / name))
        (root / name).unlink(missing_ok=True)
    os.sync()
    time.sleep(PAUSE_S)
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def _hermetic(project: Path, *arguments: str) -> None:
    subprocess.run([HERMETIC, *arguments], cwd=project, check=True, capture_output=True)


def _child(project: Path, source: Path, root: Path, what: str) -> str:
    command = [sys.executable, __file__, "--child", what, str(source), str(root / f"memory-{what}.bin")]
    return subprocess.run(command, cwd=project, check=True, capture_output=True, text=True).stdout


def _measure(what: str, source: str, target: str) -> None:
    import hermetic  # noqa: PLC0415 - only the child needs it

    with hermetic.connect() as h:
        h.seal(b"warm", name="dataset/warm", data_class="internal", member="warm")
        with h.open("dataset/warm", purpose="prepare") as file:
            file.read()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        start = time.perf_counter()
        if what == "seal":
            h.seal(source, name="dataset/big", data_class="internal")
        else:
            h.expose("dataset/big", target, seconds=60, purpose="prepare")
        seconds = time.perf_counter() - start
        if what == "expose":
            h.end_exposure(target)
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({"seconds": seconds, "base_mib": before / 1024, "grown_mib": (after - before) / 1024}))


def _print(times: dict[str, list[float]], options: argparse.Namespace) -> None:
    medians = {label: statistics.median(values) for label, values in times.items()}
    against = {f"hermetic {label}": baseline for label, baseline in BASELINES.items()}
    against |= {f"h.{label}": f"{baseline}, again" for label, baseline in BASELINES.items()}
    free = shutil.disk_usage(options.folder).free >> 30
    print(f"{options.mib} MiB, {options.rounds} rounds, median (min) seconds; {free} GiB free")
    for label, value in medians.items():
        other = against.get(label)
        ratio = (
            f"{value / medians[other]:.2f} x {other} (of the fastest: {min(times[label]) / min(times[other]):.2f})" if other else ""
        )
        print(f"  {label:28} {value:7.3f} ({min(times[label]):.3f})  {ratio}")


if __name__ == "__main__":
    main()
