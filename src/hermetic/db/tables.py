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

from sqlalchemy import ForeignKeyConstraint, Index, UniqueConstraint

from hermetic.db import identity_tables, table_parts
from hermetic.db.table_parts import authenticated, blob, lookup, number, plain, sealed, text

SCHEMA_REVISION = 3
"""What this release reads and writes; the last migration is named by it. Stored in `meta` under `SCHEMA_KEY`."""

SCHEMA_KEY = "schema_revision"

metadata = table_parts.metadata
answered = identity_tables.answered
authority = identity_tables.authority
credential = identity_tables.credential
factor_attempts = identity_tables.factor_attempts
factor_challenge = identity_tables.factor_challenge
factor_session = identity_tables.factor_session
grant_ = identity_tables.grant_
notification = identity_tables.notification
second_factor = identity_tables.second_factor
FACTORS = (second_factor, factor_session, factor_attempts, factor_challenge)
IDENTITIES = (authority, credential, *FACTORS, answered, notification)  # they stand in `identity_tables`

# The domain itself. `meta` is read before any key is there and holds nothing that policy reads; `setting` is for what it does read.
meta = plain("meta", text("key", key=True), text("value"))
setting = authenticated("setting", text("key", key=True), sealed("value", "json"))
backup_state = plain("backup_state", text("key", key=True), text("value"))

# Keys.
root = authenticated(
    "root",
    text("id", key=True),
    sealed("provider_uri"),
    text("kind"),
    text("state"),
    number("created_ms"),
    text("parameters", json=True),
)
kek = authenticated(
    "kek",
    text("id", key=True),
    text("environment"),
    text("data_class"),
    sealed("project"),
    lookup("project"),
    text("state"),
    number("epoch"),
    sealed("owner", null=True),
    number("rotate_after_days", null=True),
    number("created_ms"),
    UniqueConstraint("environment", "data_class", "project_h"),
)
kek_version = authenticated(
    "kek_version",
    text("kek_id", key=True, to="kek.id"),
    number("number", key=True),
    text("state"),
    number("wraps"),
    number("created_ms"),
    number("updated_ms"),
    number("destroy_after_ms", null=True),
)
kek_slot = authenticated(
    "kek_slot",
    text("kek_id", key=True),
    number("number", key=True),
    text("root_id", key=True, to="root.id"),
    text("provider"),
    blob("wrapped"),
    ForeignKeyConstraint(["kek_id", "number"], ["kek_version.kek_id", "kek_version.number"]),
)
secret_key = authenticated(
    "secret_key",
    text("id", key=True),
    text("purpose"),
    text("algorithm"),
    blob("public"),
    blob("wrapped"),
    text("state"),
    number("created_ms"),
    Index(None, "purpose"),
)

# Who may.
principal = authenticated(
    "principal",
    text("id", key=True),
    sealed("name"),
    lookup("name"),
    text("kind"),
    text("roles", json=True),
    sealed("attributes", "json", null=True),
    text("state"),
    number("created_ms"),
    UniqueConstraint("name_h"),
)
approver = authenticated(
    "approver",
    text("id", key=True),  # of the public key
    text("principal_id", null=True),
    sealed("name"),
    lookup("name"),
    blob("public"),
    text("state"),
    number("created_ms"),
    number("ended_ms", null=True),
    number("alone"),  # 1: enrolled by the owner alone, before there were enough others
    Index(None, "name_h"),
)
approval_request = authenticated(
    "approval_request",
    text("id", key=True),
    sealed("hash", "bytes"),
    lookup("hash"),
    sealed("request", "bytes"),
    text("action"),
    text("requester_id"),
    sealed("requester"),
    number("needed"),
    number("created_ms"),
    number("expires_ms"),
    text("state"),
    number("closed_ms", null=True),
    Index(None, "hash_h"),
    Index(None, "state"),
)
approval = authenticated(
    "approval",
    text("request_id", key=True, to="approval_request.id"),
    text("approver_id", key=True, to="approver.id"),
    text("verdict"),
    sealed("statement", "bytes"),
    number("made_ms"),
    number("expires_ms"),
)
policy = authenticated(
    "policy",
    text("digest", key=True),
    sealed("content", "bytes"),
    number("applied_ms"),
    sealed("applied_by"),
    number("current"),
    Index(None, "current"),
)

# What exists.
asset = authenticated(
    "asset",
    text("id", key=True),
    text("kind"),
    sealed("name"),
    lookup("name"),
    text("data_class"),
    sealed("owner", null=True),
    sealed("project", null=True),
    text("environment"),
    number("epoch"),
    text("state"),
    number("retention_days", null=True),
    number("created_ms"),
    number("next_number"),
    UniqueConstraint("environment", "name_h"),
)
run = authenticated(
    "run",
    text("id", key=True),
    sealed("name"),
    text("purpose"),
    sealed("principal"),
    text("state"),
    number("started_ms"),
    number("ended_ms", null=True),
    sealed("details", "json", null=True),
    Index(None, "state"),
)
version = authenticated(
    "version",
    text("id", key=True),
    text("asset_id", to="asset.id"),
    number("number", null=True),
    text("state"),
    text("purpose"),
    text("run_id", null=True, to="run.id"),
    sealed("writer"),
    number("created_ms"),
    number("published_ms", null=True),
    sealed("manifest", "bytes", null=True),
    sealed("openings", "bytes", null=True),
    blob("manifest_hash", null=True),
    text("store"),
    text("data_class"),
    number("length", null=True),
    sealed("details", "json", null=True),
    UniqueConstraint("asset_id", "number"),
    Index(None, "state"),
    Index(None, "run_id"),
)
data_key = authenticated(
    "data_key",
    text("id", key=True),
    text("version_id", to="version.id"),
    text("kek_id"),
    number("kek_number"),
    blob("wrapped", null=True),
    text("state"),
    ForeignKeyConstraint(["kek_id", "kek_number"], ["kek_version.kek_id", "kek_version.number"]),
    Index(None, "version_id"),
    Index(None, "kek_id", "kek_number"),
)
object_ = authenticated(
    "object",
    text("id", key=True),
    text("version_id", to="version.id"),
    number("idx"),
    blob("root"),
    text("algorithm"),
    number("length"),
    text("key_id", to="data_key.id"),
    UniqueConstraint("version_id", "idx"),
)
edge = authenticated(
    "edge",
    text("child_version", key=True, to="version.id"),
    text("parent_version", key=True, to="version.id"),
    text("how"),
    Index(None, "parent_version"),
)
fingerprint = authenticated(
    "fingerprint",
    text("version_id", key=True, to="version.id"),
    blob("member_h", key=True),
    blob("digest_h"),
    Index(None, "digest_h"),
)
decision = authenticated(
    "decision",
    text("id", key=True),
    text("asset_id", null=True, to="asset.id"),
    text("version_id", null=True, to="version.id"),
    text("kind"),
    sealed("reason"),
    sealed("who"),
    number("at_ms"),
    sealed("details", "json", null=True),
    Index(None, "asset_id"),
    Index(None, "version_id"),
)
exposure = authenticated(
    "exposure",
    text("id", key=True),
    text("version_id", to="version.id"),
    sealed("path"),
    lookup("path"),
    sealed("owner"),
    number("started_ms"),
    number("until_ms", null=True),
    number("ended_ms", null=True),
    text("purpose"),
    Index(None, "version_id"),
    Index(None, "ended_ms"),
    Index(None, "path_h"),
)
lease = authenticated(
    "lease",
    text("id", key=True),
    text("version_id", to="version.id"),
    text("principal_id"),
    text("purpose"),
    text("environment"),
    number("kek_epoch"),
    number("asset_epoch"),
    text("request_id"),
    number("issued_ms"),
    number("expires_ms", null=True),
    text("state"),
    Index(None, "version_id"),
    Index(None, "principal_id"),
)

certificate = authenticated(
    "certificate",
    text("id", key=True),
    text("kind"),
    text("subject"),  # id of a version, or of a KEK with "/" and the number of its version
    sealed("envelope", "bytes"),
    number("made_ms"),
    Index(None, "subject"),
)

# The log authenticates itself: Merkle tree and signed checkpoints (spec/audit-log.md).
log_leaf = plain(
    "log_leaf",
    number("generation", key=True),
    number("idx", key=True),
    number("at_ms"),
    text("kind"),
    blob("leaf"),
    blob("hash"),
    Index(None, "kind"),
)
log_node = plain(
    "log_node",
    number("generation", key=True),
    number("level", key=True),
    number("idx", key=True),
    blob("hash"),
)
log_opening = plain(
    "log_opening",
    number("generation", key=True),
    number("idx", key=True),
    blob("subject"),
    blob("sealed"),
    Index(None, "subject"),
)
log_subject = plain("log_subject", blob("subject_h", key=True), blob("wrapped", null=True))
log_checkpoint = plain(
    "log_checkpoint",
    number("generation", key=True),
    number("size", key=True),
    blob("root"),
    text("note"),
    number("at_ms"),
)
