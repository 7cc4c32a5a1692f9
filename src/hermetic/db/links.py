"""What sessions need of a connection, whichever database it leads to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import sqlalchemy as sa

    from hermetic.db.statements import Statements


class Link(Protocol):
    """A connection that is taken in and out of transactions by hand. `raw` is the driver's."""

    raw: Any
    statements: Statements

    def execute(self, sql: str, parameters: Any = ..., /) -> Any:
        """Run one statement; what is returned has rows and `rowcount`."""

    def executemany(self, sql: str, rows: Any, /) -> Any:
        """Run one statement with many parameters; `rowcount` counts over all."""

    def begin(self, *, write: bool) -> None:
        """Begin a transaction."""

    def revision(self) -> Any:
        """Return what the database says about its schema, None if nothing."""

    def merge_at_commit(self, *, wanted: bool) -> None:
        """Let a commit tidy up after itself, or not."""

    def commit(self) -> None:
        """Make the transaction durable, or raise."""

    def rollback(self) -> None:
        """End the transaction if it has not ended."""

    def alive(self) -> bool:
        """Whether an idle connection looks usable."""

    def whole(self) -> bytes:
        """Return the whole database as an SQLite file."""

    def close(self) -> None:
        """Close the connection, whatever state it is in."""

    def sqlalchemy(self) -> sa.Connection:
        """Return the SQLAlchemy connection over this one."""
