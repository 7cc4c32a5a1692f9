"""What a run says about itself: the command, the code's version, the packages. Kept encrypted in the catalogue.

The host's name and the environment's variables are left out: they tell about people and secrets, not about the result.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from hermetic.formats.messages.base import Pair

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

PACKAGES = ("numpy", "pandas", "pyarrow", "scikit-learn", "torch", "safetensors", "transformers", "xgboost", "lightgbm", "polars")
COMMAND_LIMIT = 4096  # characters
SCRIPT_LIMIT = 64 * 1024 * 1024  # bytes; anything larger is a program, not a script
GIT_SECONDS = 10
_SUFFIXES = frozenset({".py", ".sh", ".R", ".jl", ".ipynb"})
_GIT = ("-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null")  # asking must not start what a repository configures


def gather(argv: Sequence[str], folder: Path, *, parameters: Mapping[str, str] | None = None) -> tuple[Pair, ...]:
    """Return the facts of running `argv` in `folder`, in order of name; `parameters` come in as `parameter.NAME`."""
    facts = {"command": shlex.join(argv)[:COMMAND_LIMIT]}
    facts |= dict(_code(argv, folder))
    if _is_this_python(argv):
        facts["python"] = platform.python_version()
        facts |= {f"package.{name}": version for name, version in _packages()}
    facts |= {f"parameter.{name}": str(value) for name, value in (parameters or {}).items()}
    return tuple(Pair(name, value) for name, value in sorted(facts.items()))


def _code(argv: Sequence[str], folder: Path) -> Iterator[tuple[str, str]]:
    commit = _git(folder, "rev-parse", "--verify", "HEAD")
    if commit:
        changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
        dirty = "unknown" if changed is None else "yes" if changed else "no"
        yield "code.commit", commit
        yield "code.dirty", dirty
        yield "code_version", f"git:{commit[:12]}" + ("" if dirty == "no" else "+changes")
    for script in (Path(folder, word) for word in argv[:8]):
        digest = _script_digest(script)
        if digest is not None:
            yield f"code.sha256.{script.name}"[:200], digest
            if not commit:
                yield "code_version", f"sha256:{digest[:12]}"
            return


def _script_digest(path: Path) -> str | None:
    """Return the SHA-256 of a script, told by its suffix or a `#!`; None for anything else."""
    try:
        if not path.is_file() or path.stat().st_size > SCRIPT_LIMIT:
            return None
        content = path.read_bytes()
    except OSError:
        return None
    return hashlib.sha256(content).hexdigest() if path.suffix in _SUFFIXES or content.startswith(b"#!") else None


def _git(folder: Path, *words: str) -> str | None:
    program = shutil.which("git")
    if program is None:
        return None
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
    try:
        done = subprocess.run(  # noqa: S603 - fixed words, program from PATH, no shell
            [program, *_GIT, *words],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=GIT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _is_this_python(argv: Sequence[str]) -> bool:
    program = shutil.which(argv[0]) if argv else None
    return program is not None and Path(program).resolve() == Path(sys.executable).resolve()


def _packages() -> Iterator[tuple[str, str]]:
    for name in ("hermetic", *PACKAGES):
        try:
            yield name, importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
