"""The user's own settings of a domain: `config.yaml` in its config folder, never in the project.

    backup: {place: /media/usb, objects: false}      where the encrypted copy goes
    anchor: {command: [logger, -t, hermetic]}        gets each checkpoint on its standard input
    stores: {warehouse: {folder: /data/sealed}}      where stores lie that hermetic.yaml only names (store_places.py)
    locations: {lake: s3://bucket/prefix}            where plain locations are that rules mean by `store: lake` (sealed::)
    providers: {openbao:transit/hermetic: {address: https://HOST:8200}}     how roots are reached (providers/settings.py)
    database: {url: postgresql://HOST/hermetic}      where the custody database is, if not in a file here (db/postgres/place.py)
    notify: {chat: {webhook: https://HOST/PATH, key: FILE}}      who is told what waits (notify_settings.py)
    telemetry: {otlp: https://HOST:4318/v1/metrics}  where a service sends its metrics (telemetry_settings.py)
    oidc: [{issuer: https://HOST, …}]                whose tokens custody takes; `login: {url: https://HOST:PORT}`: where to log in
                                                     (oidc_settings.py)

A command lives here and not in the project because whoever can write the project must not make this user run something.
"""

from __future__ import annotations

import io
import os
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.error import YAMLError

from hermetic.db.postgres.place import PostgresPlace
from hermetic.domain import notify_settings, oidc_settings, store_places, telemetry_settings
from hermetic.errors import ConfigError, Conflict, NotFound, UsageError
from hermetic.providers import private_file, settings
from hermetic.stores.s3_settings import S3Settings

if TYPE_CHECKING:
    from collections.abc import Mapping

CONFIG_FILE = "config.yaml"
LIMIT = 65_536
HEADER = """\
# Your own settings of this domain; hermetic.yaml cannot set them. What can stand here:
#   backup: {place: /media/usb, objects: false}     where the encrypted copy of custody goes
#   anchor: {command: [logger, -t, hermetic]}       a program that keeps each checkpoint of the log elsewhere
#   stores: {warehouse: {folder: /data/sealed}}     where stores lie that hermetic.yaml only names; a bucket:
#           {lake: {kind: s3, bucket: NAME, prefix: hermetic, endpoint: https://HOST, region: NAME, profile: NAME}}
#   locations: {lake: s3://bucket/prefix}           where plain locations are that rules mean by `store: lake`
#   providers: {PROVIDER-URI: {NAME: VALUE}}        how a root in an HSM or a key service is reached; never a secret
#   database: {url: postgresql://HOST/hermetic}     where custody's database is, if not in a file here; never a password
#   notify: {chat: {webhook: https://HOST/PATH, key: /etc/hermetic/chat.key}}    who is told what waits for approval
#   telemetry: {otlp: https://HOST:4318/v1/metrics}                              where a service sends its metrics
#   oidc: [{issuer: https://HOST, audience: NAME, kind: person, principals: [{name: NAME, claims: {sub: VALUE}}]}]
#                                                   whose tokens custody takes for certificates
#   login: {url: https://HOST:PORT, issuer: https://HOST, client: NAME}         where you get one
"""
_URL = re.compile(r"[a-z][a-z0-9+.-]*://(?!.*(?:^|/)\.\.?(?:/|$))(?!.*::)[^@?#\s\\]*")
# ruamel.yaml leaks these for keys that are mappings, bad escapes and impossible dates
_YAML_ERRORS = (YAMLError, ValueError, TypeError, AttributeError, LookupError, OverflowError, RecursionError)
_ALL = {"backup", "anchor", "stores", "locations", "providers", "database", "notify", "telemetry", "oidc", "login"}
_KEYS = {"backup": {"place", "objects"}, "anchor": {"command"}, "database": {"url"}}


@dataclass(frozen=True, slots=True)
class UserConfig:
    """Settings of one user for one domain."""

    backup_place: Path | None = None
    backup_objects: bool = False
    anchor_command: tuple[str, ...] = ()
    store_folders: dict[str, Path] = field(default_factory=dict)
    buckets: dict[str, S3Settings] = field(default_factory=dict)  # stores too
    locations: dict[str, str] = field(default_factory=dict)
    providers: dict[str, dict[str, str]] = field(default_factory=dict)  # settings by provider URI
    database: PostgresPlace | None = None  # None: a file in the custody home
    notify: dict[str, notify_settings.Target] = field(default_factory=dict)
    telemetry: telemetry_settings.Telemetry | None = None
    oidc: tuple[oidc_settings.Trusted, ...] = ()
    login: oidc_settings.Login | None = None

    @property
    def places(self) -> dict[str, Path | S3Settings]:
        """Where every store lies that is named here."""
        return {**self.store_folders, **self.buckets}

    def to_body(self) -> dict[str, Any]:
        """Return what the file says, by the name of what it is about; nothing for what it leaves out."""
        body: dict[str, Any] = self._logins()
        if self.backup_place is not None:
            body["backup"] = {"place": str(self.backup_place), "objects": self.backup_objects}
        if self.anchor_command:
            body["anchor"] = {"command": list(self.anchor_command)}
        if self.places:
            body["stores"] = store_places.spelled(self.places)
        if self.locations:
            body["locations"] = dict(self.locations)
        if self.providers:
            body["providers"] = {uri: dict(given) for uri, given in self.providers.items()}
        if self.notify:
            body["notify"] = {name: dict(target.given) for name, target in self.notify.items()}
        if self.telemetry is not None:
            body["telemetry"] = dict(self.telemetry.given)
        if self.database is not None:
            body["database"] = {"url": str(self.database)}
        return body

    def to_text(self) -> str:
        """Return the file's text."""
        out, body = io.StringIO(), self.to_body()
        out.write(HEADER)
        if body:  # an empty mapping would be written as {}, to which nothing can be added
            YAML().dump(body, out)
        return out.getvalue()

    def _logins(self) -> dict[str, Any]:
        oidc = {"oidc": [dict(item.given) for item in self.oidc]} if self.oidc else {}
        return oidc if self.login is None else {**oidc, "login": dict(self.login.given)}


def load(folder: Path) -> UserConfig:
    """Read the settings in a domain's config folder; defaults when there are none. Raises ConfigError, Denied, StorageError."""
    path = folder / CONFIG_FILE
    try:
        raw = private_file.read(path, LIMIT)
    except NotFound:
        return UserConfig()
    try:
        body = YAML(typ="safe").load(raw.decode("utf-8"))
    except _YAML_ERRORS as error:
        raise ConfigError(f"not YAML: {str(error).partition(chr(10))[0]}", file=str(path)) from None
    try:
        return _read({} if body is None else body, str(path))
    except store_places.Wrong as wrong:
        line, column = _place_of(raw.decode("utf-8"), wrong.path)
        raise ConfigError(wrong.message, hint=wrong.remedy, file=str(path), line=line, column=column) from None


def save(folder: Path, config: UserConfig) -> None:
    """Write the settings, durable, mode 0600; the backup place without ways up (`trial/../older`), whose folders may go."""
    if config.backup_place is not None and ".." in config.backup_place.parts:
        config = replace(config, backup_place=config.backup_place.resolve())
    private_file.write(folder / CONFIG_FILE, config.to_text().encode("utf-8"), replace=True)


def placed_twice(folder: Path, name: str) -> ConfigError:
    """Return the error for a store that config.yaml places and hermetic.yaml has in the project already, with its line."""
    path = folder / CONFIG_FILE
    line, column = _place_of(private_file.read(path, LIMIT).decode("utf-8"), ("stores", name))
    return ConfigError(
        f"hermetic.yaml has the store {name!r} in a folder of the project, so that it cannot lie here too",
        hint=f"write `{name}: {{kind: named}}` under `stores:` in hermetic.yaml to have it here, or take it out here",
        file=str(path),
        line=line,
        column=column,
    )


def add_provider(folder: Path, uri: str, given: Mapping[str, str]) -> None:
    """Write the settings of one provider into the file, and leave the rest, comments too, as it is. Raises ConfigError, Conflict.

    What stands there already of this provider has to be the same: a root in use is not pointed elsewhere in passing.
    """
    known = load(folder).providers.get(uri, {})
    if not given or known == dict(given):
        return
    if known:
        raise Conflict(f"{folder / CONFIG_FILE} has other settings for {uri}", hint="change them there, or give none here")
    try:
        text = private_file.read(folder / CONFIG_FILE, LIMIT).decode("utf-8")
    except NotFound:
        text = HEADER
    yaml = YAML(typ="rt", pure=True)
    body = yaml.load(text)
    if body is None:  # nothing but comments, which the parser does not keep
        body, head = CommentedMap(), text
    else:
        head = ""
    body.setdefault("providers", CommentedMap())[uri] = dict(given)
    out = io.StringIO()
    yaml.dump(body, out)
    private_file.write(folder / CONFIG_FILE, (head + out.getvalue()).encode("utf-8"), replace=True)


def _read(body: Any, file: str) -> UserConfig:
    body = _mapping(body, _ALL, file)
    backup = _mapping(body.get("backup", {}), _KEYS["backup"], file)
    anchor = _mapping(body.get("anchor", {}), _KEYS["anchor"], file)
    command = anchor.get("command", [])
    if not isinstance(command, list) or not all(_is_plain(word) for word in command):
        raise ConfigError("anchor.command is a list of words", hint="command: [program, argument]", file=file)
    places = store_places.read(body.get("stores", {}))
    place, objects = backup.get("place"), backup.get("objects", False)
    if not isinstance(objects, bool):
        raise ConfigError("backup.objects is true or false", file=file)
    return UserConfig(
        backup_place=None if place is None else _path(place, "backup.place", file),
        backup_objects=objects,
        anchor_command=tuple(command),
        store_folders={name: place for name, place in places.items() if isinstance(place, Path)},
        buckets={name: place for name, place in places.items() if isinstance(place, S3Settings)},
        locations=_locations(body.get("locations", {}), file),
        providers=_providers(body.get("providers", {}), file),
        database=_database(body.get("database"), file),
        notify=notify_settings.read(body.get("notify", {}), file),
        telemetry=telemetry_settings.read(body.get("telemetry"), file),
        oidc=oidc_settings.read(body.get("oidc", []), file),
        login=oidc_settings.read_login(body.get("login"), file),
    )


def _database(value: Any, file: str) -> PostgresPlace | None:
    if value is None:
        return None
    url = _mapping(value, _KEYS["database"], file).get("url")
    try:
        return PostgresPlace.parse(url if isinstance(url, str) and _is_plain(url) else "")
    except UsageError as error:
        raise ConfigError(f"database.url: {error.message}", hint=error.hint, file=file) from None


def _providers(value: Any, file: str) -> dict[str, dict[str, str]]:
    try:
        return settings.check(value)
    except UsageError as error:
        raise ConfigError(error.message, hint=error.hint, file=file) from None


def _locations(value: Any, file: str) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
        raise ConfigError("locations maps names of stores to URLs", file=file)
    for name, url in value.items():
        if not _is_plain(url) or not _URL.fullmatch(url):
            raise ConfigError(
                f"locations.{name} is a URL such as s3://bucket/prefix",
                hint="one protocol, no user or password, no `..` or `?`: credentials are the storage library's own business",
                file=file,
            )
    return {name: url.rstrip("/") if not url.endswith("://") else url for name, url in value.items()}


def _place_of(text: str, path: tuple[str, ...]) -> tuple[int, int]:
    """Return line and column, from 1, of what stands at `path`, or of the nearest thing above it."""
    found = (1, 1)
    try:
        node = YAML(typ="rt", pure=True).load(text)
    except _YAML_ERRORS:  # what the safe loader took
        return found
    for step in path:
        if not isinstance(node, CommentedMap) or step not in node:
            break
        line, column = node.lc.key(step)
        found, node = (line + 1, column + 1), node[step]
    return found


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
