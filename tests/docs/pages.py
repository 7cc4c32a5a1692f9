"""Pages of documentation as things to run: their fenced blocks, in order, in one folder.

    ```console    `$ ` begins a command; the lines below are what it shows. A comment `# exit code 3` says how it ends, else 0.
                  Shown lines must come in this order in what the command really writes (stdout and stderr together); `…` is
                  anything. Ids, digests, times, sizes and column widths need not agree.
    ```python     a script: written to NAME.py if the first line is `# NAME.py`, else run
    ```yaml       sections of hermetic.yaml: each top-level key replaces the one there; `expires:` is moved to next month
    ```sh         installation; not run, and only of the kinds that `INSTALLATION` knows

Everything of a page runs in one bash, so that `cd`, variables and exports last.
"""

from __future__ import annotations

import datetime as dt
import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
EXIT_CODE = re.compile(r"\s+#\s*exit code (\d+)\b.*$")
INSTALLATION = re.compile(r"^(make|pip install|git clone|cd) ")
MARK = "<<<ended with"
SECONDS = 900

# What differs from run to run, and from machine to machine.
VARIABLE = (
    (re.compile(r"\b\d{4}-\d\d-\d\d( \d\d:\d\d(:\d\dZ)?)?"), "TIME"),
    (re.compile(r"\b(git|sha256):[0-9a-f]{12}\b"), "CODE"),
    (re.compile(r"\b[0-9a-f]{64}\b"), "DIGEST"),
    (re.compile(r"\b[a-z2-7]{26}\b"), "ID"),
    (re.compile(r"\b\d[\d.,]* ([KMG]iB|B|bytes)\b"), "SIZE"),
    (re.compile(r"[ \t]+"), " "),
)


@dataclass(frozen=True)
class Block:
    """A fenced block; `line` is where it begins in the page."""

    language: str
    text: str
    line: int


@dataclass(frozen=True)
class Step:
    """One thing to do in bash, how it ends, and the lines that it must show."""

    command: str
    line: int
    code: int = 0
    shown: tuple[str, ...] = ()


def blocks(page: Path) -> list[Block]:
    """Return the fenced blocks of a page."""
    text = page.read_text(encoding="utf-8")
    return [Block(found[1], found[2], text.count("\n", 0, found.start()) + 1) for found in FENCE.finditer(text)]


def steps(page: Path) -> list[Step]:
    """Return everything that a page asks to do."""
    found: list[Step] = []
    for block in blocks(page):
        if block.language == "console":
            found += commands(block)
        elif block.language == "python":
            found.append(script(block))
        elif block.language == "yaml":
            found.append(Step(f"python {shlex.quote(str(Path(__file__).resolve()))} merge <<'END'\n{block.text}END", block.line))
        else:
            wrong = [line for line in block.text.splitlines() if not INSTALLATION.match(line)]
            assert block.language == "sh", f"{page.name}:{block.line}: {block.language!r} is not known to the tests"
            assert not wrong, f"{page.name}:{block.line}: not known to the tests: {wrong}"
    return found


def commands(block: Block) -> list[Step]:
    """Return the commands of a console block."""
    found: list[Step] = []
    for number, line in enumerate(block.text.splitlines(), block.line + 1):
        if line.startswith("$ "):
            ends = EXIT_CODE.search(line)
            found.append(Step(EXIT_CODE.sub("", line[2:]), number, int(ends[1]) if ends else 0))
        else:
            assert found, f"line {number} is shown before any command"
            last = found.pop()
            found.append(Step(last.command, last.line, last.code, (*last.shown, line)))
    return found


def script(block: Block) -> Step:
    """Return the step that writes or runs a Python block."""
    name = re.match(r"# (\w+\.py)\n", block.text)
    target = f"cat > {name[1]}" if name else "python -"
    return Step(f"{target} <<'END'\n{block.text}END", block.line)


ABORTED, PYARROW_ENDS = 134, "terminate called without an active exception"
"""How an interpreter ends now and then, on a busy machine, while threads of pyarrow's are still being started."""

WARM: list[str] = []
"""A folder with a `hermetic` that starts quickly (`tests.warm`), while there is one."""


def run(todo: list[Step], folder: Path, home: Path) -> list[tuple[Step, int, str]]:
    """Run steps in `folder` with an own HERMETIC_HOME; return what each ended with and wrote."""
    lines = ["exec 2>&1 < /dev/null", "set -o pipefail"]
    for step in todo:
        lines += [step.command, f'echo "{MARK} $?>>>"']
    path = os.pathsep.join([*WARM, str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    environment = {**os.environ, "PATH": path, "HERMETIC_HOME": str(home), "PYTHONDONTWRITEBYTECODE": "1"}
    script_file = home.parent / "page.sh"
    script_file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    done = subprocess.run(
        ["bash", str(script_file)], cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=SECONDS
    )
    parts = re.split(re.escape(MARK) + r" (\d+)>>>\n", done.stdout)
    assert len(parts) == 2 * len(todo) + 1, f"bash stopped early: {parts[-1]}"
    return [(step, int(parts[2 * at + 1]), parts[2 * at]) for at, step in enumerate(todo)]


def check(page: Path, ran: list[tuple[Step, int, str]]) -> None:
    """Compare what happened with what the page says."""
    for step, code, output in ran:
        where = f"{page.name}:{step.line}: {step.command.splitlines()[0]}"
        ended = code if code != ABORTED or PYARROW_ENDS not in output else 0  # everything was done and said before
        assert ended == step.code, f"{where}\nexit code {code}, not {step.code}:\n{output}"
        missing = first_missing(step.shown, output)
        assert missing is None, f"{where}\ndoes not show: {missing}\nbut:\n{output}"


def first_missing(shown: tuple[str, ...], output: str) -> str | None:
    """Return the first line of `shown` that `output` does not have after the ones before it."""
    real = iter([normal(line) for line in output.splitlines()])
    for line in shown:
        pattern = re.compile(".*".join(re.escape(part) for part in normal(line).split("…")))
        if line.strip() not in {"", "…"} and not any(pattern.fullmatch(candidate) for candidate in real):
            return line
    return None


def normal(line: str) -> str:
    """Return a line without what may differ."""
    for pattern, word in VARIABLE:
        line = pattern.sub(word, line)
    return line.strip()


def merge(text: str, sections: str) -> str:
    """Return a YAML text in which each top-level key of `sections` replaces the one that was there."""
    soon = dt.datetime.now(tz=dt.UTC).date() + dt.timedelta(days=30)
    sections = re.sub(r"(expires: )\d{4}-\d\d-\d\d", rf"\g<1>{soon}", sections)
    for section in re.split(r"(?m)^(?=\w)", sections)[1:]:
        key = section.partition(":")[0]
        text = re.sub(rf"(?m)^{key}:.*\n(?:[ ].*\n)*", "", text) + "\n" + section
    return text


if __name__ == "__main__":
    assert sys.argv[1:] == ["merge"]
    document = Path("hermetic.yaml")
    document.write_text(merge(document.read_text(encoding="utf-8"), sys.stdin.read()), encoding="utf-8")
