"""Versions whose keys are in this process's memory.

`opened` asks custody once for any number of versions. Before any byte is believed: the manifest's signature is one of a pinned key,
its ids are those that were asked for, name and class open the commitments in it, and its number is not below what this user has
seen (`domain.verify`). What the catalogue says of a member is then compared with what was sealed into the object.
"""

from __future__ import annotations

import shlex
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Self

from hermetic.assets.current import note_read
from hermetic.assets.drafts import MANIFEST, put_manifest
from hermetic.assets.opening import MemberFile
from hermetic.assets.session import fresh_id
from hermetic.assets.staging import object_key
from hermetic.errors import HermeticError, IntegrityError, InvalidName, NotFound, PolicyDenied, UsageError
from hermetic.formats.messages.versions import OpenVersions
from hermetic.ids import Ref
from hermetic.sealed.reader import ObjectReader

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from hermetic.assets.session import Session
    from hermetic.formats.manifest import Manifest, ManifestObject
    from hermetic.formats.messages.base import Approval
    from hermetic.formats.messages.versions import ExposureTerms, Member, Opened, Released
    from hermetic.ids import Environment, Purpose
    from hermetic.stores.base import RangeSource

SHOWN = 10  # member names in an error
TOGETHER = 1000  # versions in one request
APART = 200  # the same to custody in another process, where manifests and sealed keys have to fit into a message


def release(
    session: Session,
    refs: Sequence[str],
    *,
    purpose: Purpose | str | None = None,
    run: str | None = None,
    exposure: ExposureTerms | None = None,
    approvals: tuple[Approval, ...] = (),
    environment: Environment | None = None,
    promotion: str | None = None,
) -> tuple[OpenVersion, ...]:
    """Ask for versions and return them open, in the order asked, all of them or none. `refs` name versions, not members.

    More than custody takes in one request are asked for in several, each on record by itself; when a later one is refused, what the
    earlier ones gave is given back. Unless it is for an exposure, this process counts as having read them (`current.read_so_far`).

    Raises NotFound, PolicyDenied, ApprovalNeeded, KeyUnusable, SignatureError, IntegrityError.
    """
    chosen = session.run_for(run)
    request = OpenVersions(
        request="",
        refs=(),
        purpose=session.purpose_for(purpose, chosen),
        run=chosen,
        exposure=exposure,
        approvals=approvals,
        environment=environment,
        promotion=promotion,
    )
    most = APART if session.connection.apart else TOGETHER
    versions: list[OpenVersion] = []
    try:
        for at in range(0, max(len(refs), 1), most):
            versions += _released(session, replace(request, request=fresh_id(), refs=tuple(refs[at : at + most])))
        _require_one_environment(versions)
    except BaseException:
        for version in versions:
            version.end()
        raise
    for version in versions if exposure is None else ():
        note_read(session.domain, version.released.version, (version.ref, version.released.environment))
    return tuple(versions)


def _require_one_environment(versions: Sequence[OpenVersion]) -> None:
    """Say no, as custody does within one request, to keys of several environments. Raises PolicyDenied."""
    several = sorted({version.released.environment for version in versions})
    if len(several) > 1:
        raise PolicyDenied(f"this asks for keys of {' and '.join(several)} at once", reasons=("environment",))


def _released(session: Session, request: OpenVersions) -> list[OpenVersion]:
    refs = request.refs
    try:
        opened = session.ask(request)
    except NotFound as error:
        way = _as_member(refs[0]) if len(refs) == 1 else None
        raise error if way is None else NotFound(error.message, hint="\n".join(filter(None, (way, error.hint)))) from None
    if len(opened.released) != len(refs):
        raise IntegrityError("custody answered for another number of versions than it was asked about")
    versions: list[OpenVersion] = []
    try:
        for item in opened.released:
            versions.append(OpenVersion(session, item, opened))  # noqa: PERF401 - those made so far are ended on an error
    except BaseException:
        for version in versions:
            version.end()
        raise
    return versions


class OpenVersion:
    """One version under one lease. Ends its lease when left, or by `end`."""

    def __init__(self, session: Session, released: Released, opened: Opened) -> None:
        self._session = session
        self.released, self.opened = released, opened
        self.manifest: Manifest = session.verified(released)
        self._store = session.store(released.store)
        self.leased = session.connection.leases.take(released.lease)
        self._members = {member.path: member for member in released.members}
        self._repair_manifest()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.end()

    @property
    def ref(self) -> str:
        """`kind/name@number`."""
        return f"{self.released.name}@{self.released.number}"

    @property
    def members(self) -> tuple[Member, ...]:
        """Its files, in order of name."""
        return tuple(self._members[path] for path in sorted(self._members))

    def member(self, path: str | None) -> Member:
        """Return one member; None means the only one. Raises NotFound, UsageError when there are several."""
        if path is not None:
            try:
                return self._members[path]
            except KeyError:
                raise NotFound(f"{self.ref} has no member {path!r}", hint=f"it has {self._shown()}") from None
        if len(self._members) != 1:
            raise UsageError(f"{self.ref} has {len(self._members)} members", hint=f"say which: {self._shown(of=self.ref)}")
        return next(iter(self._members.values()))

    def reader(self, member: Member, *, threads: int | None = None, source: RangeSource | None = None) -> ObjectReader:
        """Open one member's object, from `source` if it is given, which then belongs to the reader.

        Raises NotFound, WrongKey, IntegrityError, StorageError, LeaseEnded.
        """
        if not 0 <= member.index < len(self.manifest.objects):
            raise IntegrityError(f"the catalogue names object {member.index} of {self.ref}, which the signed manifest does not have")
        expected = self.manifest.objects[member.index]
        source = source or self._source(expected, member)
        try:
            reader = ObjectReader(source, self.leased.key(), expected, threads=threads)
        except BaseException:
            source.close()
            raise
        if (reader.metadata.name, reader.length) != (member.path, member.length):
            reader.close()
            raise IntegrityError(f"the catalogue and an object of {self.ref} disagree about name or length")
        return reader

    def _source(self, expected: ManifestObject, member: Member) -> RangeSource:
        try:
            return self._store.open(object_key(expected.version, expected.index))
        except NotFound:
            if self.released.place is None:
                raise NotFound(
                    f"an object of {self.ref} is missing from the store {self.released.store!r}",
                    hint="look whether this is the store that it was sealed into; if so, restore that from a copy",
                ) from None
        from hermetic.assets.delivery import open_located  # noqa: PLC0415 - only what lies at plain locations needs fsspec

        return open_located(self._session, (self.released.place, member.path), expected, self.ref)

    def open(self, path: str | None = None, *, source: RangeSource | None = None) -> MemberFile:
        """Return one member as a seekable binary file that lives no longer than this block; `source` as for `reader`."""
        return MemberFile(self, self.member(path), source=source)

    def end(self) -> None:
        """Wipe the key and give the lease back."""
        with suppress(HermeticError):  # it ends by itself when custody cannot be told
            self.leased.end()

    def _shown(self, of: str | None = None) -> str:
        """Return names of members, after a reference `of` as they can be typed."""
        names = sorted(self._members)
        shown = names[:SHOWN] if of is None else [shlex.quote(f"{of}/{name}") for name in names[:SHOWN]]
        return ", ".join(shown) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")

    def _repair_manifest(self) -> None:
        """Put a manifest back that a crash after publishing left out of the store. At plain locations each object has its own."""
        if self.released.place is not None:
            return
        with suppress(HermeticError):  # a read-only store is fine: the catalogue has the manifest
            version = self.released.lease.version
            if not self._store.exists(f"{version}/{MANIFEST}"):
                put_manifest(self._store, version, self.released.manifest)


def split_member(ref: str, member: str | None) -> tuple[str, str | None]:
    """Return (reference without member, member); the member may be part of the reference or given apart, not both."""
    try:
        parsed = Ref.parse(ref)
    except InvalidName as error:
        raise InvalidName(error.message, hint=_as_member(ref) or error.hint) from None
    if parsed.member and member is not None and member != parsed.member:
        raise UsageError("the member is named twice, and differently", hint="write it in the reference or as member=")
    return str(Ref(parsed.name, parsed.number)), parsed.member or member


def _as_member(ref: str) -> str | None:
    """Return how to write `ref` if it should be a file in a version but names no version; None if it cannot be meant so."""
    kind, _, rest = ref.removeprefix("hermetic://").partition("/")
    name, _, member = rest.partition("/")
    if "@" in ref or not member:
        return None
    return f"if that is a file in {kind}/{name}, write {shlex.quote(f'{kind}/{name}@latest/{member}')}"
