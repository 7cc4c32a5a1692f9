"""The user's own settings of a domain: `config.yaml` in its config folder, never in the project.

    backup: {place: /media/usb, objects: false}      where the encrypted copy goes
    anchor: {command: [logger, -t, hermetic]}        gets each checkpoint on its standard input
    stores: {warehouse: {folder: /data/sealed}}      where stores lie that hermetic.yaml only names

A command lives here and not in the project because whoever can write the project must not make this user run something.
"""

from __future__ import annotations

import io
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from hermetic.errors import ConfigError, NotFound
from hermetic.providers import private_file

CONFIG_FILE = "config.yaml"
LIMIT = 65_536
HEADER = """\
# Your own settings of this domain; hermetic.yaml cannot set them. What can stand here:
#   backup: {place: /media/usb, objects: false}     where the encrypted copy of custody goes
#   anchor: {command: [logger, -t, hermetic]}       a program that keeps each checkpoint of the log elsewhere
#   stores: {warehouse: {folder: /data/sealed}}     where stores lie that hermetic.yaml only names
"""
_KEYS = {"backup": {"place", "objects"}, "anchor": {"command"}}


@dataclass(frozen=True, slots=True)
class UserConfig:
    """Settings of one user for one domain."""

    backup_place: Path | None = None
    backup_objects: bool = False
    anchor_command: tuple[str, ...] = ()
    store_folders: dict[str, Path] = field(default_factory=dict)

    def to_text(self) -> str:
        """Return the file's text."""
        body: dict[str, Any] = {}
        if self.backup_place is not None:
            body["backup"] = {"place": str(self.backup_place), "objects": self.backup_objects}
        if self.anchor_command:
            body["anchor"] = {"command": list(self.anchor_command)}
        if self.store_folders:
            body["stores"] = {name: {"folder": str(path)} for name, path in self.store_folders.items()}
        out = io.StringIO()
        out.write(HEADER)
        if body:  # an empty mapping would be written as {}, to which nothing can be added
            YAML().dump(body, out)
        return out.getvalue()


def load(folder: Path) -> UserConfig:
    """Read the settings in a domain's config folder; defaults when there are none. Raises ConfigError, Denied, StorageError."""
    path = folder / CONFIG_FILE
    try:
        raw = private_file.read(path, LIMIT)
    except NotFound:
        return UserConfig()
    try:
        body = YAML(typ="safe").load(raw.decode("utf-8"))
    except (YAMLError, ValueError, TypeError, AttributeError, LookupError, OverflowError, RecursionError) as error:
        # ruamel.yaml leaks these for keys that are mappings, bad escapes and impossible dates
        raise ConfigError(f"not YAML: {str(error).partition(chr(10))[0]}", file=str(path)) from None
    return _read({} if body is None else body, str(path))


def save(folder: Path, config: UserConfig) -> None:
    """Write the settings, durable, mode 0600."""
    private_file.write(folder / CONFIG_FILE, config.to_text().encode("utf-8"), replace=True)


def _read(body: Any, file: str) -> UserConfig:
    body = _mapping(body, {"backup", "anchor", "stores"}, file)
    backup = _mapping(body.get("backup", {}), _KEYS["backup"], file)
    anchor = _mapping(body.get("anchor", {}), _KEYS["anchor"], file)
    command = anchor.get("command", [])
    if not isinstance(command, list) or not all(_is_plain(word) for word in command):
        raise ConfigError("anchor.command is a list of words", hint="command: [program, argument]", file=file)
    stores = body.get("stores", {})
    if not isinstance(stores, dict) or not all(isinstance(name, str) for name in stores):
        raise ConfigError("stores maps names to folders", file=file)
    folders = {str(name): _path(_mapping(item, {"folder"}, file).get("folder"), "folder", file) for name, item in stores.items()}
    place, objects = backup.get("place"), backup.get("objects", False)
    if not isinstance(objects, bool):
        raise ConfigError("backup.objects is true or false", file=file)
    return UserConfig(
        backup_place=None if place is None else _path(place, "backup.place", file),
        backup_objects=objects,
        anchor_command=tuple(command),
        store_folders=folders,
    )


def _mapping(value: Any, keys: set[str], file: str) -> dict[str, Any]:
    if not isinstance(value, dict) or not set(value) <= keys:
        raise ConfigError(f"expected only {', '.join(sorted(keys))}", file=file)
    return value


def _is_plain(value: Any) -> bool:
    """Whether a value is text that the system takes as a path or an argument."""
    if not isinstance(value, str) or not value or "\0" in value:
        return False
    try:
        os.fsencode(value)
    except UnicodeEncodeError:
        return False
    return True


def _path(value: Any, name: str, file: str) -> Path:
    if not _is_plain(value) or not Path(value).is_absolute():
        raise ConfigError(f"{name} is an absolute path", file=file)
    return Path(value)
