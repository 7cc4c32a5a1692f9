"""The first schema: every table of the custody database.

Columns are written `name:type`, I for integers, T for text, B for bytes, `?` where NULL may stand.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TYPES: dict[str, Any] = {"I": sa.BigInteger, "T": sa.Text, "B": sa.LargeBinary}


class Spec(NamedTuple):
    """One table; `foreign` is written `columns -> table columns`."""

    name: str
    columns: str
    key: str
    unique: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()
    indexes: tuple[str, ...] = ()


TABLES = (
    Spec(
        "asset",
        "id:T kind:T name:B name_h:B data_class:T owner:B? project:B? environment:T epoch:I state:T "
        "retention_days:I? created_ms:I next_number:I revision:I mac:B",
        key="id",
        unique=("environment name_h",),
    ),
    Spec(
        "backup_state",
        "key:T value:T",
        key="key",
    ),
    Spec(
        "kek",
        "id:T environment:T data_class:T project:B project_h:B state:T epoch:I owner:B? rotate_after_days:I? "
        "created_ms:I revision:I mac:B",
        key="id",
        unique=("environment data_class project_h",),
    ),
    Spec(
        "log_checkpoint",
        "generation:I size:I root:B note:T at_ms:I",
        key="generation size",
    ),
    Spec(
        "log_leaf",
        "generation:I idx:I at_ms:I kind:T leaf:B hash:B",
        key="generation idx",
        indexes=("kind",),
    ),
    Spec(
        "log_node",
        "generation:I level:I idx:I hash:B",
        key="generation level idx",
    ),
    Spec(
        "log_opening",
        "generation:I idx:I subject:B sealed:B",
        key="generation idx",
        indexes=("subject",),
    ),
    Spec(
        "log_subject",
        "subject_h:B wrapped:B?",
        key="subject_h",
    ),
    Spec(
        "meta",
        "key:T value:T",
        key="key",
    ),
    Spec(
        "policy",
        "digest:T content:B applied_ms:I applied_by:B current:I revision:I mac:B",
        key="digest",
        indexes=("current",),
    ),
    Spec(
        "principal",
        "id:T name:B name_h:B kind:T roles:T attributes:B? state:T created_ms:I revision:I mac:B",
        key="id",
        unique=("name_h",),
    ),
    Spec(
        "root",
        "id:T provider_uri:B kind:T state:T created_ms:I parameters:T revision:I mac:B",
        key="id",
    ),
    Spec(
        "run",
        "id:T name:B purpose:T principal:B state:T started_ms:I ended_ms:I? details:B? revision:I mac:B",
        key="id",
        indexes=("state",),
    ),
    Spec(
        "secret_key",
        "id:T purpose:T algorithm:T public:B wrapped:B state:T created_ms:I revision:I mac:B",
        key="id",
        indexes=("purpose",),
    ),
    Spec(
        "setting",
        "key:T value:B revision:I mac:B",
        key="key",
    ),
    Spec(
        "grant_",
        "id:T principal_id:T action:T asset:B purposes:T expires_ms:I? uses_left:I? state:T created_ms:I reason:B? revision:I mac:B",
        key="id",
        foreign=("principal_id -> principal id",),
        indexes=("principal_id",),
    ),
    Spec(
        "kek_version",
        "kek_id:T number:I state:T wraps:I created_ms:I updated_ms:I destroy_after_ms:I? revision:I mac:B",
        key="kek_id number",
        foreign=("kek_id -> kek id",),
    ),
    Spec(
        "version",
        "id:T asset_id:T number:I? state:T purpose:T run_id:T? writer:B created_ms:I published_ms:I? "
        "manifest:B? openings:B? manifest_hash:B? store:T data_class:T length:I? details:B? revision:I mac:B",
        key="id",
        unique=("asset_id number",),
        foreign=(
            "asset_id -> asset id",
            "run_id -> run id",
        ),
        indexes=(
            "run_id",
            "state",
        ),
    ),
    Spec(
        "data_key",
        "id:T version_id:T kek_id:T kek_number:I wrapped:B? state:T revision:I mac:B",
        key="id",
        foreign=(
            "kek_id kek_number -> kek_version kek_id number",
            "version_id -> version id",
        ),
        indexes=(
            "kek_id kek_number",
            "version_id",
        ),
    ),
    Spec(
        "decision",
        "id:T asset_id:T? version_id:T? kind:T reason:B who:B at_ms:I details:B? revision:I mac:B",
        key="id",
        foreign=(
            "asset_id -> asset id",
            "version_id -> version id",
        ),
        indexes=(
            "asset_id",
            "version_id",
        ),
    ),
    Spec(
        "edge",
        "child_version:T parent_version:T how:T revision:I mac:B",
        key="child_version parent_version",
        foreign=(
            "child_version -> version id",
            "parent_version -> version id",
        ),
        indexes=("parent_version",),
    ),
    Spec(
        "exposure",
        "id:T version_id:T path:B path_h:B owner:B started_ms:I until_ms:I? ended_ms:I? purpose:T revision:I mac:B",
        key="id",
        foreign=("version_id -> version id",),
        indexes=(
            "ended_ms",
            "path_h",
            "version_id",
        ),
    ),
    Spec(
        "fingerprint",
        "version_id:T member_h:B digest_h:B revision:I mac:B",
        key="version_id member_h",
        foreign=("version_id -> version id",),
        indexes=("digest_h",),
    ),
    Spec(
        "kek_slot",
        "kek_id:T number:I root_id:T provider:T wrapped:B revision:I mac:B",
        key="kek_id number root_id",
        foreign=(
            "kek_id number -> kek_version kek_id number",
            "root_id -> root id",
        ),
    ),
    Spec(
        "lease",
        "id:T version_id:T principal_id:T purpose:T environment:T kek_epoch:I asset_epoch:I request_id:T "
        "issued_ms:I expires_ms:I? state:T revision:I mac:B",
        key="id",
        foreign=("version_id -> version id",),
        indexes=(
            "principal_id",
            "version_id",
        ),
    ),
    Spec(
        "object",
        "id:T version_id:T idx:I root:B algorithm:T length:I key_id:T revision:I mac:B",
        key="id",
        unique=("version_id idx",),
        foreign=(
            "key_id -> data_key id",
            "version_id -> version id",
        ),
    ),
)


def upgrade() -> None:
    """Create every table and index."""
    for spec in TABLES:
        columns = [_column(text) for text in spec.columns.split()]
        op.create_table(spec.name, *columns, *_constraints(spec), sqlite_with_rowid=False)
        for index in spec.indexes:
            op.create_index(_named("ix", spec.name, index), spec.name, index.split())


def _column(text: str) -> sa.Column[Any]:
    name, _, kind = text.partition(":")
    return sa.Column(name, TYPES[kind[0]](), nullable=kind.endswith("?"), autoincrement=False)


def _constraints(spec: Spec) -> list[sa.Constraint]:
    made: list[sa.Constraint] = [sa.PrimaryKeyConstraint(*spec.key.split(), name=op.f(f"pk_{spec.name}"))]
    made += [sa.UniqueConstraint(*names.split(), name=_named("uq", spec.name, names)) for names in spec.unique]
    for text in spec.foreign:
        here, _, there = text.partition(" -> ")
        table, *targets = there.split()
        remote = [f"{table}.{target}" for target in targets]
        made.append(sa.ForeignKeyConstraint(here.split(), remote, name=_named("fk", spec.name, here)))
    return made


def _named(kind: str, table: str, columns: str) -> str:
    return op.f("_".join([kind, table, *columns.split()]))
