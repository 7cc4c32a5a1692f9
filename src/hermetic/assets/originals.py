"""Remove a plaintext original once its sealed copy was read back and found equal.

The files are unlinked, not overwritten: on copy-on-write and log-structured file systems, on flash, in snapshots and in backups the
old blocks may live on, and no program can promise otherwise.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from hermetic.assets.inputs import open_input
from hermetic.assets.staging import expected_of, object_key
from hermetic.errors import Conflict, IntegrityError, StorageError
from hermetic.formats.suites import MIB
from hermetic.sealed.content import ContentDigest, content_digest
from hermetic.sealed.reader import ObjectReader
from hermetic.steps import reached
from hermetic.stores.base import hint_for

if TYPE_CHECKING:
    from hermetic.assets.drafts import DraftVersion
    from hermetic.assets.inputs import InputFile, Inputs
    from hermetic.formats.messages.versions import ObjectRecord


def check_copies(draft: DraftVersion, inputs: Inputs) -> None:
    """Read every sealed object of the draft back and compare it with its original. Raises IntegrityError, Conflict."""
    records = {record.member: record for record in draft.records}
    for file in inputs.files:
        record = records[file.member]
        if digest_of_copy(draft, record) != record.digest or _digest_of_original(file, record) != record.digest:
            raise IntegrityError(f"{str(file.path)!r} and its sealed copy differ", hint="nothing was removed; seal it again")


def remove_originals(path: Path, inputs: Inputs) -> tuple[str, ...]:
    """Unlink the files, sync their folders, remove folders that are empty then. Return notes; raises nothing: the version exists."""
    kept: list[str] = []
    for file in inputs.files:
        try:
            _unlink(file)
        except (OSError, Conflict) as error:
            kept.append(f"{str(file.path)!r} could not be removed and stays in plaintext: {error}")
        except StorageError as error:
            kept.append(f"{str(file.path)!r} was removed and may be back after a power cut: {error.message}")
    if inputs.is_folder:
        _remove_empty_folders(path)
    reached("seal.original.removed")
    if kept:
        return tuple(kept)
    return (f"the original {str(path)!r} was removed after its sealed copy was checked; the file system may keep old blocks of it",)


def digest_of_copy(draft: DraftVersion, record: ObjectRecord) -> bytes:
    """Return the content digest of a sealed object of a draft, read back from its store."""
    source = draft.store.open(object_key(draft.version, record.index))
    with ObjectReader(source, draft.leased.key(), expected_of(draft.draft, record)) as reader:
        digest = ContentDigest(record.algorithm)
        buffer = memoryview(bytearray(MIB))
        for piece in range(-(-reader.length // MIB)):
            count = reader.readinto_at(piece * MIB, buffer)
            digest.add(piece, buffer[:count])
        buffer[:] = bytes(MIB)
        return digest.finish(reader.length)


def _digest_of_original(file: InputFile, record: ObjectRecord) -> bytes:
    fd = open_input(file)
    try:
        if os.fstat(fd).st_size != record.plaintext_length:
            raise Conflict(
                f"{str(file.path)!r} changed while it was being sealed", hint="stop whatever writes to it, then seal it again"
            )
        return content_digest(fd, record.plaintext_length, record.algorithm)
    finally:
        os.close(fd)


def _unlink(file: InputFile) -> None:
    try:
        fd = open_input(file)
    except StorageError as error:
        raise Conflict(error.message) from error
    try:
        status = os.fstat(fd)
        if (status.st_size, status.st_mtime_ns) != (file.length, file.modified_ns):
            raise Conflict("it changed after it was sealed")
    finally:
        os.close(fd)
    folder = os.open(file.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.unlink(file.path.name, dir_fd=folder)
        try:
            os.fsync(folder)
        except OSError as error:
            raise StorageError((error.strerror or str(error)).lower(), hint=hint_for(error)) from error
    finally:
        os.close(folder)


def _remove_empty_folders(top: Path) -> None:
    for folder, _, _ in os.walk(top, topdown=False):
        with suppress(OSError):  # something else lies in it
            Path(folder).rmdir()
