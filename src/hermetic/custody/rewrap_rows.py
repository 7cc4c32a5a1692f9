"""What happens to the rows of data keys when they move to another version of their KEK: verified, opened, compared, wrapped, coded.

Plain computing over rows that were read, without database, log or policy, so that a helper process can do it (`rewrap_helper`) as well
as the process that reads and writes. Both do the same, from the same `Job` and the same three keys.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from hermetic.db import tables
from hermetic.db.bulk import Bulk
from hermetic.db.statements import Beside
from hermetic.errors import RowTampered
from hermetic.ids import DomainId  # noqa: TC001 - a value class's field
from hermetic.keys.rewrapping import Rewrapper, context_for
from hermetic.keys.wrap import KekContext  # noqa: TC001 - as above

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hermetic.crypto.secret import Secret
    from hermetic.db.bulk import Stored


@dataclass(frozen=True, slots=True)
class Job:
    """What all rows of one move have in common. `old` and `new` are two versions of one KEK."""

    domain: DomainId
    old: KekContext
    new: KekContext

    def bulk(self, mac: Secret) -> Bulk:
        """Return the question for the rows that wait, with the asset of each beside it, and their change.

        The asset is not verified: the check value in the wrap binds it, so that a wrong one fails as IntegrityError.
        """
        return Bulk(
            tables.data_key,
            mac,
            {"kek_id": self.old.kek_id, "kek_number": self.old.number, "state": "active"},
            fixed={"kek_number": self.new.number},
            varying=("wrapped",),
            beside=Beside("version_id", tables.version.c.asset_id),
        )


class RowMover:
    """Moves rows with keys at hand. Use it in a `with`, in one thread."""

    def __init__(self, job: Job, mac: Secret, keys: tuple[Secret, Secret]) -> None:
        """`keys` are the KEK's old and new version."""
        old, new = keys
        self._bulk, self._context = job.bulk(mac), context_for(job.domain, job.old.environment)
        self._mover = Rewrapper((old, job.old), (new, job.new))

    def __enter__(self) -> Self:
        self._mover.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._mover.__exit__(*error)

    def moved(self, rows: Iterable[Stored]) -> list[Any]:
        """Return the parameters of the statement that writes the rows (`Bulk.page_of`).

        Raises RowTampered, FormatError, WrongKey, IntegrityError: nothing is made of a row that is not verified.
        """
        rows, bulk, context, move = list(rows), self._bulk, self._context, self._mover.move
        bulk.verify(rows)
        key_id, version_id, wrapped = (bulk.at[name] for name in ("id", "version_id", "wrapped"))
        found: list[Any] = []
        for row in rows:
            key = row[key_id]
            found += bulk.changed(row, (move(key, row[wrapped], context(asset_of(row, key), row[version_id], key)),))
        return found


def asset_of(row: Stored, key_id: str) -> str:
    """Return what stands beside a row. Raises RowTampered where nothing does."""
    asset = row[-1]
    if asset is None:
        raise RowTampered(f"the version of data key {key_id} is gone", hint="it was deleted by hand: run `hermetic log verify`")
    if not isinstance(asset, str) or not asset.isascii():
        raise RowTampered(f"the version of data key {key_id} has no asset", hint="it was changed by hand: run `hermetic log verify`")
    return str(asset)
