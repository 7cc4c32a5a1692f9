"""What Alembic runs: the migrations over the connection that `hermetic.db.migrate` hands in, inside its transaction."""

from __future__ import annotations

from alembic import context

from hermetic.db.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,  # SQLite changes tables by rebuilding them
    compare_type=True,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
