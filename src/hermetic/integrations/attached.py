"""What hermetic:// keeps of a domain in one process: a session, versions released once, and which version a name means.

One release for each (version, purpose, run), however often the files are opened. Which version a name without a number means:

    inside a run     the latest when the run first looked, until the run itself publishes another: a run reads one state
    outside          the latest each time the name itself is looked at (within a tenth of a second that is one look); its members
                     are those of the version last looked at, so that a listing and the files read after it belong together

Nothing here is shared with a forked child, and filesystem instances hold no reference to it: they pickle as options only.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hermetic.assets.current import changes, note_renamed
from hermetic.assets.naming import rule_for
from hermetic.assets.pending import RunDrafts, has_pending
from hermetic.assets.releases import OpenVersion, release
from hermetic.assets.scratch import ScratchSpace
from hermetic.errors import Conflict, IntegrityError, InvalidName, LeaseEnded, NotFound, UsageError
from hermetic.formats.messages.catalogue import RenameAsset, ShowVersion
from hermetic.ids import Ref

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hermetic.assets.opening import MemberFile
    from hermetic.assets.session import Session
    from hermetic.formats.messages.catalogue import AssetRow, VersionDetails
    from hermetic.ids import AssetName, Purpose
    from hermetic.integrations.places import Place

SAME_LOOK_NS = 100_000_000  # a library that opens a file asks about it several times in a row
_NEXT = "writing to that name makes its next version"
PENDING = 0  # number of a draft that this run has not published yet


@dataclass(frozen=True, slots=True)
class View:
    """One version as a tree of files: member to length in bytes. `number` is PENDING for what the run has not published.

    `located`: it was sealed to plain locations (`sealed::`), which its members are named after.
    """

    name: AssetName
    number: int
    version: str
    published_ms: int
    members: Mapping[str, int]
    located: bool = False

    @property
    def single(self) -> str | None:
        """The only member's path if the version is one file, None if it is a folder.

        What was sealed to plain locations is named by its location there, which says nothing of folders here.
        """
        only = next(iter(self.members)) if len(self.members) == 1 else None
        return only if only is not None and (self.located or "/" not in only) else None

    def holds(self, member: str) -> bool:
        """Whether `member` is a file or folder of it, or empty, which is the version itself."""
        return not member or member in self.members or any(path.startswith(f"{member}/") for path in self.members)


class Attached:
    """One domain as this process uses it through hermetic://. Thread safe."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.folders: set[str] = set()  # names that a mkdir has announced
        self._views: dict[tuple[str, int], View] = {}
        self._numbers: dict[tuple[str | None, str], int] = {}
        self._looked: dict[tuple[str | None, str], tuple[int, int]] = {}
        self._versions: dict[tuple[str, int, Purpose | str | None, str | None], OpenVersion] = {}
        self._drafts: dict[str, RunDrafts] = {}
        self._scratch: dict[str, ScratchSpace] = {}
        self._lock = threading.RLock()

    # looking

    def details(self, name: AssetName, number: int | None = None) -> VersionDetails | None:
        """Return what custody says about a version, None if there is no such asset or version."""
        try:
            return self.session.ask(ShowVersion(str(Ref(name, number))))
        except NotFound:
            return None

    def below(self, prefix: str) -> tuple[AssetRow, ...]:
        """Return the assets whose names start with `prefix` and a slash; all for an empty prefix."""
        rows = self.session.listed(f"{prefix}/**" if prefix else None)
        return tuple(row for row in rows if row.latest)

    def locate(self, place: Place) -> tuple[View, str] | None:
        """Return (version, member) that a path means, None if nothing of that name exists. Raises InvalidName if it means two."""
        found = []
        for name, member in place.candidates():
            view = self.view(name, place.number, refresh=not member)
            if view is not None:
                found.append((view, member))
        if len(found) < 2:
            return found[0] if found else None
        exact = [(view, member) for view, member in found if view.holds(member)]
        if len(exact) > 1:
            names = " and ".join(str(view.name) for view, _ in exact)
            raise InvalidName(f"{place.path!r} can mean a file of {names}", hint="write @latest or @NUMBER after the name")
        return exact[0] if exact else found[-1]

    def view(self, name: AssetName, number: int | None = None, *, refresh: bool = True) -> View | None:
        """Return a version's files, None if there is no such asset. Without a number see the module's text."""
        run = self.session.run_for(None)
        if number is None:
            pending = self._pending(name, run)
            if pending is not None:
                return pending
        if number is not None:
            return self._numbered(name, number)
        return self._latest(name, run, refresh=refresh)

    def _latest(self, name: AssetName, run: str | None, *, refresh: bool) -> View | None:
        key = (run, str(name))
        with self._lock:
            number, fresh = self._numbers.get(key), self._looked.get(key) == self._moment()
        if number is not None and (run is not None or not refresh or fresh):
            return self._numbered(name, number)
        moment = self._moment()
        seen = self.session.connection.pins.pins.versions  # before asking: another thread may move it on meanwhile
        details = self.details(name)
        if details is None:
            return None
        if details.number < seen.get(details.asset, 0):
            raise IntegrityError(
                f"{name} was at version {seen[details.asset]} before, and custody now calls {details.number} the latest",
                hint="the catalogue was put back to an older state: run `hermetic log verify`",
            )
        with self._lock:
            self._numbers[key], self._looked[key] = details.number, moment
        return self._remember(name, details)

    @staticmethod
    def _moment() -> tuple[int, int]:
        """Return what stays the same while a look at the latest version still counts as the same look."""
        return changes(), time.monotonic_ns() // SAME_LOOK_NS

    def _numbered(self, name: AssetName, number: int) -> View | None:
        with self._lock:
            known = self._views.get((str(name), number))
        if known is not None:
            return known
        details = self.details(name, number)
        return None if details is None else self._remember(name, details)

    def _remember(self, name: AssetName, details: VersionDetails) -> View:
        members = {member.path: member.length for member in details.members}
        view = View(name, details.number, details.version, details.published_ms, members, details.place is not None)
        with self._lock:
            self._views[str(name), details.number] = view
        return view

    def _pending(self, name: AssetName, run: str | None) -> View | None:
        if run is None or not has_pending(self.session, run):
            return None
        members = dict(self.drafts(run).members(str(name)))
        return View(name, PENDING, "", 0, members) if members else None

    # reading

    def open(self, view: View, member: str | None, purpose: Purpose | str | None) -> MemberFile:
        """Open a member, None for the only one. What this run has not published yet is published first: later steps build on it."""
        run = self.session.run_for(None)
        if view.number == PENDING and run is not None:
            self.drafts(run).publish(str(view.name))
            self.published(str(view.name))
            view = self.view(view.name) or view
        return self.released(f"{view.name}", view.number, purpose, run).open(member)

    def released(self, name: str, number: int, purpose: Purpose | str | None, run: str | None) -> OpenVersion:
        """Return a version whose keys are here, asked for once for each purpose and run. Raises what `release` raises."""
        key = (name, number, purpose, run)
        with self._lock:
            version = self._versions.get(key)
            if version is not None:
                try:
                    version.leased.guard()
                except LeaseEnded:
                    version = None
            if version is None:
                (version,) = release(self.session, (f"{name}@{number}",), purpose=purpose, run=run)
                self._versions[key] = version
            return version

    # writing

    def target(self, place: Place) -> tuple[AssetName, str]:
        """Return (name, member) to write to. Raises UsageError for a numbered version, or a new name that no rule covers."""
        if place.number is not None:
            raise UsageError(
                f"{place.path!r} names a version, and versions never change", hint="leave out the number: writing makes the next one"
            )
        candidates = place.candidates()
        known = [(name, member) for name, member in candidates if str(name) in self.folders or self.view(name) is not None]
        if known:
            chosen = known[-1]
        elif candidates and not candidates[-1][1]:
            chosen = candidates[-1]
        elif place.name is not None:
            chosen = candidates[0]
        else:
            raise InvalidName(f"{place.path!r} does not say where the name ends", hint="write hermetic://KIND/NAME@latest/MEMBER")
        self._check_known(chosen[0])
        return chosen

    def _check_known(self, name: AssetName) -> None:
        if rule_for(self.session, name) is None and self.view(name) is None:
            raise UsageError(
                f"no rule and no asset says what {name} is",
                hint=f"add to `rules:` in hermetic.yaml: - {{asset: {name}, class: confidential}}, then `hermetic policy apply`",
            )

    def announce(self, place: Place) -> None:
        """Take note that a program has made a folder: files below it will be members, not assets of their own.

        `features/x/a=1` announces features/x, the longest name in it, since a name has no `=`.
        """
        candidates = place.candidates()
        known = any(str(name) in self.folders or self.details(name) is not None for name, _ in candidates)
        if candidates and not known and not self.below(str(candidates[-1][0])):
            self.folders.add(str(candidates[-1][0]))

    def published(self, name: str) -> None:
        """Look at the latest version again: this process has just published one."""
        with self._lock:
            self._numbers.pop((self.session.run_for(None), name), None)

    def rename(self, old: AssetName, new: AssetName) -> None:
        """Give an asset another name of the same kind. Raises UsageError, NotFound, Conflict."""
        if old.kind != new.kind:
            raise UsageError(f"{old} and {new} are of different kinds", hint="seal it under the other kind instead")
        try:
            self.session.ask(RenameAsset(str(old), str(new)))
        except Conflict as error:
            raise Conflict(f"{error.message}: {_NEXT}", hint="in DuckDB: COPY … (USE_TMP_FILE false)") from None
        note_renamed(self.session.domain, str(old), str(new))
        self.refresh()

    def refresh(self) -> None:
        """Forget which versions names mean, and what they hold."""
        with self._lock:
            self._numbers.clear()
            self._looked.clear()
            self._views.clear()

    # runs

    def drafts(self, run: str) -> RunDrafts:
        """Return the run's drafts as this process writes them."""
        with self._lock:
            if run not in self._drafts:
                self._drafts[run] = RunDrafts(self.session, self.scratch(run))
            return self._drafts[run]

    def scratch(self, run: str | None = None) -> ScratchSpace:
        """Return the scratch of `run`, else of the current run. Raises UsageError outside any."""
        chosen = run or self.session.run_for(None)
        if chosen is None:
            raise UsageError("scratch belongs to runs", hint="work inside `with h.run(...)` or `hermetic run`")
        with self._lock:
            if chosen not in self._scratch:
                self._scratch[chosen] = ScratchSpace(self.session, chosen)
            return self._scratch[chosen]

    def forget(self, run: str | None) -> None:
        """Give back what was opened for a run."""
        with self._lock:
            for key in [key for key in self._versions if key[3] == run]:
                self._versions.pop(key).end()
            for name in [key for key in self._numbers if key[0] == run]:
                del self._numbers[name]
            self._drafts.pop(run or "", None)
            scratch = self._scratch.pop(run or "", None)
        if scratch is not None:
            scratch.end()

    def close(self) -> None:
        """Give everything back and close the connection, which was made here."""
        for run in {key[3] for key in self._versions} | set(self._scratch):
            self.forget(run)
        self.session.connection.close()
