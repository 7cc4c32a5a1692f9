"""The custody database on a PostgreSQL server: one database, one writer at a time, for processes and hosts alike.

    place       where the server is, from a URL; what of libpq's environment is refused
    driver      the connection: psycopg's, with our errors, in and out of transactions by hand only
    faults      errors of the server to errors of Hermetic
    link        a connection that was asserted: durability, encoding, schema, nothing foreign in it
    database    Database on a server
    image       the same tables as an SQLite file and back: copies of one kind restore into either
    build       create, fill and migrate the schema (imports Alembic)
    upkeep      what can be done about old row versions, and what cannot

Only `driver`, `faults` and what they serve import psycopg; `place` imports nothing optional. Tables stand in the schema `hermetic`
of a database that belongs to one domain. Why a lock at begin, and not something faster: docs/adr/0011-one-log-across-hosts.md.
"""
