"""Workspace: everything a user does with assets, on one connection.

    h = hermetic.connect()
    v = h.seal("patients.parquet", name="dataset/patients", data_class="restricted", owner="ana")
    with h.open("dataset/patients", purpose="prepare") as file: ...
    with h.run("train", purpose="train"): ...

References are `kind/name` (the latest version), `kind/name@3`, and `kind/name@3/member`. Purposes, classes and environments may be
given as words. Every method raises from `hermetic.errors` only. A workspace may be used by several threads; after fork the child's
first use connects anew.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Self

from hermetic import assets
from hermetic.assets import piping, releases
from hermetic.assets.checkpoint_methods import CheckpointMethods
from hermetic.assets.current import note_change, note_renamed
from hermetic.assets.opening import MemberFile
from hermetic.assets.promotion_methods import PromotionMethods
from hermetic.assets.run_methods import RunMethods
from hermetic.assets.session import Session, word
from hermetic.assets.tensors.facade import TensorMethods
from hermetic.domain.connect import ANEW
from hermetic.domain.connect import connect as open_connection
from hermetic.domain.listing import every, list_assets
from hermetic.errors import HermeticError, UsageError
from hermetic.formats import messages
from hermetic.formats.subjects import as_labels
from hermetic.ids import AssetName, DataClass, Environment, Purpose

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager
    from types import TracebackType

    from hermetic.assets.checking import Verified
    from hermetic.assets.garbage import Collected
    from hermetic.assets.releases import OpenVersion
    from hermetic.assets.sealing import SealedVersion, Source, Terms
    from hermetic.assets.writing import AssetWriter
    from hermetic.crypto.secret import Secret
    from hermetic.domain.connect import Connection
    from hermetic.formats.messages.base import Approval, Receipt
    from hermetic.formats.messages.catalogue import AssetRow, ExposureRow, Lineage, VersionDetails
    from hermetic.formats.messages.versions import Member

    PathLike = str | os.PathLike[str]


def connect(
    start: PathLike | None = None,
    *,
    purpose: Purpose | str | None = None,
    environment: Environment | str | None = None,
    ask_passphrase: Callable[[], Secret] | None = None,
) -> Workspace:
    """Return a workspace on the domain of the project around `start` (default: the working directory), or of HERMETIC_URL.

    `purpose` is declared wherever a call says none and no run is current. `environment` is the one to work in: names mean what goes by
    them there, and nothing of another environment is released; by default HERMETIC_ENVIRONMENT, else what hermetic.yaml says.
    `ask_passphrase` is called when the root is locked; without
    it a locked root raises Locked. Raises NotFound outside a project, Denied for a project that is not the user's.
    """
    chosen = word(Purpose, purpose) if purpose else None
    place = None if start is None else Path(start)
    works = word(Environment, environment) if environment else None
    connection = open_connection(place, ask_passphrase=ask_passphrase)
    connection.environment = works or connection.environment
    return Workspace(connection, purpose=chosen)


class Workspace(TensorMethods, CheckpointMethods, RunMethods, PromotionMethods):
    """A connection as users see it. `purpose` is what calls declare that neither say one nor belong to a run."""

    def __init__(self, connection: Connection, *, purpose: Purpose | str | None = None) -> None:
        self.session = Session(connection, word(Purpose, purpose) if purpose else None)

    def __repr__(self) -> str:
        connected = repr(self.connection).removeprefix("<Connection").removesuffix(">")
        return f"<Workspace{connected}{f', for {self.session.purpose}' if self.session.purpose else ''}>"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise UsageError("a workspace cannot be passed to another process, or copied: its keys are this one's", hint=ANEW)

    @property
    def connection(self) -> Connection:
        """The connection, for rooms that ask custody themselves."""
        return self.session.connection

    def close(self) -> None:
        """Give back every lease and close the connection."""
        self.connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            self.close()
        except HermeticError as late:
            if error is None:
                raise
            error.add_note(f"and the workspace could not be closed: {late.message}")  # what was on its way says more

    # seal

    def seal(  # noqa: PLR0913 - what a version can be told, all by keyword
        self,
        source: Source,
        *,
        name: str | None = None,
        data_class: DataClass | str | None = None,
        owner: str | None = None,
        project: str | None = None,
        environment: Environment | str | None = None,
        purpose: Purpose | str | None = None,
        run: str | None = None,
        parents: Sequence[str] | None = None,
        labels: Sequence[tuple[str, ...]] = (),
        subjects: Sequence[str] = (),
        decision: str | None = None,
        retention_days: int | None = None,
        member: str | None = None,
        remove_original: bool = False,
        approvals: Sequence[Approval] = (),
    ) -> SealedVersion:
        """Publish a file, a folder (every regular file in it), bytes or a binary stream as a new version.

        What is not said comes from `rules:`, from the asset as it is, or from custody's defaults. The original stays, unless
        `remove_original`: then the sealed copy is read back and compared first. On any error nothing is left.

        `subjects` are those whose data it holds; `hermetic key shred --subject` finds it by them.

        `parents` are references of what it was made of. By default that is what the run has read; outside any run, for bytes and
        streams, what this process has read. The class is at least theirs, unless there is a `decision`. Pass () for what was made of
        none of it.

        Raises UsageError for links, FIFOs, devices, sockets, empty folders and the store itself; Conflict for input that changes
        while it is sealed; PolicyDenied, ApprovalNeeded, StorageError.
        """
        terms = assets.sealing.Terms(
            name=name,
            data_class=data_class,
            owner=owner,
            project=project,
            environment=environment,
            purpose=purpose,
            run=run,
            parents=None if parents is None else tuple(parents),
            labels=(*labels, *as_labels(subjects)),
            decision=decision,
            retention_days=retention_days,
            approvals=tuple(approvals),
        )
        return assets.sealing.seal(self.session, source, terms, member=member, remove_original=remove_original)

    def writer(self, name: str, *, member: str | None = None, terms: Terms | None = None) -> AssetWriter:
        """Return a context manager: a writable binary file whose content is published as a version at clean exit, else abandoned.

        `writer.version` is the SealedVersion afterwards.
        """
        chosen = assets.sealing.DEFAULT_MEMBER if member is None else member
        return assets.writing.AssetWriter(self.session, name, chosen, terms or assets.sealing.Terms())

    # open

    def open(
        self,
        ref: str,
        *,
        purpose: Purpose | str | None = None,
        run: str | None = None,
        member: str | None = None,
        approvals: Sequence[Approval] = (),
    ) -> MemberFile:
        """Return one member as a seekable binary file; each read is verified, and refused once the lease has ended.

        A version with several members needs `member` or a reference that names it. Closing the file gives the lease back.
        """
        bare, chosen = releases.split_member(ref, member)
        version = self.version(bare, purpose=purpose, run=run, approvals=approvals)
        with ExitStack() as undo:
            undo.callback(version.end)
            file = MemberFile(version, version.member(chosen), on_close=version.end)
            undo.pop_all()
        return file

    def version(
        self, ref: str, *, purpose: Purpose | str | None = None, run: str | None = None, approvals: Sequence[Approval] = ()
    ) -> OpenVersion:
        """Return a whole version, released once: `with h.version(ref) as v: v.members; v.open(path)`."""
        (version,) = releases.release(self.session, (ref,), purpose=purpose, run=run, approvals=tuple(approvals))
        return version

    def open_many(
        self, refs: Sequence[str], *, purpose: Purpose | str | None = None, run: str | None = None, approvals: Sequence[Approval] = ()
    ) -> tuple[OpenVersion, ...]:
        """Return many versions, all of them or none: released in one request with one entry in the log, more than 1,000 in several.

        Custody in another process takes 200 in one request.
        """
        return releases.release(self.session, refs, purpose=purpose, run=run, approvals=tuple(approvals))

    def memory_path(
        self,
        ref: str,
        *,
        member: str | None = None,
        purpose: Purpose | str | None = None,
        run: str | None = None,
        approvals: Sequence[Approval] = (),
    ) -> AbstractContextManager[Path]:
        """Return a context manager that gives a path for loaders which take nothing else; the content lies in memory only.

        It is a file's path for one member, a folder's for a version with several. All content is decrypted and verified first; it
        cannot be written to, and ends with the block. Raises Unsupported where the system has no files in memory, and what `open`
        raises.
        """
        return assets.in_memory.memory_path(self.session, ref, member=member, purpose=purpose, run=run, approvals=tuple(approvals))

    def load_pickle(
        self,
        ref: str,
        *,
        member: str | None = None,
        purpose: Purpose | str | None = None,
        run: str | None = None,
        approvals: Sequence[Approval] = (),
    ) -> Any:
        """Return the object that a member holds as a pickle: reading it imports only what `pickles:` of the policy in force names.

        Raises PolicyDenied for any other name, FormatError for what cannot be read, and what `open` raises.
        """
        return assets.pickles.load_pickle(self.session, ref, member=member, purpose=purpose, run=run, approvals=tuple(approvals))

    def cat(
        self,
        ref: str,
        out_fd: int,
        *,
        purpose: Purpose | str | None = None,
        run: str | None = None,
        member: str | None = None,
        approvals: Sequence[Approval] = (),
    ) -> int:
        """Write a member to a pipe or terminal; return its length in bytes. On an error a verified prefix was written.

        Raises UsageError for a regular file as output.
        """
        piping.refuse_file(out_fd)
        bare, chosen = releases.split_member(ref, member)
        with self.version(bare, purpose=purpose, run=run, approvals=approvals) as version:
            return piping.cat(version, chosen, out_fd)

    def expose(
        self,
        ref: str,
        target: PathLike,
        *,
        seconds: int,
        purpose: Purpose | str | None = None,
        run: str | None = None,
        member: str | None = None,
        approvals: Sequence[Approval] = (),
    ) -> ExposureRow:
        """Put plaintext into the new file `target`, on record and for a time; nothing is overwritten, and it is all or nothing.

        Raises Conflict if the target exists, UsageError, StorageError, and what `open` raises.
        """
        return assets.exposing.expose(
            self.session, ref, Path(target), seconds=seconds, member=member, purpose=purpose, run=run, approvals=tuple(approvals)
        )

    def end_exposure(self, path: PathLike) -> ExposureRow:
        """Remove an exposed file and record that it is gone. Unlinking does not overwrite: old blocks may live on."""
        return assets.exposing.end(self.session, Path(path))

    def exposures(self, *, ended: bool = False) -> tuple[ExposureRow, ...]:
        """Return what is exposed; with `ended` also what was."""
        return every(self.session.ask, messages.catalogue.ListExposures(ended), "exposures")

    # look

    def list(self, pattern: str | None = None, *, environment: Environment | str | None = None) -> tuple[AssetRow, ...]:
        """Return the assets whose names match a glob, in order of name."""
        chosen = word(Environment, environment) if environment else None
        return list_assets(self.session.ask, pattern, chosen)

    def show(self, ref: str, *, environment: Environment | str | None = None) -> VersionDetails:
        """Return everything about a version but its bytes and its key."""
        chosen = word(Environment, environment) if environment else None
        return self.session.ask(messages.catalogue.ShowVersion(releases.split_member(ref, None)[0], chosen))

    def members(self, ref: str) -> tuple[Member, ...]:
        """Return the files of a version, in order of name; asks for no key."""
        return tuple(sorted(self.show(ref).members, key=lambda member: member.path))

    def lineage(self, ref: str, *, descendants: bool = False) -> Lineage:
        """Return what a version was made of, or with `descendants` what was made of it."""
        return self.session.ask(messages.catalogue.TraceLineage(ref, descendants))

    def verify(self, ref: str, *, environment: Environment | str | None = None) -> Verified:
        """Check the signature and every stored byte of a version, without any key. Raises SignatureError, IntegrityError, NotFound."""
        chosen = word(Environment, environment) if environment else None
        return assets.checking.verify(self.session, releases.split_member(ref, None)[0], chosen)

    def check(self, ref: str, *, purpose: Purpose | str | None = None, run: str | None = None) -> Verified:
        """Decrypt a version to its end and throw the plaintext away. Raises what `open` and reads raise."""
        with self.version(ref, purpose=purpose, run=run) as version:
            return assets.checking.check(version)

    def recognise(self, digests: Sequence[bytes]) -> tuple[str, ...]:
        """Return for each content digest (`hermetic.sealed.content`) the version it is a copy of, or an empty text."""
        return self.session.ask(messages.versions.RecogniseDigests(tuple(digests))).refs

    # change

    def rename(self, old: str, new: str) -> None:
        """Give an asset another name of the same kind; nothing is re-encrypted. Raises Conflict, NotFound, PolicyDenied."""
        before, after = AssetName.parse(old), AssetName.parse(new)
        if before.kind != after.kind:
            raise UsageError(f"{old} and {new} are of different kinds", hint="seal it under the other kind instead")
        self.session.ask(messages.catalogue.RenameAsset(str(before), str(after)))
        note_renamed(self.session.domain, str(before), str(after))
        note_change()

    def decide(
        self,
        name: str,
        reason: str,
        *,
        owner: str | None = None,
        data_class: DataClass | str | None = None,
        retention_days: int | None = None,
    ) -> Receipt:
        """Change an asset's owner, class or retention with a reason on record."""
        chosen = word(DataClass, data_class) if data_class else None
        request = messages.catalogue.RecordDecision(name, reason, owner=owner, data_class=chosen, retention_days=retention_days)
        return self.session.ask(request).receipt

    def gc(self, *, dry_run: bool = False, older_than_ms: int | None = None) -> Collected:
        """Remove what interrupted writes left in stores; `kept` of the answer is what looks like data that custody has forgotten."""
        age_ms = assets.garbage.DEFAULT_AGE_MS if older_than_ms is None else older_than_ms
        return assets.garbage.collect_garbage(self.session, dry_run=dry_run, older_than_ms=age_ms)
