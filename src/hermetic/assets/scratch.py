"""Files that end with their run: sealed under the run's key, which custody destroys when the run ends.

    scratch/<run id>/files/<address>.sealed      address = HMAC-SHA-256 of the file's path under a key derived from the run key

Nobody signs a manifest for scratch. What a reader believes rests on the run key: the header with its ids is bound into the
encryption, the metadata inside names the path it was written for, and both are compared. A store writer can delete a file or put an
older one of the same run and path back, and nothing else.
"""

from __future__ import annotations

import base64
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Self

from hermetic.assets.drafts import remove_folder
from hermetic.assets.session import fresh_id
from hermetic.assets.staging import claimed_record, media_type
from hermetic.crypto.kdf import derive
from hermetic.crypto.mac import hmac_sha256
from hermetic.errors import HermeticError, IntegrityError, NotFound
from hermetic.formats.messages.runs import OpenScratch
from hermetic.formats.object_header import ObjectHeader
from hermetic.formats.object_metadata import ObjectMetadata
from hermetic.formats.suites import suite
from hermetic.ids import AssetId, DataKeyId, DomainId, ObjectId, VersionId, check_member
from hermetic.sealed.reader import ObjectReader
from hermetic.sealed.writer import ObjectWriter

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from typing_extensions import Buffer

    from hermetic.assets.session import Session
    from hermetic.domain.leases import LeasedKey
    from hermetic.formats.manifest import ManifestObject
    from hermetic.formats.messages.runs import Scratch
    from hermetic.stores.base import Store

FOLDER = "scratch"
RESERVED = ".hermetic/"  # paths that Hermetic itself uses; they lie in the folder PENDING
PENDING = "pending"
SMALL = 16 * 1024 * 1024  # bytes that `read` returns at most


class ScratchSpace:
    """The scratch of one run, for as long as the run lasts. One release however many files."""

    def __init__(self, session: Session, run: str) -> None:
        self._terms: Scratch = session.ask(OpenScratch(fresh_id(), run))
        self.run = run
        self.store: Store = session.store(self._terms.store)
        self.leased: LeasedKey = session.connection.leases.take(self._terms.lease)

    def write(self, path: str, data: Buffer, *, replace: bool = True) -> None:
        """Write a whole file. Raises Conflict if it exists and `replace` is not set."""
        with self.create(path, replace=replace) as writer:
            writer.write(data)
            writer.finish()

    def create(self, path: str, *, replace: bool = True) -> ScratchWriter:
        """Begin a file; see ScratchWriter."""
        terms = self._terms
        header = ObjectHeader(
            domain=DomainId(terms.domain),
            asset=AssetId(terms.asset),
            version=VersionId(terms.version),
            object=ObjectId(fresh_id()),
            data_key=DataKeyId(terms.lease.data_key),
            index=0,
            suite_name=suite(terms.suite).name,
        )
        return ScratchWriter(self, check_member(path), header, replace=replace)

    def reader(self, path: str) -> ObjectReader:
        """Open a file. Raises NotFound, IntegrityError, WrongKey, LeaseEnded."""
        try:
            reader = self._reader_at(self.key(path))
        except NotFound:
            raise NotFound(f"this run has no scratch file {path!r}") from None
        if reader.metadata.name != path:
            reader.close()
            raise IntegrityError("a scratch file does not lie where it was written")
        return reader

    def read(self, path: str) -> bytes:
        """Return a whole small file. Raises NotFound, IntegrityError."""
        with self.reader(path) as reader:
            buffer = bytearray(min(reader.length, SMALL + 1))
            if reader.readinto_at(0, buffer) > SMALL:
                raise IntegrityError(f"a scratch file is over {SMALL} bytes")
            return bytes(buffer)

    def paths(self, *, reserved: bool = False) -> Iterator[tuple[str, int]]:
        """Yield (path, length in bytes) of every file of the run's code, or of every `reserved` one."""
        for key, _ in self.store.list(self._area(reserved=reserved)):
            with suppress(NotFound), self._reader_at(key) as reader:
                yield reader.metadata.name, reader.length

    def delete(self, path: str) -> None:
        """Remove a file. Raises NotFound."""
        try:
            self.store.delete(self.key(path))
        except NotFound:
            raise NotFound(f"this run has no scratch file {path!r}") from None

    def key(self, path: str) -> str:
        """Return where a file lies in the store; without the run key that tells nothing about its path."""
        address = hmac_sha256(derive(self.leased.key(), "scratch-address"), path.encode())[:20]
        area = self._area(reserved=path.startswith(RESERVED))
        return f"{area}{base64.b32encode(address).decode('ascii').lower()}.sealed"

    def _area(self, *, reserved: bool) -> str:
        return f"{FOLDER}/{self.run}/{PENDING if reserved else 'files'}/"

    def end(self) -> None:
        """Wipe the key and give the lease back; the files stay until the run ends."""
        with suppress(HermeticError):
            self.leased.end()

    def remove(self) -> None:
        """Remove all files."""
        remove_folder(self.store, f"{FOLDER}/{self.run}")

    def _reader_at(self, key: str) -> ObjectReader:
        source = self.store.open(key)
        try:
            record = claimed_record(source)
            self._check_ids(record)
            return ObjectReader(source, self.leased.key(), record)
        except BaseException:
            source.close()
            raise

    def _check_ids(self, record: ManifestObject) -> None:
        found, terms = (record.domain, record.asset, record.version, record.data_key), self._terms
        if found != (terms.domain, terms.asset, terms.version, terms.lease.data_key):
            raise IntegrityError("a scratch file belongs to another run")


class ScratchWriter:
    """A scratch file being written. `finish` makes it durable; leaving the block without it leaves nothing, nor the file before."""

    def __init__(self, space: ScratchSpace, path: str, header: ObjectHeader, *, replace: bool) -> None:
        self._space, self._path, self._header, self._replace = space, path, header, replace

    def __enter__(self) -> Self:
        space, key = self._space, self._space.key(self._path)
        if self._replace:
            with suppress(NotFound):
                space.store.delete(key)
        with ExitStack() as stack:
            self._staged = stack.enter_context(space.store.stage(key))
            self._writer = ObjectWriter(self._staged, self._header, space.leased.key())
            self._stack = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.abort()

    def write(self, data: Buffer) -> int:
        """Seal more bytes. Raises LeaseEnded, StorageError."""
        self._space.leased.guard()
        return self._writer.write(data)

    def finish(self) -> None:
        """Make the file durable under its name. Raises Conflict if the name is taken meanwhile."""
        with self._stack:
            self._writer.finish(ObjectMetadata(name=self._path, media_type=media_type(self._path)))
            self._staged.commit()

    def abort(self) -> None:
        """Give the file up; after `finish` it does nothing."""
        with self._stack:
            self._writer.abort()
