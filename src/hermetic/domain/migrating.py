"""Bring the custody database of a project's domain to the schema of this release."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from hermetic.db import migrate
from hermetic.db.tables import SCHEMA_REVISION
from hermetic.domain import config, project
from hermetic.domain.home import Home
from hermetic.domain.opening import DATABASE

if TYPE_CHECKING:
    from pathlib import Path


def migrate_domain(start: Path, *, home: Home | None = None) -> tuple[int, int]:
    """Return the schema before and now; nothing happens when they are equal.

    All of it is one transaction: a crash leaves the old schema whole. Raises NotFound, Unsupported (a newer release wrote it),
    Conflict (in use), StorageError, IntegrityError.
    """
    found = project.load(project.find_root(start))
    home = home or Home.locate(os.environ)
    server = config.load(home.domain_config(found.domain)).database
    before, _ = migrate.upgrade(server or home.domain_data(found.domain) / DATABASE)
    return before, SCHEMA_REVISION
