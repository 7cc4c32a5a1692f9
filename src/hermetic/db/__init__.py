"""The custody database: tables, sessions, authenticated rows, sealed columns, migrations.

    tables      every table, and the marks that protect it
    engine      Database: create, open, write, read, snapshot, checkpoint
    rows        Session and ReadSession: insert, get, find, update, …, over plain values
    columns     RowKeys, sealed and lookup columns
    authentic   what a row MAC covers, and what it cannot see
    seen        rows verified before, known again by their bytes
    relied      what was read, to be compared later and asked for at once the next time
    migrate     create and upgrade the schema (imports Alembic)

Keys come in as `RowKeys`, derived by custody; this room knows no root, no policy and no clock. Whoever can write the database file
cannot change a protected row, move it, or read a sealed column; they can delete rows or put back an older authentic one, which
`log verify` finds. This package imports nothing by itself: SQLAlchemy costs 0.15 s and comes with `tables`.

A new table or column: edit `tables`, write the next migration, raise `SCHEMA_REVISION`; a test compares the three.
"""
