"""What tables are made of: columns of the three types that every database stores alike, and the marks that protect them (`tables`)."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy import Column, ForeignKey, Index, Table

metadata = sa.MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    }
)


def text(name: str, *, key: bool = False, null: bool = False, to: str = "", json: bool = False) -> Column[Any]:
    """A column of text; `json` marks canonical JSON."""
    foreign = (ForeignKey(to),) if to else ()
    return Column(name, sa.Text, *foreign, primary_key=key, nullable=null, info={"json": True} if json else {})


def number(name: str, *, key: bool = False, null: bool = False) -> Column[Any]:
    """A column of 64-bit integers."""
    return Column(name, sa.BigInteger, primary_key=key, nullable=null, autoincrement=False)


def blob(name: str, *, key: bool = False, null: bool = False) -> Column[Any]:
    """A column of bytes."""
    return Column(name, sa.LargeBinary, primary_key=key, nullable=null)


def sealed(name: str, holds: str = "text", *, null: bool = False) -> Column[Any]:
    """A column of AEAD ciphertext, of what `holds` says."""
    return Column(name, sa.LargeBinary, nullable=null, info={"sealed": holds})


def lookup(of: str, *, null: bool = False) -> Column[Any]:
    """The column by which the sealed column `of` is searched."""
    return Column(f"{of}_h", sa.LargeBinary, nullable=null, info={"lookup_of": of})


def plain(name: str, *columns: Column[Any] | Index | sa.Constraint) -> Table:
    """A table that protects itself or holds nothing that policy reads."""
    return Table(name, metadata, *columns, sqlite_with_rowid=False)


def authenticated(name: str, *columns: Column[Any] | Index | sa.Constraint) -> Table:
    """A table whose rows are authenticated."""
    marks = (number("revision"), blob("mac"))
    return Table(name, metadata, *columns, *marks, info={"authenticated": True}, sqlite_with_rowid=False)
