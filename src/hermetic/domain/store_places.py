"""Where stores lie that hermetic.yaml only names: the section `stores` of a user's config.yaml.

    stores:
      warehouse: {folder: /data/sealed}
      lake: {kind: s3, bucket: team-data, prefix: hermetic, endpoint: https://s3.example.org, region: eu-1, profile: storage}

`bucket` and `prefix` are required; the prefix belongs to this store alone. Without `endpoint` it is Amazon's. `profile` is the name of
a profile in boto3's own configuration. Credentials never stand here. Plain http is taken for this machine only, or where
`insecure_http: true` says so: what is stored is ciphertext all the same, but whoever listens learns the keys, sizes and times.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeAlias
from urllib.parse import urlsplit

from hermetic.errors import InvalidName
from hermetic.stores.base import check_key
from hermetic.stores.local import LocalStore
from hermetic.stores.s3_settings import S3Settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from hermetic.stores.base import Store

Place: TypeAlias = "Path | S3Settings"
INSECURE: Final = "insecure_http"
_S3: Final = {"kind", INSECURE, *(field.name for field in fields(S3Settings))}
_BUCKET: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9]")
_REGION: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
_PROFILE: Final = re.compile(r"[^\x00-\x1f\x7f-\x9f\ud800-\udfff]{1,100}")
_HOST: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?|\[[0-9a-fA-F:]{2,39}\]")
_CREDENTIAL: Final = re.compile(r"access|secret|token|password|credential|(^|_)key", re.IGNORECASE)


class Wrong(Exception):
    """A mistake: the keys that lead to it, what it is, and what to write instead."""

    def __init__(self, path: tuple[str, ...], message: str, remedy: str) -> None:
        super().__init__(message)
        self.path, self.message, self.remedy = path, message, remedy


def read(raw: Any) -> dict[str, Place]:
    """Return the place of every store that the section names. Raises Wrong."""
    if not isinstance(raw, dict) or not all(isinstance(name, str) for name in raw):
        raise Wrong(("stores",), "stores maps names to places", "write `NAME: {folder: /data/sealed}` or `NAME: {kind: s3, …}`")
    places = {name: _place(item, ("stores", name)) for name, item in raw.items()}
    _refuse_overlap([(name, place) for name, place in places.items() if isinstance(place, S3Settings)])
    return places


def spelled(places: Mapping[str, Place]) -> dict[str, dict[str, object]]:
    """Return what `read` reads, to be written."""
    return {name: dict(_spell(place)) for name, place in places.items()}


def store_at(place: Place) -> Store:
    """Return the store that lies at a place; nothing is asked of it yet."""
    if isinstance(place, Path):
        return LocalStore(place)
    from hermetic.stores.s3 import S3Store  # noqa: PLC0415 - most have none

    return S3Store(place)


def _spell(place: Place) -> Iterator[tuple[str, object]]:
    if isinstance(place, Path):
        yield "folder", str(place)
        return
    yield "kind", "s3"
    for field in fields(S3Settings):
        if getattr(place, field.name) is not None:
            yield field.name, getattr(place, field.name)
    if place.endpoint is not None and place.endpoint.startswith("http:") and not _is_here(urlsplit(place.endpoint).hostname or ""):
        yield INSECURE, True


def _place(raw: Any, path: tuple[str, ...]) -> Place:
    if not isinstance(raw, dict):
        raise Wrong(path, "a store is a mapping", "write `{folder: /data/sealed}` or `{kind: s3, bucket: …, prefix: …}`")
    kind = raw.get("kind", "folder")
    if kind not in ("folder", "s3"):  # it may be anything
        raise Wrong((*path, "kind"), "unknown kind of store", "write `kind: s3`, or only `folder: /data/sealed`")
    _refuse_unknown(raw, {"kind", "folder"} if kind == "folder" else _S3, path)
    return _folder(raw.get("folder"), (*path, "folder")) if kind == "folder" else _s3(raw, path)


def _refuse_unknown(raw: Mapping[Any, Any], known: set[str], path: tuple[str, ...]) -> None:
    for key in raw:
        if isinstance(key, str) and key in known:
            continue
        if _CREDENTIAL.search(str(key)):
            remedy = "remove it: credentials are never kept here; boto3 finds them in its own places, and `profile` names one of them"
            raise Wrong((*path, str(key)), "a store has no credentials in this file", remedy)
        raise Wrong((*path, str(key)), "unknown key of a store", f"write one of: {', '.join(sorted(known))}")


def _folder(value: Any, path: tuple[str, ...]) -> Path:
    try:
        plain = isinstance(value, str) and "\0" not in value and bool(value.encode())
    except UnicodeEncodeError:
        plain = False
    if not plain or not Path(value).is_absolute():
        raise Wrong(path, "folder is not an absolute path", "write the whole path, from /")
    return Path(value)


def _s3(raw: Mapping[str, Any], path: tuple[str, ...]) -> S3Settings:
    insecure = raw.get(INSECURE, False)
    if not isinstance(insecure, bool):
        raise Wrong((*path, INSECURE), f"{INSECURE} is true or false", "leave it out")
    return S3Settings(
        bucket=_matching(raw.get("bucket"), _BUCKET, (*path, "bucket"), "the name of a bucket: letters, digits, dots and dashes"),
        prefix=_prefix(raw.get("prefix"), (*path, "prefix")),
        endpoint=None if raw.get("endpoint") is None else _endpoint(raw["endpoint"], (*path, "endpoint"), insecure=insecure),
        region=_optional(raw.get("region"), _REGION, (*path, "region"), "the name of a region, such as eu-central-1"),
        profile=_optional(raw.get("profile"), _PROFILE, (*path, "profile"), "the name of a profile"),
    )


def _matching(value: Any, pattern: re.Pattern[str], path: tuple[str, ...], what: str) -> str:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise Wrong(path, f"{path[-1]} is missing or wrong", f"write {what}")
    return value


def _optional(value: Any, pattern: re.Pattern[str], path: tuple[str, ...], what: str) -> str | None:
    return None if value is None else _matching(value, pattern, path, what)


def _prefix(value: Any, path: tuple[str, ...]) -> str:
    try:
        return check_key(value.removesuffix("/"))
    except (AttributeError, InvalidName):
        remedy = "write a relative path that this store has for itself, such as `prefix: hermetic`"
        raise Wrong(path, "prefix is missing or no path inside a bucket", remedy) from None


def _endpoint(value: Any, path: tuple[str, ...], *, insecure: bool) -> str:
    remedy = "write https:// and the host, with a port if needed: no user, password, path or question mark"
    try:
        parts = urlsplit(value if isinstance(value, str) else "")
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise Wrong(path, "endpoint is not an address", remedy) from None
    shown = f"[{host}]" if ":" in host else host
    address = f"{parts.scheme}://{shown}" + ("" if port is None else f":{port}")
    if parts.scheme not in {"http", "https"} or not _HOST.fullmatch(shown) or value.rstrip("/").lower() != address:
        raise Wrong(path, "endpoint is not an address", remedy)
    if parts.scheme == "http" and not insecure and not _is_here(host):
        raise Wrong(path, "endpoint is plain http", f"write https://, or `{INSECURE}: true` if the network is yours alone")
    return address


def _is_here(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _refuse_overlap(stores: list[tuple[str, S3Settings]]) -> None:
    for at, (name, one) in enumerate(stores):
        for other, two in stores[:at]:
            if (one.bucket, one.endpoint) == (two.bucket, two.endpoint) and _inside(one.prefix, two.prefix):
                _overlapping(name, other)


def _inside(one: str, two: str) -> bool:
    return f"{one}/".startswith(f"{two}/") or f"{two}/".startswith(f"{one}/")


def _overlapping(name: str, other: str) -> NoReturn:
    raise Wrong(("stores", name, "prefix"), f"stores {other!r} and {name!r} share a place", "give each store a prefix of its own")
