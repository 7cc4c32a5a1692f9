"""Identities: authorities, certificates and devices, second factors; answers kept for retries, notifications, budgets of grants.

The new columns of grants may be empty, so that rows of schema 2 stay authentic.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables and their indexes, and add the columns."""
    op.add_column("grant_", _number("bytes_left", null=True))
    op.add_column("grant_", _text("kind", null=True))
    op.add_column("grant_", _number("approvals", null=True))
    op.add_column("grant_", _number("reviewed_ms", null=True))
    _who()
    _factors()
    _table(
        "answered", [_text("principal_id"), _text("key"), _blob("request"), _blob("answer"), _number("at_ms")], ("principal_id", "key")
    )
    _index("answered", "at_ms")
    _table(
        "notification",
        [
            *(_text("id"), _text("kind"), _blob("about"), _text("target"), _text("state")),
            *(_number("tries"), _number("due_ms"), _number("created_ms")),
        ],
    )
    _index("notification", "state", "due_ms")


def _who() -> None:
    _table(
        "authority",
        [
            *(_text("id"), _text("key_id", null=True), _text("parent_id", null=True), _blob("certificate"), _text("state")),
            *(_number("not_after_ms"), _number("created_ms"), _foreign("authority", "key_id", "secret_key.id")),
        ],
    )
    _table(
        "credential",
        [
            *(
                _text("id"),
                _text("principal_id"),
                _text("kind"),
                _blob("fingerprint"),
                _blob("public"),
                _text("authority_id", null=True),
            ),
            *(_number("not_after_ms", null=True), _text("state"), _number("created_ms"), _number("ended_ms", null=True)),
            *(_blob("about", null=True), sa.UniqueConstraint("fingerprint", name=op.f("uq_credential_fingerprint"))),
            _foreign("credential", "principal_id", "principal.id"),
        ],
    )
    _index("credential", "principal_id")
    _index("credential", "public")
    _index("credential", "not_after_ms")


def _factors() -> None:
    _table(
        "second_factor",
        [
            *(_text("id"), _text("principal_id"), _text("kind"), _blob("label"), _blob("material"), _blob("material_h")),
            *(_number("counter"), _text("state"), _number("created_ms"), _number("used_ms", null=True)),
            _foreign("second_factor", "principal_id", "principal.id"),
        ],
    )
    _index("second_factor", "principal_id")
    _index("second_factor", "material_h")
    _table(
        "factor_session",
        [
            *(_text("principal_id"), _text("credential_id"), _text("kind"), _number("at_ms")),
            _foreign("factor_session", "principal_id", "principal.id"),
        ],
        ("principal_id", "credential_id"),
    )
    _table(
        "factor_attempts",
        [
            *(_text("principal_id"), _number("failed"), _number("until_ms")),
            _foreign("factor_attempts", "principal_id", "principal.id"),
        ],
        ("principal_id",),
    )
    _table(
        "factor_challenge",
        [
            *(_text("principal_id"), _text("credential_id"), _text("use")),
            *(_blob("challenge"), _text("origin"), _number("expires_ms")),
            _foreign("factor_challenge", "principal_id", "principal.id"),
        ],
        ("principal_id", "credential_id", "use"),
    )


def _table(name: str, columns: list[Any], key: tuple[str, ...] = ("id",)) -> None:
    marks = [_number("revision"), _blob("mac"), sa.PrimaryKeyConstraint(*key, name=op.f(f"pk_{name}"))]
    op.create_table(name, *columns, *marks, sqlite_with_rowid=False)


def _index(table: str, *columns: str) -> None:
    op.create_index(op.f(f"ix_{table}_{'_'.join(columns)}"), table, list(columns))


def _foreign(table: str, column: str, target: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [target], name=op.f(f"fk_{table}_{column}"))


def _text(name: str, *, null: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.Text(), nullable=null)


def _number(name: str, *, null: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.BigInteger(), nullable=null, autoincrement=False)


def _blob(name: str, *, null: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.LargeBinary(), nullable=null)
