"""Packages: a version as one signed file for named people, and such a file opened into this domain.

Making one copies sealed objects as they are, each checked against the signed manifest, behind a head that custody signed. Opening one
verifies everything (`domain.packages`), decrypts in memory and seals anew under this domain's own keys: no plaintext on disk, and
nothing of the sender's keys stays.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self, TypeAlias

from hermetic.assets.resealing import copy_member
from hermetic.assets.sealing import Terms, begin, summary
from hermetic.assets.session import now_ms
from hermetic.assets.staging import object_key
from hermetic.domain import packages, verify
from hermetic.errors import Conflict, FormatError
from hermetic.formats.messages.catalogue import ShowVersion
from hermetic.formats.messages.packages import Shared, ShareVersion
from hermetic.formats.package import PREFIX, Head, head_length, parse_head
from hermetic.sealed.copying import copy_verified
from hermetic.sealed.reader import ObjectReader
from hermetic.stores.base import read_fully, translated, write_fully
from hermetic.stores.durable import sync_folder

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import TracebackType

    from hermetic.assets.sealing import SealedVersion
    from hermetic.assets.session import Session
    from hermetic.crypto.hpke import PrivateKey
    from hermetic.domain.packages import OpenedPackage, Sender
    from hermetic.formats.manifest import Manifest
    from hermetic.formats.messages.packages import RecipientKey

_REQUEST = 1024 * 1024

Wanted: TypeAlias = "tuple[str | None, str | None, str | None]"  # name, class, owner


@dataclass(frozen=True, slots=True)
class Packaged:
    """A package that was just made; `size` in bytes."""

    shared: Shared
    size: int


def create(session: Session, ref: str, recipients: Sequence[RecipientKey], target: Path, *, days: int, reason: str) -> Packaged:
    """Write a version to the new file `target` for `recipients`, good for `days`; the reason goes on record.

    Raises Conflict (the file exists), PolicyDenied, ApprovalNeeded, KeyUnusable, IntegrityError, StorageError; then no file is left.
    """
    if target.exists() or target.is_symlink():
        raise Conflict(f"{target} exists", hint="name a new file")
    details = session.ask(ShowVersion(ref))
    shared = session.ask(ShareVersion(details.ref, details.version, tuple(recipients), days, reason))
    manifest = verify.verify_pinned(shared.manifest, session.connection.pins)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        with translated("write", str(target)):
            fd = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            size = _write(session, fd, shared, manifest)
        finally:
            os.close(fd)
        with translated("write", str(target)):
            os.link(temporary, target)  # unlike a rename it replaces nothing
            sync_folder(target.parent)
    finally:
        with suppress(OSError):
            temporary.unlink()
    return Packaged(shared, size)


def open_package(
    session: Session, path: Path, who: tuple[Sender, PrivateKey], *, wanted: Wanted = (None, None, None)
) -> tuple[SealedVersion, OpenedPackage]:
    """Verify a package and seal what it holds into this domain, under the name, class and owner `wanted`, by default the sender's name
    and class. Raises as `domain.packages.open_head`, and as seal."""
    sender, private = who
    with _PackageFile(path) as file:
        opened = packages.open_head(file.head, sender, private, now_ms=now_ms())
        try:
            file.check_length(opened.manifest)
            return _reseal(session, file, opened, _terms(session, opened, wanted)), opened
        finally:
            opened.key.wipe()


def _terms(session: Session, opened: OpenedPackage, wanted: Wanted) -> Terms:
    """Raises Conflict where the sender's name is that of an asset here: its readers would get the sender's bytes."""
    name, data_class, owner = wanted
    openings = opened.openings
    if name is None and any(row.latest and row.name == openings.name.value for row in session.listed()):
        raise Conflict(f"there is a {openings.name.value} here", hint="--as NAME: say which asset it becomes, that one or another")
    return Terms(name=name or openings.name.value, data_class=data_class or openings.data_class.value, owner=owner, parents=())


def _write(session: Session, fd: int, shared: Shared, manifest: Manifest) -> int:
    head = Head(shared.statement, shared.manifest, shared.messages).encode()
    with translated("write", "the package"):
        write_fully(fd, memoryview(head))
    at, store = len(head), session.store(shared.store)
    for item in manifest.objects:
        with store.open(object_key(item.version, item.index)) as source:
            at += copy_verified(source, item, _Part(fd, at))
    with translated("write", "the package"):
        os.fsync(fd)
    return at


def _reseal(session: Session, file: _PackageFile, opened: OpenedPackage, terms: Terms) -> SealedVersion:
    with begin(session, terms) as draft:
        at = file.start
        for item in opened.manifest.objects:
            with ObjectReader(_Slice(file.fd, at, item.length), opened.key, item) as reader:
                copy_member(reader, draft)
            at += item.length
        labels = (("package", opened.statement.package), ("package-domain", opened.statement.domain))
        return summary(draft, draft.publish(labels=labels), ())


class _PackageFile:
    """A package open for reading; only its head has been read."""

    def __init__(self, path: Path) -> None:
        with translated("open", str(path)):
            self.fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            self.size = os.fstat(self.fd).st_size
            length = head_length(self._read(0, PREFIX), self.size)
            self.head, self.start = parse_head(self._read(PREFIX, length)), PREFIX + length
        except BaseException:
            os.close(self.fd)
            raise

    def _read(self, offset: int, length: int) -> bytes:
        raw = bytearray(min(length, self.size))
        with translated("read", "the package"):
            count = read_fully(self.fd, offset, memoryview(raw))
        return bytes(raw[:count])

    def check_length(self, manifest: Manifest) -> None:
        """Raise FormatError unless the file ends where its last object does."""
        if self.start + sum(item.length for item in manifest.objects) != self.size:
            raise FormatError("the package is longer or shorter than its manifest says", hint="fetch it again")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        os.close(self.fd)


class _Slice:
    """One object within the package, as a RangeSource; the descriptor stays the package's."""

    def __init__(self, fd: int, start: int, size: int) -> None:
        self._fd, self._start, self.size = fd, start, size
        self.request_size = _REQUEST

    def readinto_at(self, offset: int, buffer: memoryview | bytearray) -> int:
        view = memoryview(buffer).cast("B")[: max(0, self.size - offset)]
        with translated("read", "the package"):
            return read_fully(self._fd, self._start + offset, view)

    def close(self) -> None:
        """Nothing: the descriptor is the package's."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Part:
    """Where one object goes within the package, as an Output."""

    def __init__(self, fd: int, start: int) -> None:
        self._fd, self._start = fd, start

    def reserve(self, length: int | None) -> None:
        """Nothing to prepare."""

    def write_at(self, view: memoryview, offset: int) -> None:
        done = 0
        with translated("write", "the package"):
            while done < view.nbytes:
                done += os.pwrite(self._fd, view[done:], self._start + offset + done)

    def begin_writeback(self, start: int, end: int) -> None:
        """Promises nothing."""

    def discard(self) -> None:
        """The whole file is given up by whoever made it."""
