"""Reading what the log vouches for while another process may give the log a new key.

A session sees one state of the database. If the log's key comes into force after that state, what is read is signed by the old key
and looks forged to a process that has met the new one meanwhile. That says nothing of the log; looking again shows the newer state.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from hermetic.custody.call import TRIES
from hermetic.errors import LogTampered, SignatureError

if TYPE_CHECKING:
    from collections.abc import Callable

    from hermetic.custody.custodian import Custodian
    from hermetic.db.rows import ReadSession

Found = TypeVar("Found")


def look(custodian: Custodian, at: Callable[[ReadSession], Found]) -> Found:
    """Return what `at` finds in one state of the database, in a newer one if the log's key changed meanwhile. Raises what it does."""
    for left in reversed(range(TRIES)):
        before = custodian.log.verifier_key
        try:
            with custodian.database.read(custodian.row_keys) as session:
                return at(session)
        except (LogTampered, SignatureError):
            if not left or custodian.log.verifier_key == before:
                raise
    raise AssertionError  # the last try returns or raises
