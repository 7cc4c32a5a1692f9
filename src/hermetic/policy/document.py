"""Parse hermetic.yaml. Every mistake is found in one go and told with line, column and remedy.

    parse(text, file="hermetic.yaml")      the PolicyDocument, or ConfigError
    problems(text, ...)                    the same mistakes as a list, for editors and `hermetic policy show`

Reading has three steps: text to nodes (_yaml.py), nodes to values by declared shapes (_fields.py), then the checks across keys
(_checks.py), which need values that are right in themselves. So mistakes of the third kind show once those of the second are gone.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hermetic.errors import ConfigError
from hermetic.policy import _checks, _fields
from hermetic.policy._collections import Spoiled
from hermetic.policy._yaml import Node, Wrong, compose
from hermetic.policy.model import FILE

if TYPE_CHECKING:
    from hermetic.policy.model import PolicyDocument

__all__ = ["Problem", "error_of", "parse", "problems"]

_SHOWN = 20  # problems told in one error; the rest are counted


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake. Line and column count from 1."""

    file: str
    line: int
    column: int
    message: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.message}"


def parse(text: str, *, file: str = FILE, now_ms: int | None = None) -> PolicyDocument:
    """Return what `text` says. `file` is only for messages.

    With `now_ms`, exceptions that have expired or run for over a year are mistakes too: for `policy apply` and the gate. Without
    it they are read and no longer count, so that a policy in force does not stop working on the day an exception ends.

    Raises ConfigError at the first mistake in the file; its hint holds the remedy, then the other mistakes, one a line.
    """
    document, wrong = _read(text, now_ms)
    if document is None:
        raise error_of(_sorted(wrong, file))
    return document


def problems(text: str, *, file: str = FILE, now_ms: int | None = None) -> tuple[Problem, ...]:
    """Return every mistake that `parse` would refuse the text for, in the order of the file; empty if there is none."""
    return _sorted(_read(text, now_ms)[1], file)


@functools.lru_cache(maxsize=4)  # the file of the project mostly says what is in force: a fortieth of a second to read it twice
def _read(text: str, now_ms: int | None) -> tuple[PolicyDocument | None, tuple[Wrong, ...]]:
    wrong: list[Wrong] = []
    try:
        root = compose(text)
        _newer(root)
        raw = _fields.DOCUMENT.read(root, wrong)
        document = _checks.complete(raw, root, wrong, now_ms)
    except Spoiled:
        return None, tuple(wrong)
    except Wrong as error:
        return None, (*wrong, error)
    return (None, tuple(wrong)) if wrong else (document, ())


def _newer(root: Node) -> None:
    """A file of another format is told as that, not by its unknown keys."""
    member = root.value.get("format") if isinstance(root.value, dict) else None
    _fields.DOCUMENT.keys["format"].shape.read(member.node, []) if member else None


def _sorted(wrong: tuple[Wrong, ...], file: str) -> tuple[Problem, ...]:
    found = (Problem(file, error.place.line, error.place.column, error.message, error.remedy) for error in wrong)
    return tuple(sorted(found, key=lambda problem: (problem.line, problem.column)))


def error_of(found: tuple[Problem, ...]) -> ConfigError:
    """Return the error that tells the first problem, and the others in its hint. `found` is not empty."""
    first, others = found[0], found[1:]
    more = f" (and {len(others)} more)" if others else ""
    lines = [first.remedy, *(f"{other}; {other.remedy}" for other in others[: _SHOWN - 1])]
    if len(others) >= _SHOWN:
        lines.append(f"and {len(others) - _SHOWN + 1} more after these")
    return ConfigError(first.message + more, hint="\n".join(lines), file=first.file, line=first.line, column=first.column)
