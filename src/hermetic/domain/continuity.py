"""When custody shows a later generation of the log than this user has seen: does the restore own up to what it gave up?

Within a generation the greeting proves that the log continues (`pinned`). Across a restore only the whole log tells: what this user
saw must be in the restored part, unchanged, or be named by the restore as lost. That is checked once for each generation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermetic.audit import verify as verifying
from hermetic.audit.handover import WAY_OUT
from hermetic.audit.note import VerifierKey
from hermetic.audit.pins import Pin
from hermetic.audit.tables_store import TablesStore
from hermetic.errors import LogTampered

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hermetic.audit.leaf import Leaf
    from hermetic.audit.note import Checkpoint
    from hermetic.custody.custodian import Custodian

UNADMITTED = ("pin-in-lost-entries", "high")


def check_restored(custodian: Custodian, seen: Checkpoint, log_keys: Sequence[str]) -> tuple[Leaf, ...]:
    """Compare the log of a restored domain with what was seen of it before; return the changes of its keys. Raises LogTampered."""
    keys = [VerifierKey.parse(text) for text in log_keys]
    with custodian.database.read(custodian.row_keys) as session:
        store = TablesStore(session.connection)
        try:
            report = verifying.verify(store, custodian.domain, keys=keys, pins=[Pin(seen, "your pins")])
        except LogTampered as error:
            raise LogTampered(error.message, hint=f"{error.hint}; `hermetic log restored` shows what custody says of it") from error
    if any((item.code, item.severity) == UNADMITTED for item in report.findings):
        raise LogTampered(
            f"custody was restored from a copy that lacks what you have seen ({seen.size} entries of generation "
            f"{seen.origin.generation}), and the restore does not say so",
            hint=WAY_OUT,
        )
    return report.key_changes
