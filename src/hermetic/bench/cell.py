"""One cell: a work under one suite with so many threads, in a process of its own.

`python -m hermetic.bench.cell` reads what to do as JSON on stdin, measures both sides in turns, and writes the samples, or the error,
as JSON on stdout.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hermetic import errors
from hermetic.errors import HermeticError, StorageError
from hermetic.stores.base import hint_for

if TYPE_CHECKING:
    from hermetic.bench.measuring import Sample

FULL = "seal-first"  # not measured: seals what the other works read


@dataclass(frozen=True, slots=True)
class Order:
    """What to measure: paths as text; `warm` is memory to touch before each measurement, in bytes."""

    work: str
    suite: str
    project: str
    source: str
    scratch: str
    threads: int
    rounds: int
    warm: int


def carry_out(order: Order) -> dict[str, list[Sample]]:
    """Do what is ordered; return the samples of both sides. Raises HermeticError."""
    from hermetic.assets.workspace import connect  # noqa: PLC0415 - the parent, which needs only Order, does not load all of it
    from hermetic.bench.measuring import in_turns  # noqa: PLC0415 - see above
    from hermetic.bench.works import Bench  # noqa: PLC0415 - see above

    with connect(order.project) as workspace:
        bench = Bench(workspace, Path(order.source), Path(order.scratch), order.threads)
        if order.work == FULL:
            bench.seal_all(expect=order.suite)
            return {}
        return in_turns(bench.works(order.work), order.rounds, warm=order.warm)


def answer(order: Order) -> dict[str, object]:
    """Return what the process says: samples by side, or an error as data."""
    try:
        return {"samples": carry_out(order)}
    except HermeticError as error:
        return {"error": {"kind": type(error).__name__, "message": str(error), "hint": error.hint}}
    except OSError as error:
        said = StorageError(f"the benchmark stopped: {(error.strerror or str(error)).lower()}", hint=hint_for(error))
        return {"error": {"kind": type(said).__name__, "message": str(said), "hint": said.hint}}


def raise_told(told: dict[str, str]) -> None:
    """Raise the error that a cell told."""
    kind = getattr(errors, told["kind"], HermeticError)
    plain = kind if isinstance(kind, type) and issubclass(kind, HermeticError) else HermeticError
    raise plain(told["message"], hint=told["hint"])


def main() -> None:
    """Run one cell."""
    order = Order(**json.load(sys.stdin))
    os.chdir(order.project)
    json.dump(answer(order), sys.stdout)


def to_json(order: Order) -> str:
    """Return an order as a cell reads it."""
    return json.dumps(dataclasses.asdict(order))


if __name__ == "__main__":
    main()
