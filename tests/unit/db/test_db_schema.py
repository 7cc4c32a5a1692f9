"""The migrations build exactly the tables; other schemas are refused; older ones are migrated."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from hermetic.db import layout, migrate, protect, schema, tables, upkeep
from hermetic.db.engine import Database
from hermetic.errors import HermeticError, IntegrityError, NotFound, Unsupported

PROTECTED = [table for table in tables.metadata.sorted_tables if table.info.get("authenticated")]
RENDER = Path(__file__).with_name("render_schema.py")


def ddl(connection):
    """Every table and index, its clauses in any order."""
    found = connection.exec_driver_sql("SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL AND name <> 'alembic_version'")
    flat = {name: re.sub(r"\s+", " ", sql).replace(" ,", ",").strip() for name, sql in found}
    return {
        name: (sql.endswith("WITHOUT ROWID"), sorted(sql.removesuffix(") WITHOUT ROWID").strip().split(", ")))
        for name, sql in flat.items()
    }


def test_migrations_build_what_alembic_takes_for_the_tables(database):
    with database.read(None) as session:
        context = MigrationContext.configure(session.connection, opts={"compare_type": True, "compare_server_default": True})
        found = [
            change for change in compare_metadata(context, tables.metadata) if getattr(change[1], "name", "") != "alembic_version"
        ]
    assert found == [], f"write a migration, or before the first release print the block anew: python {RENDER}"


def test_migrations_build_what_the_tables_would_create(database):
    engine = sa.create_engine("sqlite://")
    with database.read(None) as session, engine.connect() as fresh:
        tables.metadata.create_all(fresh)
        assert ddl(session.connection) == ddl(fresh)


def test_the_last_migration_has_the_number_of_the_schema():
    script = ScriptDirectory.from_config(migrate.config())
    assert script.get_heads() == [f"{tables.SCHEMA_REVISION:04}"]
    assert len(list(script.walk_revisions())) == tables.SCHEMA_REVISION


@pytest.mark.parametrize("table", tables.metadata.sorted_tables, ids=str)
def test_types_are_portable_and_marks_complete(table):
    assert {type(column.type) for column in table.columns} <= {sa.BigInteger, sa.Text, sa.LargeBinary}
    sealed = {column.name: column.info["sealed"] for column in table.columns if "sealed" in column.info}
    assert set(sealed.values()) <= {"text", "bytes", "json"}
    assert {column.info["lookup_of"] for column in table.columns if "lookup_of" in column.info} <= set(sealed)
    assert ("mac" in table.c and "revision" in table.c) == bool(table.info.get("authenticated"))
    assert not sealed or table.info.get("authenticated")


def test_what_reveals_is_sealed():
    names = {"name", "owner", "project", "path", "principal", "writer", "reason", "who", "details", "manifest", "openings", "content"}
    for table in tables.metadata.sorted_tables:
        for column in table.columns:
            assert column.name not in names or "sealed" in column.info, f"{table.name}.{column.name}"


def test_only_tables_that_protect_themselves_are_plain():
    plain = {table.name for table in tables.metadata.sorted_tables if not table.info.get("authenticated")}
    assert plain == {"meta", "backup_state", "log_leaf", "log_node", "log_opening", "log_subject", "log_checkpoint"}


def set_revision(hand, value):
    hand.run("UPDATE meta SET value = ? WHERE key = 'schema_revision'", parameters=(value,))


def test_a_newer_schema_is_refused(database, hand, path, keys):
    set_revision(hand, str(tables.SCHEMA_REVISION + 1))
    with pytest.raises(Unsupported, match="newer release") as caught:
        Database.open(path)
    assert "install" in caught.value.hint
    with pytest.raises(Unsupported), database.write(keys):
        pass
    with pytest.raises(Unsupported):
        migrate.upgrade(path)


def test_an_older_schema_says_how_to_migrate(database, hand, path):
    set_revision(hand, "0")
    with pytest.raises(Unsupported) as caught:
        Database.open(path)
    assert "hermetic migrate" in caught.value.hint


@pytest.mark.parametrize("value", ["", "one", "-1", "1.0", "\u0661", "9" * 40, 1])
def test_a_schema_revision_that_makes_no_sense_is_refused(value, database, hand, path):
    set_revision(hand, value) if value != 1 else hand.run("DELETE FROM meta")
    with pytest.raises(IntegrityError):
        Database.open(path)


@pytest.fixture
def next_release(tmp_path, monkeypatch):
    """A release with one more migration, which adds a nullable column to `asset` and rebuilds `lease`."""
    folder = tmp_path / "migrations"
    shutil.copytree(Path(migrate.__file__).with_name("migrations"), folder, ignore=shutil.ignore_patterns("__pycache__"))
    number = tables.SCHEMA_REVISION + 1
    folder.joinpath("versions", "next.py").write_text(
        f"revision, down_revision, branch_labels, depends_on = '{number:04}', '{number - 1:04}', None, None\n"
        "import sqlalchemy as sa\nfrom alembic import op\n"
        "def upgrade():\n"
        "    op.add_column('asset', sa.Column('note', sa.LargeBinary(), nullable=True))\n"
        "    with op.batch_alter_table('lease', recreate='always') as batch:\n"
        "        batch.add_column(sa.Column('more', sa.Text(), nullable=True))\n"
    )

    def install(module_names=(migrate, schema, upkeep)):
        monkeypatch.setattr(migrate, "PACKAGE", str(folder))
        for module in module_names:
            monkeypatch.setattr(module, "SCHEMA_REVISION", number)
        return folder

    return install


def test_the_next_release_migrates_and_reads_the_rows_of_this_one(filled, path, keys, next_release):
    with filled.read(keys) as session:
        before = {table.name: session.find(table) for table in PROTECTED}
    snapshot = filled.snapshot_bytes()
    filled.close()
    next_release()
    with pytest.raises(Unsupported, match="this release needs"):
        Database.open(path)
    assert migrate.upgrade(path) == (tables.SCHEMA_REVISION, tables.SCHEMA_REVISION + 1)
    restored = Database.from_snapshot(path.with_name("restored.db"), snapshot)
    for database in (Database.open(path), restored):
        with database.read(keys) as session:
            assert {table.name: session.find(table) for table in PROTECTED} == before


def test_this_release_refuses_a_snapshot_of_the_next_one(filled, path, next_release, monkeypatch):
    next_release()
    migrate.upgrade(path)
    newer = Database.open(path).snapshot_bytes()
    monkeypatch.undo()
    with pytest.raises(Unsupported, match="newer release"):
        Database.from_snapshot(path.with_name("restored.db"), newer)
    assert not path.with_name("restored.db").exists()


def test_a_failed_migration_leaves_the_old_schema_whole(filled, path, next_release):
    folder = next_release()
    broken = folder / "versions" / "next.py"
    broken.write_text(broken.read_text() + "    op.execute('SELECT 1 FROM nowhere')\n")
    filled.close()
    before = path.read_bytes()
    with pytest.raises(HermeticError, match="lacks a table"):
        migrate.upgrade(path)
    assert path.read_bytes() == before


def test_a_migration_that_loses_referred_rows_is_undone(filled, path, next_release):
    folder = next_release()
    broken = folder / "versions" / "next.py"
    broken.write_text(broken.read_text() + "    op.execute('DELETE FROM asset')\n")
    filled.close()
    before = path.read_bytes()
    with pytest.raises(IntegrityError, match="refer to rows"):
        migrate.upgrade(path)
    assert path.read_bytes() == before


def test_unknown_migrations_are_refused(filled, path, hand, next_release):
    hand.run("UPDATE alembic_version SET version_num = 'abcd'")
    next_release()
    with pytest.raises(IntegrityError, match="migrations"):
        migrate.upgrade(path)


def test_a_column_added_later_leaves_older_rows_authentic(keys):
    columns = [
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("a", sa.Text),
        sa.Column("revision", sa.BigInteger),
        sa.Column("mac", sa.LargeBinary),
    ]
    old = sa.Table("t", sa.MetaData(), *(column._copy() for column in columns), info={"authenticated": True})
    new = sa.Table("t", sa.MetaData(), *columns, sa.Column("b", sa.Text), info={"authenticated": True})
    stored = protect.store(layout.of(old), keys, {"id": "x", "a": "y"})
    assert protect.reveal(layout.of(new), keys, [*stored, None]) == {"id": "x", "a": "y", "b": None, "revision": 1}
    with pytest.raises(IntegrityError):
        protect.reveal(layout.of(new), keys, [*stored, ""])


def test_migrating_what_is_current_changes_nothing(database, path):
    before = database.snapshot_bytes()
    assert migrate.upgrade(path) == (tables.SCHEMA_REVISION, tables.SCHEMA_REVISION)
    assert database.snapshot_bytes() == before
    with pytest.raises(NotFound):
        migrate.upgrade(path.with_name("other.db"))


def test_light_imports():
    """Neither the package nor sessions import Alembic; the package imports nothing at all."""
    code = (
        "import sys; import hermetic.db; assert 'sqlalchemy' not in sys.modules;"
        "import hermetic.db.engine, hermetic.catalog.versions; assert 'alembic' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


NEW_IN = {
    2: {"approver", "approval_request", "approval", "certificate"},
    3: {
        "authority",
        "credential",
        "second_factor",
        "factor_session",
        "factor_attempts",
        "factor_challenge",
        "answered",
        "notification",
    },
}
LATER_COLUMNS = {3: {("grant_", column) for column in ("bytes_left", "kind", "approvals", "reviewed_ms")}}


@pytest.fixture
def made_at(path):
    """Make the database anew as an earlier release made it, with rows given as (table, columns, stored)."""

    def make(revision, rows):
        from alembic import command

        from hermetic.db.link import wrap

        path.unlink()
        path.touch(mode=0o600)
        raw = migrate.connect(path, timeout_s=1.0)
        raw.execute(f"PRAGMA application_id={migrate.APPLICATION_ID}")
        raw.execute("PRAGMA journal_mode=WAL").fetchall()
        raw.execute("BEGIN IMMEDIATE")
        command.upgrade(migrate.config(wrap(raw)), f"{revision:04}")
        raw.execute("INSERT INTO meta VALUES ('schema_revision', ?)", (str(revision),))
        for table, columns, stored in rows:
            raw.execute(f'INSERT INTO "{table}" ({", ".join(columns)}) VALUES ({", ".join("?" * len(columns))})', stored)
        raw.execute("COMMIT")
        raw.close()

    return make


@pytest.mark.parametrize("revision", range(1, tables.SCHEMA_REVISION))
def test_a_database_of_an_earlier_schema_is_migrated_with_every_row_authentic(revision, filled, path, keys, hand, made_at):
    new = set().union(*(names for since, names in NEW_IN.items() if since > revision))
    later = set().union(*(columns for since, columns in LATER_COLUMNS.items() if since > revision))
    old = [table for table in PROTECTED if table.name not in new]
    with filled.write(keys) as session:  # what had no such column yet
        for name, column in later:
            table = tables.metadata.tables[name]
            for row in session.find(table):
                session.update(table, row["id"], row["revision"], **{column: None})
    with filled.read(keys) as session:
        before = {table.name: session.find(table) for table in old}
    rows = []
    for table in old:
        columns = [column.name for column in table.columns if (table.name, column.name) not in later]
        rows += [(table.name, columns, stored) for stored in hand.run(f'SELECT {", ".join(columns)} FROM "{table.name}"')]
    assert len(rows) > len(old) // 2
    filled.close()
    made_at(revision, rows)
    with pytest.raises(Unsupported) as caught:
        Database.open(path)
    assert "hermetic migrate" in caught.value.hint
    assert migrate.upgrade(path) == (revision, tables.SCHEMA_REVISION)
    with Database.open(path).read(keys) as session:
        assert {table.name: session.find(table) for table in old} == before
        assert [session.find(table) for table in PROTECTED if table.name in new] == [[]] * len(new)
