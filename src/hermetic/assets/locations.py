"""Which place a path is in, and what the rules say about it.

A place is a store of hermetic.yaml, or with an empty name the project's folder. Where it is on this machine, nobody but the user
says: the project's folder is where it is, a store's root is that of its folder or bucket, and for storage that is used through
fsspec alone the user's own config.yaml has `locations: {NAME: s3://bucket/prefix}`. hermetic.yaml names no bucket, and neither does
custody's database: it has place and key, so that a bucket can be renamed by changing one line.

A path below several roots is in the place whose root is longest.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fsspec import filesystem as make_filesystem
from fsspec import get_filesystem_class
from fsspec.core import split_protocol
from fsspec.implementations.local import LocalFileSystem

from hermetic.assets.ground_caches import innermost
from hermetic.assets.ground_errors import far_errors
from hermetic.assets.grounds import ground_of, real
from hermetic.assets.naming import described_by, document_in_force
from hermetic.assets.sealing import Terms
from hermetic.errors import InvalidName, NotFound, UsageError
from hermetic.formats.messages.policy import ShowPolicy
from hermetic.ids import check_id, check_member
from hermetic.policy import rules
from hermetic.stores.local import LocalStore

if TYPE_CHECKING:
    from hermetic.assets.grounds import Ground
    from hermetic.assets.session import Session
    from hermetic.domain.connect import Connection

SIDE = ".manifest.json"  # beside each object: the signed manifest of its version
PROJECT = ""

_used: dict[tuple[str, str], Any] = {}  # by (domain, place): the file system by which this process reached it


@dataclass(frozen=True, slots=True)
class Location:
    """A path of a file system, and where it is: `place` None means in no place that is known here, `key` is the path then."""

    path: str
    place: str | None
    key: str


def roots(connection: Connection) -> dict[str, str]:
    """Return the URL of every place's root that this machine knows."""
    found = {PROJECT: f"file://{connection.project.root}"}
    for name, store in connection.stores.items():
        settings = getattr(store, "settings", None)
        if isinstance(store, LocalStore):
            found[name] = f"file://{store.root}"
        elif settings is not None:
            found[name] = f"s3://{settings.bucket}/{settings.prefix}".rstrip("/")
    return found | connection.config.locations


def locate(session: Session, fs: Any, path: str) -> Location:
    """Return where a path of a file system is. Raises InvalidName for a key that no place has."""
    behind = innermost(fs)
    local = isinstance(behind, LocalFileSystem)
    path = real(path) if local else path
    best: tuple[str, str] | None = None
    for place, url in roots(session.connection).items():
        if split_protocol(url)[0] in _protocols(behind):
            root = _root(url, local=local)
            if path.startswith(f"{root}/") and (best is None or len(root) > len(best[1])):
                best = (place, root)
    if best is None:
        return Location(path, None, path)
    place, root = best
    _used[session.domain, place] = fs
    return Location(path, place, check_member(path[len(root) + 1 :]))


def path_at(session: Session, fs: Any, where: tuple[str | None, str]) -> str | None:
    """Return the path by which a file system leads to (place, key), None if it does not."""
    place, key = where
    behind = innermost(fs)
    url = None if place is None else roots(session.connection).get(place)
    if place is None:
        return key
    if url is None or split_protocol(url)[0] not in _protocols(behind):
        return None
    return f"{_root(url, local=isinstance(behind, LocalFileSystem))}/{key}"


def terms_at(session: Session, location: Location) -> Terms:
    """Return what the rules in force say about something written at a location. Raises UsageError with the line to add."""
    if location.place is None:
        raise UsageError(
            f"{location.path!r} is in no place that rules can be about",
            hint="in hermetic.yaml: stores: {NAME: {kind: named}}, and a rule with `store: NAME`; in your own config.yaml: "
            "locations: {NAME: URL}. `hermetic status` says where that is",
        )
    _refuse_reserved(session, location)
    found = rules.match_path(document_in_force(session), location.key, store=location.place or None)
    if found is None:
        raise UsageError(f"no rule says what {location.key!r} is", hint=_missing(session, location))
    return described_by(Terms(place=location.place), found)


def ground_at(session: Session, place: str) -> tuple[Ground, str]:
    """Return how to reach a place, and the path of its root. Raises NotFound if this machine does not know where it is."""
    url = roots(session.connection).get(place)
    if url is None:
        raise NotFound(f"this machine does not know where {place!r} is", hint=f"in your own config.yaml: locations: {{{place}: URL}}")
    fs = _used.get((session.domain, place))
    if fs is None:
        with far_errors("reach", url):
            fs = make_filesystem(split_protocol(url)[0] or "file", **_options(session, place))
    return ground_of(fs), _root(url, local=isinstance(innermost(fs), LocalFileSystem))


def shown(session: Session, place: str, key: str) -> str:
    """Return the URL to read a location by."""
    url = roots(session.connection).get(place)
    return f"sealed::{url}/{key}" if url is not None else f"sealed:: and {key!r} below the root of {place!r}"


def is_in_folder_of_store(session: Session, location: Location) -> bool:
    """Whether a location is where a store keeps the objects of versions and scratch, which are read by name."""
    store = session.connection.stores.get(location.place or "")
    head = location.key.partition("/")[0]
    return location.place is not None and store is not None and (head == "scratch" or _is_id(head))


def _refuse_reserved(session: Session, location: Location) -> None:
    if location.key.endswith(SIDE):
        raise UsageError(f"names that end in {SIDE} are kept for signed manifests", hint="choose another name")
    if is_in_folder_of_store(session, location):
        raise UsageError(
            f"{location.key!r} is where the store {location.place!r} keeps objects of its own", hint="choose another folder"
        )


def _missing(session: Session, location: Location) -> str:
    connection = session.connection
    if connection.project.bundle().digest() != session.ask(ShowPolicy()).digest:
        return "run `hermetic policy apply`: hermetic.yaml was edited since, and its rules do not count before"
    line = rules.suggest_rule(location.key).strip()
    if location.place:
        line = f"{line.removesuffix('}')}, store: {location.place}}}"
    return f"add to `rules:` in hermetic.yaml: {line}, then `hermetic policy apply`"


def _options(session: Session, place: str) -> dict[str, Any]:
    """Return what the user's settings say of a store beyond its URL; credentials are found by the storage library itself."""
    endpoint = getattr(getattr(session.connection.stores.get(place), "settings", None), "endpoint", None)
    return {} if endpoint is None else {"endpoint_url": endpoint}


def _protocols(fs: Any) -> tuple[str, ...]:
    return (fs.protocol,) if isinstance(fs.protocol, str) else tuple(fs.protocol)


def _root(url: str, *, local: bool) -> str:
    path = str(get_filesystem_class(split_protocol(url)[0])._strip_protocol(url))  # noqa: SLF001 - fsspec's way to a path
    return (os.path.realpath(path) if local else path).rstrip("/")


def _is_id(text: str) -> bool:
    try:
        check_id(text)
    except InvalidName:
        return False
    return True


def _start_over() -> None:
    """In a forked child: clients of the parent's are the parent's."""
    _used.clear()


os.register_at_fork(after_in_child=_start_over)
