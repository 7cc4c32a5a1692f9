"""An environment for each rival: a virtual environment under build/peers, or a Debian package. What cannot be had is said."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PLACE = ROOT / "build" / "peers"
STAMP = ".installed"
TORCH = "torch==2.13.0"
NUMPY = "numpy>=2"


class Environment(NamedTuple):
    """What is installed: requirements for pip, Debian packages, programs that must be there afterwards."""

    pip: tuple[str, ...] = ()
    apt: tuple[str, ...] = ()
    programs: tuple[str, ...] = ()


ENVIRONMENTS = {
    "plain": Environment(("safetensors==0.8.0", TORCH, NUMPY, "pandas>=2.2", "pyarrow>=25", "packaging")),
    "hermetic": Environment(("-e", f"{ROOT}[parquet,torch]", TORCH, NUMPY, "packaging")),
    "cryptotensors": Environment(("cryptotensors==0.2.3", TORCH, NUMPY, "packaging")),
    "tensorizer": Environment(("tensorizer==2.12.1", TORCH, NUMPY), apt=("libsodium23",)),
    "pyrage": Environment(("pyrage==1.4.0",)),
    "tink": Environment(("tink==1.16.1",)),
    "aws-encryption-sdk": Environment(("aws-encryption-sdk[MPL]==4.0.7",)),
    "age": Environment(apt=("age",), programs=("age", "age-keygen")),
    "openssl": Environment(apt=("openssl",), programs=("openssl",)),
    "coreutils": Environment(programs=("cp", "sync")),
}


class Missing(Exception):
    """An environment could not be made; the text says why, on one line."""


def ensure(name: str, *, index: str | None = None) -> Path:
    """Make the environment `name`, or bring it up to date; return its Python. Raises Missing.

    `index` is one more package index, for torch without CUDA.
    """
    wanted = ENVIRONMENTS[name]
    for package in wanted.apt:
        _ensure_package(package, wanted.programs)
    if absent := [program for program in wanted.programs if shutil.which(program) is None]:
        raise Missing(f"there is no {absent[0]} on this machine")
    return _ensure_venv(name, wanted.pip, index) if wanted.pip else Path(sys.executable)


def _ensure_venv(name: str, requirements: tuple[str, ...], index: str | None) -> Path:
    folder = PLACE / name
    python, stamp = folder / "bin" / "python", folder / STAMP
    project = (ROOT / "pyproject.toml").read_text() if "-e" in requirements else ""
    digest = hashlib.sha256("\n".join([*requirements, sys.version, project]).encode()).hexdigest()
    if stamp.exists() and stamp.read_text() == digest:
        return python
    folder.parent.mkdir(parents=True, exist_ok=True)
    print(f"installing {' '.join(requirements)} into {folder.relative_to(ROOT)}", file=sys.stderr)
    extra = ("--extra-index-url", index) if index else ()
    if not python.exists():
        _run(sys.executable, "-m", "venv", str(folder))
    _run(str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *extra, *requirements)
    stamp.write_text(digest)
    return python


def _ensure_package(package: str, programs: tuple[str, ...]) -> None:
    if programs and all(shutil.which(program) for program in programs):
        return
    if shutil.which("dpkg-query") is None:
        raise Missing(f"install what Debian calls {package}")
    listed = subprocess.run(["dpkg-query", "-W", "-f=${Status}", package], capture_output=True, text=True, check=False)
    if listed.stdout.endswith("ok installed"):
        return
    if os.geteuid() != 0:
        raise Missing(f"run: sudo apt-get install {package}")
    install = ("apt-get", "install", "-y", "--no-install-recommends", package)
    try:
        _run(*install)
    except Missing:
        _run("apt-get", "update")
        _run(*install)


def _run(*command: str) -> None:
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        said = [line for line in (done.stderr or done.stdout).splitlines() if line.strip() and not line.startswith("WARNING")]
        raise Missing(f"{Path(command[0]).name} {command[1]} failed: {said[-1].strip() if said else done.returncode}")
