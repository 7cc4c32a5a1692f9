"""Reading through a mount beside plain files and gocryptfs, in one run: one large file in order, and many small ones.

    python benchmarks/mount.py [--mib 1024] [--files 10000] [--rounds 7] [--folder DIR]

Each contender reads the same content, in turns; every round mounts anew, so that the kernel keeps nothing of the files, while what
lies on the disk (plain, sealed, or gocryptfs's) is in the page cache. Medians, and the ratio to plain. What each side checks: Hermetic
a digest under a signature and an AES-GCM tag for each mebibyte, and that every opening comes from the run; gocryptfs an AES-GCM tag
for each 4 KiB; plain nothing. Starting and unlocking are not counted: the clock runs inside, around the reading.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERMETIC = Path(sys.executable).with_name("hermetic")
FOLDERS = 2  # a version holds 8,000 files
WORKS = {
    "cat of the large file": "large",
    "the same again, kept by the kernel": "again",
    "list the small files": "list",
    "read the small files": "read",
}


def main() -> None:
    """Run and print the table."""
    options = _options()
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="hermetic-bench-") as name:
        root = Path(name)
        _make(root, options)
        contenders = {"plain": lambda: _plain(root)}
        for label, prepare, read in (("hermetic", _prepare_hermetic, _hermetic), ("gocryptfs", _prepare_gocryptfs, _gocryptfs)):
            reason = prepare(root)
            if reason is None:
                contenders[label] = lambda read=read: read(root)
            else:
                print(f"{label} is not measured: {reason}")
        taken: dict[tuple[str, str], list[float]] = {}
        for _ in range(options.rounds):
            for label, measure in contenders.items():
                for work, seconds in measure().items():
                    taken.setdefault((work, label), []).append(seconds)
        _print(taken, list(contenders), options)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--read", type=Path)
    options = parser.parse_args()
    if options.read:
        print(json.dumps(_read(options.read)))
        raise SystemExit(0)
    return options


def _read(folder: Path) -> dict[str, float]:
    """Read everything below a folder; runs where the contender shows it."""
    seconds = {}
    for work in ("large", "again"):
        begun = time.perf_counter()
        subprocess.run(["cat", folder / "large" / "data.bin"], stdout=subprocess.DEVNULL, check=True)
        seconds[work] = time.perf_counter() - begun
    begun = time.perf_counter()
    small = [entry.path for number in range(FOLDERS) for entry in os.scandir(folder / f"small{number}") if entry.stat().st_size]
    seconds["list"] = time.perf_counter() - begun
    begun = time.perf_counter()
    for path in small:
        with open(path, "rb") as file:  # noqa: PTH123 - what is measured is the opening
            file.read()
    seconds["read"] = time.perf_counter() - begun
    return seconds


def _make(root: Path, options: argparse.Namespace) -> None:
    plain, block = root / "plain", os.urandom(1 << 20)
    for name in ("large", *(f"small{number}" for number in range(FOLDERS))):
        (plain / name).mkdir(parents=True)
    with (plain / "large" / "data.bin").open("wb") as file:
        for number in range(options.mib):
            file.write(number.to_bytes(8, "big") + block[8:])
    for number in range(options.files):
        content = number.to_bytes(8, "big") + block[8 : 3000 + number % 3000]
        (plain / f"small{number % FOLDERS}" / f"{number:06}.bin").write_bytes(content)


def _warm(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb", buffering=0) as file:
                while file.read(1 << 20):
                    pass


def _child(folder: Path | str) -> list[str]:
    return [sys.executable, __file__, "--read", str(folder)]


def _plain(root: Path) -> dict[str, float]:
    _warm(root / "plain")
    return json.loads(subprocess.run(_child(root / "plain"), check=True, capture_output=True, text=True).stdout)


def _prepare_hermetic(root: Path) -> str | None:
    os.environ["HERMETIC_HOME"] = str(root / "home")
    (root / "project").mkdir()
    _call(root, "init", "--root", "local:insecure-file")
    for folder in sorted((root / "plain").iterdir()):
        _call(root, "seal", str(folder), "--as", f"dataset/{folder.name}", "--class", "internal")
    tried = subprocess.run(_run(["true"]), cwd=root / "project", capture_output=True, text=True, check=False)
    return None if tried.returncode == 0 else tried.stderr.strip().replace("\n", "; ")


def _run(command: list[str]) -> list[str]:
    names = ["large", *(f"small{number}" for number in range(FOLDERS))]
    mounts = [word for name in names for word in ("--mount", f"data/{name}=dataset/{name}")]
    return [str(HERMETIC), "run", "read", "--purpose", "evaluate", *mounts, "--", *command]


def _call(root: Path, *words: str) -> None:
    subprocess.run([HERMETIC, *words], cwd=root / "project", check=True, capture_output=True)


def _hermetic(root: Path) -> dict[str, float]:
    _warm(root / "project" / "sealed")
    command = _run(_child("data"))
    return json.loads(subprocess.run(command, cwd=root / "project", check=True, capture_output=True, text=True).stdout)


def _prepare_gocryptfs(root: Path) -> str | None:
    if shutil.which("gocryptfs") is None or shutil.which("fusermount3") is None:
        return "it is not installed (apt install gocryptfs fuse3)"
    for name in ("cipher", "clear"):
        (root / name).mkdir()
    (root / "password").write_text("benchmark\n")
    tried = subprocess.run(
        ["gocryptfs", "-q", "-init", "-passfile", root / "password", root / "cipher"], capture_output=True, text=True, check=False
    )
    if tried.returncode:
        return tried.stderr.strip()
    try:
        _mount_gocryptfs(root)
    except subprocess.CalledProcessError as error:
        return f"it does not mount here (exit code {error.returncode})"
    try:
        shutil.copytree(root / "plain", root / "clear", dirs_exist_ok=True)
    finally:
        _unmount(root)
    return None


def _mount_gocryptfs(root: Path) -> None:
    command = ["gocryptfs", "-q", "-nosyslog", "-passfile", root / "password", root / "cipher", root / "clear"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _unmount(root: Path) -> None:
    subprocess.run(["fusermount3", "-u", root / "clear"], check=True)


def _gocryptfs(root: Path) -> dict[str, float]:
    _warm(root / "cipher")
    _mount_gocryptfs(root)
    try:
        return json.loads(subprocess.run(_child(root / "clear"), check=True, capture_output=True, text=True).stdout)
    finally:
        _unmount(root)


def _print(taken: dict[tuple[str, str], list[float]], labels: list[str], options: argparse.Namespace) -> None:
    print(f"{options.mib} MiB in one file, {options.files:,} files of 3 to 6 KB; median of {options.rounds} in turns, in seconds")
    print(f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}, Linux {os.uname().release}")
    print(f"\n{'':<36}" + "".join(f"{label:>12}" for label in labels) + "".join(f"{label:>18}" for label in labels[1:]))
    for title, work in WORKS.items():
        medians = [statistics.median(taken[work, label]) for label in labels]
        ratios = "".join(f"{median / medians[0]:>11.1f} x plain" for median in medians[1:])
        print(f"{title:<36}" + "".join(f"{median:>12.3f}" for median in medians) + ratios)


if __name__ == "__main__":
    main()
