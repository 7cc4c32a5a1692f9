"""One host of several: releases keys as fast as it can from a custody home of its own, and says what was answered.

answered GENERATION INDEX HASH      a key was handed over, under this entry of the log
failed NAME MESSAGE                 an error that a server that is away, or other writers, explain
broken NAME MESSAGE                 any other
"""

from __future__ import annotations

import secrets
import sys
import time
from pathlib import Path

from hermetic.audit.tree import leaf_hash
from hermetic.domain.connect import connect
from hermetic.domain.home import Home
from hermetic.errors import Conflict, HermeticError, StorageError
from hermetic.formats.messages.versions import OpenVersions
from hermetic.ids import Purpose, id_from_bytes


def told(error: HermeticError) -> None:
    """Say what went wrong, and give the server a moment."""
    print("failed" if isinstance(error, StorageError | Conflict) else "broken", type(error).__name__, error.message, flush=True)
    time.sleep(0.05)


def main(root: Path) -> None:
    connection = None
    while connection is None:
        try:
            connection = connect(root / "project", home=Home(root / "home" / "data", root / "home" / "config"))
        except HermeticError as error:
            told(error)
    while True:
        try:
            request = OpenVersions(id_from_bytes(secrets.token_bytes(16)), ("dataset/a",), Purpose.PREPARE)
            receipt = connection.ask(request).receipt
        except HermeticError as error:
            told(error)
        else:
            print("answered", receipt.generation, receipt.index, leaf_hash(receipt.leaf).hex(), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
