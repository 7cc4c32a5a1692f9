"""Alembic environment of the custody database; run through `hermetic.db.migrate` only."""
