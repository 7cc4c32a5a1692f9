"""Approvals and certificates: who approves, what waits for approval, who said what, and proof of what was destroyed.

Every table is new, so that rows of schema 1 stay as they are.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables and their indexes."""
    _table(
        "approver",
        [_text("id"), _text("principal_id", null=True), _blob("name"), _blob("name_h"), _blob("public"), _text("state")],
        [_number("created_ms"), _number("ended_ms", null=True), _number("alone")],
    )
    op.create_index(op.f("ix_approver_name_h"), "approver", ["name_h"])
    _table(
        "approval_request",
        [_text("id"), _blob("hash"), _blob("hash_h"), _blob("request"), _text("action"), _text("requester_id"), _blob("requester")],
        [_number("needed"), _number("created_ms"), _number("expires_ms"), _text("state"), _number("closed_ms", null=True)],
    )
    op.create_index(op.f("ix_approval_request_hash_h"), "approval_request", ["hash_h"])
    op.create_index(op.f("ix_approval_request_state"), "approval_request", ["state"])
    _table(
        "approval",
        [_text("request_id"), _text("approver_id"), _text("verdict"), _blob("statement"), _number("made_ms"), _number("expires_ms")],
        [
            sa.ForeignKeyConstraint(["request_id"], ["approval_request.id"], name=op.f("fk_approval_request_id")),
            sa.ForeignKeyConstraint(["approver_id"], ["approver.id"], name=op.f("fk_approval_approver_id")),
        ],
        key=("request_id", "approver_id"),
    )
    _table(
        "certificate",
        [_text("id"), _text("kind"), _text("subject"), _blob("envelope"), _number("made_ms")],
        [],
    )
    op.create_index(op.f("ix_certificate_subject"), "certificate", ["subject"])


def _table(name: str, first: list[Any], more: list[Any], *, key: tuple[str, ...] = ("id",)) -> None:
    marks = [_number("revision"), _blob("mac"), sa.PrimaryKeyConstraint(*key, name=op.f(f"pk_{name}"))]
    op.create_table(name, *first, *more, *marks, sqlite_with_rowid=False)


def _text(name: str, *, null: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.Text(), nullable=null)


def _number(name: str, *, null: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.BigInteger(), nullable=null, autoincrement=False)


def _blob(name: str, *, null: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.LargeBinary(), nullable=null)
