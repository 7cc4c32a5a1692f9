"""Seal a file, a folder, bytes or a stream as one new version of an asset."""

from __future__ import annotations

import io
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from hermetic.assets.current import read_as, read_so_far
from hermetic.assets.drafts import DraftVersion, Finished
from hermetic.assets.inputs import InputFile, Inputs, collect
from hermetic.assets.naming import check_store, described, placed
from hermetic.assets.originals import check_copies, remove_originals
from hermetic.assets.session import fresh_id, word
from hermetic.errors import UsageError
from hermetic.formats.messages.versions import BeginVersion
from hermetic.ids import AssetName, DataClass, Environment, Ref, check_member

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hermetic.assets.session import Session
    from hermetic.formats.messages.base import Approval, Receipt
    from hermetic.ids import Purpose

Source = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO
DEFAULT_MEMBER = "data"
PIECE = 4 * 1024 * 1024
WORKERS = 4  # files of a folder sealed at once


@dataclass(frozen=True, slots=True)
class Terms:
    """What a new version is to be; None leaves it to `rules:`, the asset as it is, or custody's defaults.

    `parents` None: what the run has read, which custody knows; outside any run what this process has read, but nothing for a file or
    folder, whose content was there before. What of them this process has read is what it has read, whatever has the name now.
    `read` are ids of versions that it is made of besides, for who knows them.
    """

    name: str | None = None
    data_class: DataClass | str | None = None
    owner: str | None = None
    project: str | None = None
    environment: Environment | str | None = None
    purpose: Purpose | str | None = None
    run: str | None = None
    parents: tuple[str, ...] | None = None
    read: tuple[str, ...] = ()
    labels: tuple[tuple[str, ...], ...] = ()
    decision: str | None = None
    retention_days: int | None = None
    purposes: tuple[Purpose, ...] | None = None
    approvals: tuple[Approval, ...] = ()
    place: str | None = None  # members are keys of plain locations there (`delivery`)


@dataclass(frozen=True, slots=True)
class SealedVersion:
    """A version that was just published. `bytes` is plaintext; `notes` are sentences for a person."""

    ref: str
    name: str
    number: int
    version: str = field(repr=False)
    data_class: DataClass
    environment: Environment
    owner: str
    bytes: int
    objects: int
    enforcement: str = field(repr=False)
    receipt: Receipt = field(repr=False)  # several lines of proof, in a notebook's answer to `h.seal(…)`
    notes: tuple[str, ...] = field(repr=False)


def seal(session: Session, source: Source, terms: Terms, *, member: str | None = None, remove_original: bool = False) -> SealedVersion:
    """Publish `source` as a new version. See Workspace.seal."""
    if isinstance(source, str | os.PathLike):
        return _seal_path(session, Path(source), terms, member=member, remove_original=remove_original)
    if remove_original:
        raise UsageError("only a file or folder that was named can be removed after sealing")
    stream = io.BytesIO(source) if isinstance(source, bytes | bytearray | memoryview) else source
    with begin(session, terms) as draft:
        writer = draft.add_member(check_member(member if member is not None else DEFAULT_MEMBER))
        try:
            for piece in _pieces(stream):
                writer.write(piece)
        except BaseException:
            writer.abort()
            raise
        writer.finish()
        return summary(draft, draft.publish(labels=terms.labels), ())


def begin(session: Session, terms: Terms, *, path: Path | None = None) -> DraftVersion:
    """Ask for a draft under `terms`, completed from `rules:` for `path` or the name. Raises UsageError without any name."""
    known = described(session, terms, path)
    name = AssetName.parse(known.name or "")
    run = session.run_for(terms.run)
    environment = _environment(session, terms, known)
    named, read = _parents(session, terms, environment or (placed(session, name) if terms.parents and run is None else None))
    if run is None or environment is not None:  # only custody knows where a run works
        check_store(session, name, environment)
    if run is None and path is None and terms.parents is None:
        read = read_so_far(session.domain)
    return DraftVersion(
        session,
        BeginVersion(
            request=fresh_id(),
            name=str(name),
            data_class=word(DataClass, known.data_class) if known.data_class else None,
            environment=environment,
            owner=known.owner,
            project=known.project,
            purpose=session.purpose_for(terms.purpose, run),
            run=run,
            parents=named,
            retention_days=terms.retention_days,
            purposes=known.purposes,
            decision=terms.decision,
            place=terms.place,
            approvals=terms.approvals,
            read=read,
        ),
    )


def _parents(session: Session, terms: Terms, environment: Environment | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the parents that only their names tell, and the ids of those that this process has read or was told."""
    named, read = list[str](), list(terms.read)
    for text in terms.parents or ():
        ref = Ref.parse(text)
        version = None if ref.number is None else read_as(session.domain, f"{ref.name}@{ref.number}", environment)
        if version is None:
            named.append(text)
        else:
            read.append(version)
    return tuple(named), tuple(dict.fromkeys(read))


def _environment(session: Session, terms: Terms, known: Terms) -> Environment | None:
    """Return what is said: for this call, else for the connection, else by the rule for the path; None leaves it to custody."""
    said = terms.environment or session.connection.environment or known.environment
    return word(Environment, said) if said else None


def summary(draft: DraftVersion, finished: Finished, notes: tuple[str, ...]) -> SealedVersion:
    """Return what the caller is told about a published draft."""
    published, facts = finished.published, draft.draft
    return SealedVersion(
        ref=published.ref,
        name=published.ref.partition("@")[0],
        number=published.number,
        version=published.version,
        data_class=facts.data_class,
        environment=facts.environment,
        owner=facts.owner,
        bytes=sum(record.plaintext_length for record in finished.records),
        objects=len(finished.records),
        enforcement=facts.enforcement,
        receipt=published.receipt,
        notes=(*finished.notes, *notes),
    )


def _seal_path(session: Session, path: Path, terms: Terms, *, member: str | None, remove_original: bool) -> SealedVersion:
    inputs = collect(path, member=member, closed=session.closed_folders())
    with begin(session, terms, path=path) as draft:
        _add_all(draft, inputs.files)
        if remove_original:
            check_copies(draft, inputs)
        finished = draft.publish(labels=terms.labels)
    notes = remove_originals(path, inputs) if remove_original else _kept(path, inputs)
    return summary(draft, finished, notes)


def _add_all(draft: DraftVersion, files: tuple[InputFile, ...]) -> None:
    """Seal files side by side: most of the time of a small one is waiting for the disk. The first error ends all."""
    if len(files) < WORKERS:
        for file in files:
            draft.add_file(file)
        return
    with ThreadPoolExecutor(WORKERS, thread_name_prefix="hermetic-seal") as pool:
        futures = [pool.submit(draft.add_file, file, threads=1) for file in files]
        try:
            for future in futures:
                future.result()
        except BaseException:
            for future in futures:
                future.cancel()
            raise


def _kept(path: Path, inputs: Inputs) -> tuple[str, ...]:
    what = "the original folder" if inputs.is_folder else "the original file"
    return (f"{what} {str(path)!r} stays where it is, in plaintext",)


def _pieces(stream: BinaryIO) -> Iterator[bytes]:
    while piece := stream.read(PIECE):
        if not isinstance(piece, bytes):
            raise UsageError("the stream gives text", hint="open it in binary mode")
        yield piece
