"""Assets as users know them: seal, open, expose, run. The room that everything above works with.

    workspace   Workspace: the facade; `hermetic.connect()` returns one
    inputs      what may be sealed
    drafts      a version being written; published whole or abandoned
    sealing     files, folders, bytes and streams into a version
    releases    versions whose keys are in memory, each released once however often it is opened
    opening     a version's member as a seekable binary file
    piping      plaintext to a pipe or terminal
    exposing    plaintext on disk on purpose
    in_memory   members as files in memory, for loaders that take only paths
    pickles     objects from pickles that may import only what policy lists
    tensors     tensors decrypted in place, and sealed from where they are
    checking    ciphertext and signatures without a key
    garbage     what interrupted writes left in stores
    runs        executions with a declared purpose
    commands    another program as a run: private temporary folder, no core dump, signals passed on
    mount_points  what a run makes to mount something on, and removes
    scratch     files that end with their run
    pending     what a run writes to one name in several files

Everything here talks to custody through a connection's port and to disks through its stores, and writes plaintext to disk in
`exposing` only.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import ModuleType

    from hermetic.assets import checking, exposing, garbage, in_memory, pickles, runs, sealing, writing

__all__ = [
    "checking",
    "exposing",
    "garbage",
    "in_memory",
    "pickles",
    "runs",
    "sealing",
    "writing",
]  # whoever reads does not wait for what only writers need


def __getattr__(name: str) -> ModuleType:
    """Load a verb's module when it is first used as `assets.NAME`."""
    if name in __all__:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
