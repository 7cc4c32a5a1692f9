"""Shares of a recovery key, and the files that people may keep them in.

A share file holds the words of one share and nothing else, mode 0600. Files are written only when somebody asks for them, never into
the project, the custody home or the backup place: a share beside what it helps to open is none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermetic.crypto import slip39
from hermetic.crypto.hpke import PrivateKey
from hermetic.crypto.secret import Secret
from hermetic.domain.home import private_folder
from hermetic.errors import UsageError, WrongKey
from hermetic.providers import private_file
from hermetic.steps import reached

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from hermetic.crypto.slip39 import Share
    from hermetic.domain.connect import Connection


def split(private: PrivateKey, count: int, threshold: int) -> list[Share]:
    """Split a private key into shares. Raises UsageError, Unsupported without the extra `recovery`."""
    seed = private.seed()
    try:
        return slip39.split(seed, count, threshold)
    finally:
        seed.wipe()


def joined(shares: Sequence[Share]) -> PrivateKey:
    """Return the private key that shares give back. Raises UsageError (too few, another set), Conflict (one twice), WrongKey."""
    seed = slip39.combine(shares)
    try:
        return PrivateKey(seed)
    finally:
        seed.wipe()


def check(shares: Sequence[Share], private: PrivateKey) -> None:
    """See that these shares give this key back. Raises as `joined`, and WrongKey for another key."""
    again = joined(shares)
    same = again.public == private.public
    again.wipe()
    if not same:
        raise WrongKey("the shares give another key back than they were made of", hint="nothing was changed: begin again")


def read(path: Path) -> Share:
    """Read a share file. Raises NotFound, IntegrityError (others may read it), UsageError that says which word is wrong."""
    return slip39.parse(Secret(bytearray(private_file.read(path, slip39.LIMIT))), str(path))


def write(connection: Connection, folder: Path, shares: Sequence[Share]) -> list[Path]:
    """Write each share into a file of its own, and read them back. Raises UsageError for a folder that will not do, Conflict."""
    _must_be_elsewhere(connection, folder)
    private_folder(folder)
    paths = [folder / f"share-{share.number}-of-{len(shares)}.txt" for share in shares]
    for path, share in zip(paths, shares, strict=True):
        private_file.write(path, bytes(share.words.view()) + b"\n", replace=False)
        reached("recovery.share.written")
    for path, share in zip(paths, shares, strict=True):
        if not read(path).words.same_as(share.words):
            raise WrongKey(f"{path} does not hold what was written there", hint="nothing was changed: use another disk")
    return paths


def _must_be_elsewhere(connection: Connection, folder: Path) -> None:
    near = {"project": connection.project.root, "custody home": connection.home.data, "settings folder": connection.home.config}
    if connection.config.backup_place is not None:
        near["backup place"] = connection.config.backup_place
    for name, place in near.items():
        if folder.resolve().is_relative_to(place.resolve()):
            raise UsageError(f"{folder} lies in the {name}", hint="a share beside what it helps to open is none: choose another disk")
