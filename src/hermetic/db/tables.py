"""Every table of the custody database, once; `migrations/` builds exactly these.

Two marks carry the protection, and `rows.Session` acts on them:

    table  info={"authenticated": True}   has `revision` and `mac`; each row is authenticated over table, key, revision and content
    column info={"sealed": "text"}        AEAD ciphertext of a str ("text"), of bytes ("bytes") or of a JSON value ("json")
    column info={"lookup_of": "name"}     HMAC of the plain value of the sealed column `name`, so that it can be searched
    column info={"json": True}            canonical JSON (RFC 8785) as text, readable by whoever reads the database

Only BigInteger, Text and LargeBinary are used, so that SQLite and PostgreSQL store the same values. Times are Unix milliseconds.
A later column must be nullable: NULL columns are left out of the row MAC, so rows written before it stay authentic.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy import Column, ForeignKey, ForeignKeyConstraint, Index, Table, UniqueConstraint

SCHEMA_REVISION = 2
"""What this release reads and writes; the last migration is named by it. Stored in `meta` under `SCHEMA_KEY`."""

SCHEMA_KEY = "schema_revision"

metadata = sa.MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    }
)


def _text(name: str, *, key: bool = False, null: bool = False, to: str = "", json: bool = False) -> Column[Any]:
    foreign = (ForeignKey(to),) if to else ()
    return Column(name, sa.Text, *foreign, primary_key=key, nullable=null, info={"json": True} if json else {})


def _number(name: str, *, key: bool = False, null: bool = False) -> Column[Any]:
    return Column(name, sa.BigInteger, primary_key=key, nullable=null, autoincrement=False)


def _blob(name: str, *, key: bool = False, null: bool = False) -> Column[Any]:
    return Column(name, sa.LargeBinary, primary_key=key, nullable=null)


def _sealed(name: str, holds: str = "text", *, null: bool = False) -> Column[Any]:
    return Column(name, sa.LargeBinary, nullable=null, info={"sealed": holds})


def _lookup(of: str, *, null: bool = False) -> Column[Any]:
    return Column(f"{of}_h", sa.LargeBinary, nullable=null, info={"lookup_of": of})


def _plain(name: str, *columns: Column[Any] | Index | sa.Constraint) -> Table:
    return Table(name, metadata, *columns, sqlite_with_rowid=False)


def _authenticated(name: str, *columns: Column[Any] | Index | sa.Constraint) -> Table:
    marks = (_number("revision"), _blob("mac"))
    return Table(name, metadata, *columns, *marks, info={"authenticated": True}, sqlite_with_rowid=False)


# The domain itself. `meta` is read before any key is there and holds nothing that policy reads; `setting` is for what it does read.
meta = _plain("meta", _text("key", key=True), _text("value"))
setting = _authenticated("setting", _text("key", key=True), _sealed("value", "json"))
backup_state = _plain("backup_state", _text("key", key=True), _text("value"))

# Keys.
root = _authenticated(
    "root",
    _text("id", key=True),
    _sealed("provider_uri"),
    _text("kind"),
    _text("state"),
    _number("created_ms"),
    _text("parameters", json=True),
)
kek = _authenticated(
    "kek",
    _text("id", key=True),
    _text("environment"),
    _text("data_class"),
    _sealed("project"),
    _lookup("project"),
    _text("state"),
    _number("epoch"),
    _sealed("owner", null=True),
    _number("rotate_after_days", null=True),
    _number("created_ms"),
    UniqueConstraint("environment", "data_class", "project_h"),
)
kek_version = _authenticated(
    "kek_version",
    _text("kek_id", key=True, to="kek.id"),
    _number("number", key=True),
    _text("state"),
    _number("wraps"),
    _number("created_ms"),
    _number("updated_ms"),
    _number("destroy_after_ms", null=True),
)
kek_slot = _authenticated(
    "kek_slot",
    _text("kek_id", key=True),
    _number("number", key=True),
    _text("root_id", key=True, to="root.id"),
    _text("provider"),
    _blob("wrapped"),
    ForeignKeyConstraint(["kek_id", "number"], ["kek_version.kek_id", "kek_version.number"]),
)
secret_key = _authenticated(
    "secret_key",
    _text("id", key=True),
    _text("purpose"),
    _text("algorithm"),
    _blob("public"),
    _blob("wrapped"),
    _text("state"),
    _number("created_ms"),
    Index(None, "purpose"),
)

# Who may.
principal = _authenticated(
    "principal",
    _text("id", key=True),
    _sealed("name"),
    _lookup("name"),
    _text("kind"),
    _text("roles", json=True),
    _sealed("attributes", "json", null=True),
    _text("state"),
    _number("created_ms"),
    UniqueConstraint("name_h"),
)
grant_ = _authenticated(
    "grant_",
    _text("id", key=True),
    _text("principal_id", to="principal.id"),
    _text("action"),
    _sealed("asset"),
    _text("purposes", json=True),
    _number("expires_ms", null=True),
    _number("uses_left", null=True),
    _text("state"),
    _number("created_ms"),
    _sealed("reason", null=True),
    Index(None, "principal_id"),
)
approver = _authenticated(
    "approver",
    _text("id", key=True),  # of the public key
    _text("principal_id", null=True),
    _sealed("name"),
    _lookup("name"),
    _blob("public"),
    _text("state"),
    _number("created_ms"),
    _number("ended_ms", null=True),
    _number("alone"),  # 1: enrolled by the owner alone, before there were enough others
    Index(None, "name_h"),
)
approval_request = _authenticated(
    "approval_request",
    _text("id", key=True),
    _sealed("hash", "bytes"),
    _lookup("hash"),
    _sealed("request", "bytes"),
    _text("action"),
    _text("requester_id"),
    _sealed("requester"),
    _number("needed"),
    _number("created_ms"),
    _number("expires_ms"),
    _text("state"),
    _number("closed_ms", null=True),
    Index(None, "hash_h"),
    Index(None, "state"),
)
approval = _authenticated(
    "approval",
    _text("request_id", key=True, to="approval_request.id"),
    _text("approver_id", key=True, to="approver.id"),
    _text("verdict"),
    _sealed("statement", "bytes"),
    _number("made_ms"),
    _number("expires_ms"),
)
policy = _authenticated(
    "policy",
    _text("digest", key=True),
    _sealed("content", "bytes"),
    _number("applied_ms"),
    _sealed("applied_by"),
    _number("current"),
    Index(None, "current"),
)

# What exists.
asset = _authenticated(
    "asset",
    _text("id", key=True),
    _text("kind"),
    _sealed("name"),
    _lookup("name"),
    _text("data_class"),
    _sealed("owner", null=True),
    _sealed("project", null=True),
    _text("environment"),
    _number("epoch"),
    _text("state"),
    _number("retention_days", null=True),
    _number("created_ms"),
    _number("next_number"),
    UniqueConstraint("environment", "name_h"),
)
run = _authenticated(
    "run",
    _text("id", key=True),
    _sealed("name"),
    _text("purpose"),
    _sealed("principal"),
    _text("state"),
    _number("started_ms"),
    _number("ended_ms", null=True),
    _sealed("details", "json", null=True),
    Index(None, "state"),
)
version = _authenticated(
    "version",
    _text("id", key=True),
    _text("asset_id", to="asset.id"),
    _number("number", null=True),
    _text("state"),
    _text("purpose"),
    _text("run_id", null=True, to="run.id"),
    _sealed("writer"),
    _number("created_ms"),
    _number("published_ms", null=True),
    _sealed("manifest", "bytes", null=True),
    _sealed("openings", "bytes", null=True),
    _blob("manifest_hash", null=True),
    _text("store"),
    _text("data_class"),
    _number("length", null=True),
    _sealed("details", "json", null=True),
    UniqueConstraint("asset_id", "number"),
    Index(None, "state"),
    Index(None, "run_id"),
)
data_key = _authenticated(
    "data_key",
    _text("id", key=True),
    _text("version_id", to="version.id"),
    _text("kek_id"),
    _number("kek_number"),
    _blob("wrapped", null=True),
    _text("state"),
    ForeignKeyConstraint(["kek_id", "kek_number"], ["kek_version.kek_id", "kek_version.number"]),
    Index(None, "version_id"),
    Index(None, "kek_id", "kek_number"),
)
object_ = _authenticated(
    "object",
    _text("id", key=True),
    _text("version_id", to="version.id"),
    _number("idx"),
    _blob("root"),
    _text("algorithm"),
    _number("length"),
    _text("key_id", to="data_key.id"),
    UniqueConstraint("version_id", "idx"),
)
edge = _authenticated(
    "edge",
    _text("child_version", key=True, to="version.id"),
    _text("parent_version", key=True, to="version.id"),
    _text("how"),
    Index(None, "parent_version"),
)
fingerprint = _authenticated(
    "fingerprint",
    _text("version_id", key=True, to="version.id"),
    _blob("member_h", key=True),
    _blob("digest_h"),
    Index(None, "digest_h"),
)
decision = _authenticated(
    "decision",
    _text("id", key=True),
    _text("asset_id", null=True, to="asset.id"),
    _text("version_id", null=True, to="version.id"),
    _text("kind"),
    _sealed("reason"),
    _sealed("who"),
    _number("at_ms"),
    _sealed("details", "json", null=True),
    Index(None, "asset_id"),
    Index(None, "version_id"),
)
exposure = _authenticated(
    "exposure",
    _text("id", key=True),
    _text("version_id", to="version.id"),
    _sealed("path"),
    _lookup("path"),
    _sealed("owner"),
    _number("started_ms"),
    _number("until_ms", null=True),
    _number("ended_ms", null=True),
    _text("purpose"),
    Index(None, "version_id"),
    Index(None, "ended_ms"),
    Index(None, "path_h"),
)
lease = _authenticated(
    "lease",
    _text("id", key=True),
    _text("version_id", to="version.id"),
    _text("principal_id"),
    _text("purpose"),
    _text("environment"),
    _number("kek_epoch"),
    _number("asset_epoch"),
    _text("request_id"),
    _number("issued_ms"),
    _number("expires_ms", null=True),
    _text("state"),
    Index(None, "version_id"),
    Index(None, "principal_id"),
)

certificate = _authenticated(
    "certificate",
    _text("id", key=True),
    _text("kind"),
    _text("subject"),  # id of a version, or of a KEK with "/" and the number of its version
    _sealed("envelope", "bytes"),
    _number("made_ms"),
    Index(None, "subject"),
)

# The log authenticates itself: Merkle tree and signed checkpoints (spec/audit-log.md).
log_leaf = _plain(
    "log_leaf",
    _number("generation", key=True),
    _number("idx", key=True),
    _number("at_ms"),
    _text("kind"),
    _blob("leaf"),
    _blob("hash"),
    Index(None, "kind"),
)
log_node = _plain(
    "log_node",
    _number("generation", key=True),
    _number("level", key=True),
    _number("idx", key=True),
    _blob("hash"),
)
log_opening = _plain(
    "log_opening",
    _number("generation", key=True),
    _number("idx", key=True),
    _blob("subject"),
    _blob("sealed"),
    Index(None, "subject"),
)
log_subject = _plain("log_subject", _blob("subject_h", key=True), _blob("wrapped", null=True))
log_checkpoint = _plain(
    "log_checkpoint",
    _number("generation", key=True),
    _number("size", key=True),
    _blob("root"),
    _text("note"),
    _number("at_ms"),
)
