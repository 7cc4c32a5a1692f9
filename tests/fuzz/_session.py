"""One fuzzing session: each target in a process of its own, with a corpus that lasts, limits on time and memory, and a report."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
CORPUS = ROOT / "build" / "fuzz"
UNIT_SECONDS = 10  # one input that takes longer is a hang
MEMORY_MIB = 1024
INPUT_LIMIT = 16_384  # bytes; the bombs of attacks/ are larger


@dataclass(frozen=True)
class Result:
    """What came of one target; `failure` is the end of its output when an input broke it."""

    name: str
    executions: int
    corpus: int
    peak_mib: int
    failure: str


def run(name: str, *, seconds: int, seed: int, folder: Path | None = None, runs: int = -1) -> Result:
    """Fuzz one target for a while from its seeds and what was found before in `folder` (default: build/fuzz)."""
    folder = (folder or CORPUS) / name
    folder.mkdir(parents=True, exist_ok=True)
    options = [
        f"-max_total_time={seconds}",
        f"-runs={runs}",
        f"-seed={seed}",
        f"-timeout={UNIT_SECONDS}",
        f"-rss_limit_mb={MEMORY_MIB}",
        f"-max_len={INPUT_LIMIT}",
        f"-artifact_prefix={folder}/crash-",
        "-print_final_stats=1",
        *_dictionary(name, folder.with_suffix(".dict")),
    ]
    write_seeds(name, folder)
    command = [sys.executable, str(HERE / "_run.py"), name, *options, str(folder)]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("HERMETIC_")} | {"PYTHONHASHSEED": "0"}
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False, env=environment, cwd=ROOT)
    told = "\n".join(line for line in done.stderr.splitlines() if not line.startswith(("INFO: Instr", "WARNING: ", "0x")))
    return _result(name, done.returncode, done.stdout[-4000:] + told)


def write_seeds(name: str, folder: Path) -> None:
    """Put the target's good inputs into its corpus."""
    from tests.fuzz._targets import find

    for data in find(name).start():
        (folder / f"seed-{hashlib.sha256(data).hexdigest()[:16]}").write_bytes(data)


def _dictionary(name: str, path: Path) -> list[str]:
    from tests.fuzz._targets import find

    words = find(name).words
    path.write_text("".join('"' + "".join(f"\\x{byte:02x}" for byte in word) + '"\n' for word in words))
    return [f"-dict={path}"] if words else []


def _result(name: str, code: int, output: str) -> Result:
    stats = dict(re.findall(r"^stat::(\w+):\s+(\d+)", output, re.MULTILINE))
    corpus = re.findall(r"corp: (\d+)/", output)
    return Result(
        name=name,
        executions=int(stats.get("number_of_executed_units", 0)),
        corpus=int(corpus[-1]) if corpus else 0,
        peak_mib=int(stats.get("peak_rss_mb", 0)),
        failure=output[-8000:] if code else "",
    )


def table(results: Iterable[Result]) -> list[str]:
    """Return the results as lines."""
    lines = [f"{'target':<22}{'executions':>12}{'corpus':>8}{'peak MiB':>10}"]
    found = list(results)
    lines += [
        f"{one.name:<22}{one.executions:>12,}{one.corpus:>8}{one.peak_mib:>10}{'  FAILED' if one.failure else ''}" for one in found
    ]
    lines.append(f"{'all':<22}{sum(one.executions for one in found):>12,}")
    return lines
