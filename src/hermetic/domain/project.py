"""The project folder: the nearest hermetic.yaml upwards, and the Cedar files beside it.

A file that another user planted in a parent folder must not steer this one: hermetic.yaml, `policies/` and every file in it have
to belong to the effective user, and nobody else may be able to write them. They are read once, size-limited, and what was read
is what is parsed.
"""

from __future__ import annotations

import grp
import os
import pwd
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hermetic.domain.home import PROJECT_FILE, has_project
from hermetic.errors import ConfigError, Denied, NotFound, StorageError
from hermetic.ids import DomainId, check_id
from hermetic.policy import bundle, document
from hermetic.stores.base import hint_for

if TYPE_CHECKING:
    from pathlib import Path

    from hermetic.policy.bundle import PolicyBundle
    from hermetic.policy.model import PolicyDocument

POLICIES = "policies"
FILE_LIMIT = 1024 * 1024
FILES_LIMIT = 200


@dataclass(frozen=True, slots=True)
class Project:
    """A project as its files say now; `document` is parsed and valid."""

    root: Path
    domain: DomainId
    document: PolicyDocument
    files: dict[str, bytes]

    def bundle(self) -> PolicyBundle:
        """Return the policy files as they are now, for comparison with what is in force."""
        return bundle.PolicyBundle(files=self.files)


def find_root(start: Path) -> Path:
    """Return the nearest folder from `start` upwards that holds a hermetic.yaml. Raises NotFound."""
    here = start.resolve()
    for folder in (here, *here.parents):
        if has_project(folder):
            return folder
    raise NotFound(f"no {PROJECT_FILE} in {here} or above", hint="run `hermetic init` in the project's folder")


def load(root: Path) -> Project:
    """Read the project in `root`. Raises Denied for files that are not the user's, ConfigError for wrong ones."""
    _must_be_ours(root)
    files = {PROJECT_FILE: _read(root / PROJECT_FILE)}
    folder = root / POLICIES
    if folder.is_dir():
        _must_be_ours(folder)
        names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".cedar"))
        if len(names) > FILES_LIMIT:
            raise ConfigError(f"{folder} holds more than {FILES_LIMIT} policy files")
        files |= {f"{POLICIES}/{name}": _read(folder / name) for name in names}
    parsed = document.parse(_decode(files[PROJECT_FILE], root / PROJECT_FILE), file=str(root / PROJECT_FILE))
    return Project(root=root, domain=DomainId(check_id(parsed.domain)), document=parsed, files=files)


def _read(path: Path) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror}", hint=hint_for(error)) from error
    with os.fdopen(descriptor, "rb") as file:
        facts = os.fstat(descriptor)
        if not stat.S_ISREG(facts.st_mode):
            raise ConfigError(f"{path} is not a regular file")
        _check_owner(path, facts)
        raw = file.read(FILE_LIMIT + 1)
    if len(raw) > FILE_LIMIT:
        raise ConfigError(f"{path} is over {FILE_LIMIT} bytes")
    return raw


def _decode(raw: bytes, path: Path) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise ConfigError("not UTF-8 text", file=str(path)) from None


def _must_be_ours(path: Path) -> None:
    try:
        facts = path.lstat()
    except OSError as error:
        raise StorageError(f"cannot look at {path}: {error.strerror}", hint=hint_for(error)) from error
    if stat.S_ISLNK(facts.st_mode):
        raise Denied(f"{path} is a symbolic link", hint="put the real folder in its place")
    _check_owner(path, facts)


def _check_owner(path: Path, facts: os.stat_result) -> None:
    if facts.st_uid != os.geteuid():
        raise Denied(
            f"{path} belongs to another user",
            hint="a project steers what happens in your name: it has to be yours; copy it, or `chown` it if you trust it",
        )
    writable = stat.S_IMODE(facts.st_mode)
    shared_group = writable & 0o020 and not _is_private_group(facts.st_gid)
    if writable & 0o002 or shared_group:
        raise Denied(f"others can write {path}", hint=f"chmod go-w {path}")


def _is_private_group(gid: int) -> bool:
    """Tell whether the group is the user's own (Debian's user private groups), so that a umask of 002 is no danger."""
    try:
        group, user = grp.getgrgid(gid), pwd.getpwuid(os.geteuid())
    except KeyError:
        return False
    return gid == user.pw_gid and group.gr_name == user.pw_name and not set(group.gr_mem) - {user.pw_name}
