"""What `--mount PATH=REF` and `--mount-new PATH=NAME` ask for, and which paths something may be mounted on."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hermetic.assets.releases import SHOWN, split_member
from hermetic.errors import NotFound, UsageError
from hermetic.formats.messages.catalogue import ShowVersion
from hermetic.ids import AssetName

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hermetic.assets.session import Session

SCHEME = "hermetic://"


@dataclass(frozen=True, slots=True)
class Wish:
    """One mount as it was asked for. `ref` is a version without member, or for `new` the name of an asset."""

    path: Path
    ref: str
    member: str | None
    new: bool = False

    @property
    def is_file(self) -> bool:
        """Whether the mount is one file, not a folder."""
        return self.member is not None


def reading(text: str) -> Wish:
    """Read PATH=REF. Raises UsageError, InvalidName."""
    path, ref = _split(text, "--mount data=dataset/patients")
    bare, member = split_member(ref, None)
    return Wish(_absolute(path), bare, member)


def writing(text: str) -> Wish:
    """Read PATH=NAME. Raises UsageError, InvalidName."""
    path, name = _split(text, "--mount-new out=features/training")
    if "@" in name:
        raise UsageError(
            f"{name!r} names a version, and versions never change", hint="leave out the number: writing makes the next one"
        )
    return Wish(_absolute(path), str(AssetName.parse(name)), None, new=True)


def _split(text: str, example: str) -> tuple[str, str]:
    path, equals, ref = text.partition("=")
    if not (path and equals and ref):
        raise UsageError(f"{text!r} does not say what is mounted where", hint=f"write {example}")
    return path, ref.removeprefix(SCHEME)


def _absolute(path: str) -> Path:
    """Return a path without links, seen from the working directory."""
    return Path(os.path.realpath(path))


def check(session: Session, wishes: Sequence[Wish]) -> tuple[str, ...]:
    """Refuse what must not be covered; return a sentence for each place whose content the command will not see.

    Raises UsageError.
    """
    for at, wish in enumerate(wishes):
        _check_kind(wish)
        _check_place(session, wish.path)
        for other in wishes[:at]:
            if wish.new and other.new and wish.ref == other.ref:
                raise UsageError(f"{wish.ref} is written by two mounts", hint="one folder becomes one version; name two assets")
            if wish.path == other.path:
                raise UsageError(f"{str(wish.path)!r} is mounted twice", hint="one version at one path; name a second folder")
            if wish.path.is_relative_to(other.path) or other.path.is_relative_to(wish.path):
                raise UsageError(
                    f"{str(wish.path)!r} and {str(other.path)!r} lie in each other", hint="mount beside each other, not inside"
                )
    return tuple(filter(None, map(_covered, wishes)))


def _check_kind(wish: Wish) -> None:
    if wish.path.exists() and wish.path.is_dir() == wish.is_file:
        is_there, wanted = ("a folder", "one file") if wish.is_file else ("a file", "a version, which is a folder")
        hint = "name another path" if wish.is_file else f"name a folder, or one file of the version: {wish.ref}@latest/MEMBER"
        raise UsageError(f"{str(wish.path)!r} is {is_there}, and {wish.ref} would be mounted there as {wanted}", hint=hint)


def _check_place(session: Session, path: Path) -> None:
    root = Path(os.path.realpath(session.connection.project.root))
    closed = [Path(os.path.realpath(folder)) for folder in session.closed_folders()]
    for own in (*closed, root / "hermetic.yaml", root / "policies"):
        if path.is_relative_to(own):
            raise UsageError(
                f"{str(path)!r} lies where Hermetic keeps its own files", hint="mount in another folder, for example data"
            )
    for needed in (*closed, root, Path.cwd(), Path("/proc"), Path("/dev"), Path("/sys")):
        if needed.is_relative_to(path):
            raise UsageError(
                f"mounting on {str(path)!r} would cover {str(needed)!r}", hint="mount in a folder of its own, for example data"
            )


def _covered(wish: Wish) -> str | None:
    if wish.is_file:
        held = wish.path.is_file() and wish.path.stat().st_size > 0
    else:
        held = wish.path.is_dir() and any(True for _ in os.scandir(wish.path))
    return f"what lies in {str(wish.path)!r} stays there, and the command does not see it" if held else None


def check_exist(session: Session, wishes: Sequence[Wish]) -> None:
    """Refuse versions and members that do not exist, before a run is on record. Raises NotFound, PolicyDenied."""
    for wish in wishes:
        if wish.new:
            continue
        details = session.ask(ShowVersion(wish.ref))
        if wish.member is not None and all(member.path != wish.member for member in details.members):
            names = ", ".join(sorted(member.path for member in details.members)[:SHOWN])
            raise NotFound(f"{wish.ref} has no member {wish.member!r}", hint=f"it has {names}")
