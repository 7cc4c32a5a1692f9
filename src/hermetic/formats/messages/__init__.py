"""What is said through the port: requests, and the answer each one gets (spec/port.md).

    base       Request, Refusal, Receipt, and the small parts that several messages share
    versions   seal and open: begin, publish, abandon, open, leases
    catalogue  list, show, rename, lineage, exposures, garbage
    locations  which objects belong at plain locations, and that they were moved
    runs       start, finish, show; scratch
    keys       list, show, rotate, rewrap, change state
    destruction  announce, do, shred; certificates
    approvals  who may approve, what waits, statements
    policy     show, apply, explain; grants
    log        read, verify, prove, export
    greeting   hello
    measures   figures for metrics
    domain     facts, what goes on record about recovery
    backup     bring the copy up to date

A request class names its answer: `class Hello(Request["Welcome"])`; `Port.ask` is typed by it. A key is never a field: in process
it is an opaque handle that `Port.redeem` exchanges once, between processes it is an HPKE blob in `KeyBlob.sealed`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import ModuleType

    from hermetic.formats.messages import catalogue, runs, versions

__all__ = ["catalogue", "runs", "versions"]  # a hundred value classes cost more than the command that needs five of them


def __getattr__(name: str) -> ModuleType:
    """Load a module when it is first used as `messages.NAME`."""
    if name in __all__:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
