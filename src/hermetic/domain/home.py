"""Where a person's Hermetic lives, apart from every project.

    data    $XDG_DATA_HOME/hermetic     <domain id>/custody.db, domain.json, roots, the log's database
    config  $XDG_CONFIG_HOME/hermetic   <domain id>/config.yaml (anchor command, backup place, stores), pins.json

HERMETIC_HOME=D means D/data and D/config. Neither may lie inside a project: a project is what people copy, share and push.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs

from hermetic.errors import ConfigError, Denied, StorageError
from hermetic.ids import DomainId, check_id
from hermetic.stores.base import hint_for
from hermetic.stores.durable import make_folders

if TYPE_CHECKING:
    from collections.abc import Mapping

PROJECT_FILE = "hermetic.yaml"


@dataclass(frozen=True, slots=True)
class Home:
    """The two folders. Nothing is created until a domain is."""

    data: Path
    config: Path

    @classmethod
    def locate(cls, environment: Mapping[str, str]) -> Home:
        """Find the folders from the environment. Raises ConfigError for a relative HERMETIC_HOME or one inside a project."""
        chosen = environment.get("HERMETIC_HOME")
        if chosen:
            base = Path(chosen)
            if not base.is_absolute():
                raise ConfigError("HERMETIC_HOME must be an absolute path")
            home = cls(base / "data", base / "config")
        else:
            data = environment.get("XDG_DATA_HOME") or platformdirs.user_data_dir()
            config = environment.get("XDG_CONFIG_HOME") or platformdirs.user_config_dir()
            home = cls(Path(data) / "hermetic", Path(config) / "hermetic")
        for folder in (home.data, home.config):
            _refuse_inside_project(folder)
        return home

    def domain_data(self, domain: DomainId) -> Path:
        """Return the folder of one domain's custody."""
        return self.data / check_id(domain)

    def domain_config(self, domain: DomainId) -> Path:
        """Return the folder of one domain's settings and pins."""
        return self.config / check_id(domain)


def _refuse_inside_project(folder: Path) -> None:
    """Look at the path as it is written and as links lead it."""
    real = folder.resolve()
    for parent in (folder, *folder.parents, real, *real.parents):
        if has_project(parent):
            raise ConfigError(
                f"the custody home {folder} lies inside the project {parent}",
                hint="keys are never stored beside the data: set HERMETIC_HOME to a folder outside every project",
            )


def has_project(folder: Path) -> bool:
    """Whether a folder holds a hermetic.yaml; one that this user may not look into does not count."""
    try:
        return (folder / PROJECT_FILE).exists()
    except OSError:
        return False


def private_folder(folder: Path) -> Path:
    """Create `folder`, mode 0700, durable, or check that only this user can write it. Raises Denied, StorageError."""
    try:
        make_folders(folder)
        facts = folder.stat()
    except OSError as error:
        raise StorageError(f"cannot use {folder}: {error.strerror}", hint=hint_for(error)) from error
    if facts.st_uid != os.geteuid() or stat.S_IMODE(facts.st_mode) & 0o022:
        raise Denied(f"{folder} belongs to another user or others can write it", hint="it must be yours, mode 0700")
    return folder


def check_places(root: Path, home: Home, backup: Path | None) -> None:
    """Refuse a custody home in the project, and a backup place in either. Links are followed. Raises ConfigError."""
    root, data = root.resolve(), home.data.resolve()
    if data.is_relative_to(root):
        raise ConfigError(
            f"the custody home {home.data} would lie inside the project",
            hint="keys are never stored beside the data: set HERMETIC_HOME to a folder outside every project",
        )
    if backup is None:
        return
    if not backup.is_absolute():
        raise ConfigError("the backup place is an absolute path")
    for near, name in ((root, "project"), (data, "custody home"), (home.config.resolve(), "settings folder")):
        if backup.resolve().is_relative_to(near):
            raise ConfigError(f"the backup place {backup} lies in the {name}", hint="choose another disk, or at least another folder")
