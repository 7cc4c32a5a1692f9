"""After something was destroyed: the files are cleaned of what was overwritten, and a certificate is made about it."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from hermetic.custody import certifying, unfinished
from hermetic.custody.work import unit
from hermetic.errors import Conflict, RowTampered, StorageError
from hermetic.formats.certificate import parse_certificate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hermetic.custody.call import Call
    from hermetic.db.rows import ReadSession
    from hermetic.formats.certificate import Certificate


def certify(call: Call, made: Certificate, ids: tuple[str, ...], gone: list[bytes], *, older: bool = True) -> tuple[Certificate, str]:
    """Clean the files of what was overwritten, and make the certificate; return it and its id.

    `older` says that the same keys may have had other wraps before, under another KEK version or root.
    """
    with told_as_done("destroyed, and that is on record; its certificate waits"):
        cleaned = clean(call, gone, older=older)
        with unit(call.custodian, "custody.certificate.made", call.now_ms) as work:
            if not unfinished.is_waiting(work.session, ids):
                return _made_meanwhile(work.session, ids[0])
            whole = unfinished.settled(work.session, made, cleaned)
            certificate, _ = certifying.issue(call, work, whole, ids)
            unfinished.end(work.session, ids)
    return whole, certificate


@contextlib.contextmanager
def told_as_done(what: str) -> Iterator[None]:
    """Say of a disk that fails after the act itself that the act is done: its own error speaks of the last write only."""
    try:
        yield
    except StorageError as error:
        raise StorageError(
            f"it is {what}, since the disk failed afterwards", hint="make room: whoever connects next does the rest"
        ) from error


def _made_meanwhile(session: ReadSession, subject: str) -> tuple[Certificate, str]:
    """Return what another process made of the same: it looked after us as after a crash."""
    stored = certifying.find(session, subject)
    if stored is None:
        raise RowTampered("a certificate that was being made is gone", hint="run `hermetic log verify`")
    return parse_certificate(certifying.row_of(stored).payload), stored["id"]


def clean(call: Call, gone: list[bytes], *, older: bool) -> str:
    """Search the database's files for bytes that were overwritten; return what a certificate says of it, empty when it must wait.

    Wraps from before a rewrap are nobody's to search for: nothing knows them any more. They go with the free pages.
    """
    database = call.custodian.database
    try:
        if older or not database.searched:
            database.rebuild()
        database.scrub(gone)
    except Conflict:
        return ""
    if not database.searched:
        return certifying.TABLES_REBUILT
    return certifying.REBUILT_AND_SEARCHED if older else certifying.SEARCHED
