"""KEKs as values, and reading them. Every row is authenticated by the session; here its words are checked.

Two states count. A *version* follows NIST SP 800-57 (`states`). A *KEK as a whole* is the switch for incidents, over all versions:

    whole KEK     version may wrap         version may unwrap
    active        as its own state says    as its own state says
    suspended     no                       no                               until `resume`
    deactivated   no                       only to recover or re-encrypt    what `revoke` leaves
    compromised   no                       only to recover or re-encrypt
    destroyed     no                       no
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hermetic.db import tables
from hermetic.errors import KeyUnusable, NotFound, RowTampered
from hermetic.ids import DataClass, Environment, KekId, KeyState
from hermetic.keys.provider import RootId
from hermetic.keys.states import Use, check_use
from hermetic.keys.wrap import KekContext

if TYPE_CHECKING:
    from typing import Any

    from hermetic.db.rows import ReadSession


@dataclass(frozen=True, slots=True)
class KekScope:
    """What one KEK is for: there is at most one KEK per environment, class and project."""

    environment: Environment
    data_class: DataClass
    project: str


@dataclass(frozen=True, slots=True)
class KekVersion:
    """One version of a KEK. Times are Unix milliseconds; `destroy_after_ms` is set while destruction is waiting."""

    kek_id: KekId
    number: int
    state: KeyState
    wraps: int
    created_ms: int
    updated_ms: int
    destroy_after_ms: int | None
    revision: int


@dataclass(frozen=True, slots=True)
class Kek:
    """A KEK with its versions in order of number. `epoch` rises with every change that leases must notice."""

    kek_id: KekId
    scope: KekScope
    state: KeyState
    epoch: int
    owner: str | None
    rotate_after_days: int | None
    created_ms: int
    revision: int
    versions: tuple[KekVersion, ...]

    @property
    def environment(self) -> Environment:
        """The environment it belongs to."""
        return self.scope.environment

    @property
    def data_class(self) -> DataClass:
        """The class of what it protects."""
        return self.scope.data_class

    @property
    def project(self) -> str:
        """The project it belongs to."""
        return self.scope.project

    def version(self, number: int) -> KekVersion:
        """Return one version. Raises NotFound."""
        for version in self.versions:
            if version.number == number:
                return version
        raise NotFound(f"KEK {self.kek_id} has no version {number}")

    def counting(self, number: int) -> KeyState:
        """Return the state that counts for what hangs on a version: the KEK's own unless that is active. Raises NotFound."""
        version = self.version(number)
        return version.state if self.state is KeyState.ACTIVE else self.state

    def active(self) -> KekVersion:
        """Return the version that wraps new data keys. Raises KeyUnusable."""
        for version in self.versions:
            if version.state is KeyState.ACTIVE:
                return self.check(version.number, "wrap")
        raise KeyUnusable(f"KEK {self.kek_id} has no active version", hint="`hermetic key rotate` makes one")

    def check(self, number: int, use: Use, *, recovering: bool = False) -> KekVersion:
        """Return a version if it may be used so, by the table above. Raises KeyUnusable, NotFound."""
        version = self.version(number)
        closed = self.state in {KeyState.DEACTIVATED, KeyState.COMPROMISED}
        if self.state is not KeyState.ACTIVE and not (closed and recovering and use == "unwrap"):
            words = "revoked" if self.state is KeyState.DEACTIVATED else self.state.value
            suspended = self.state is KeyState.SUSPENDED
            hint = "`hermetic key resume` ends a suspension" if suspended else "seal anew what it protects; --purpose recover opens it"
            raise KeyUnusable(f"KEK {self.kek_id} is {words}", hint=hint)
        check_use(version.state, use, recovering=recovering)
        return version

    def context(self, number: int) -> KekContext:
        """Return the wrap context of one version."""
        return KekContext(self.kek_id, number, self.environment, data_class=self.data_class, project=self.project)

    def due_ms(self) -> int | None:
        """Return when the active version should be rotated (Unix milliseconds), None for never or without an active version."""
        made = [version.created_ms for version in self.versions if version.state is KeyState.ACTIVE]
        return made[0] + self.rotate_after_days * 86_400_000 if made and self.rotate_after_days else None


def get(session: ReadSession, kek_id: KekId) -> Kek:
    """Return a KEK. Raises NotFound, RowTampered."""
    return _kek(session, session.require(tables.kek, kek_id))


def find(session: ReadSession, scope: KekScope) -> Kek | None:
    """Return the KEK of a scope, None if there is none yet. Raises RowTampered."""
    row = session.first(tables.kek, environment=scope.environment.value, data_class=scope.data_class.value, project=scope.project)
    return None if row is None else _kek(session, row)


def ls(session: ReadSession) -> list[Kek]:
    """Return all KEKs in order of id. Raises RowTampered."""
    return [_kek(session, row) for row in session.find(tables.kek)]


def slots_of(session: ReadSession, kek_id: KekId, number: int) -> dict[RootId, bytes]:
    """Return the wraps of one version by root id."""
    return {RootId(row["root_id"]): row["wrapped"] for row in session.find(tables.kek_slot, kek_id=kek_id, number=number)}


def state_of(text: str, what: str) -> KeyState:
    """Return a stored state. Raises RowTampered for a word that is none."""
    if text not in KeyState._value2member_map_:
        raise RowTampered(f"{what} has the unknown state {text!r}")
    return KeyState(text)


def _kek(session: ReadSession, row: dict[str, Any]) -> Kek:
    kek_id = KekId(row["id"])
    versions = [_version(one) for one in session.find(tables.kek_version, kek_id=kek_id)]
    return Kek(
        kek_id=kek_id,
        scope=KekScope(Environment(row["environment"]), DataClass(row["data_class"]), row["project"]),
        state=state_of(row["state"], f"KEK {kek_id}"),
        epoch=row["epoch"],
        owner=row["owner"],
        rotate_after_days=row["rotate_after_days"],
        created_ms=row["created_ms"],
        revision=row["revision"],
        versions=tuple(sorted(versions, key=lambda version: version.number)),
    )


def _version(row: dict[str, Any]) -> KekVersion:
    return KekVersion(
        kek_id=KekId(row["kek_id"]),
        number=row["number"],
        state=state_of(row["state"], f"version {row['number']} of KEK {row['kek_id']}"),
        wraps=row["wraps"],
        created_ms=row["created_ms"],
        updated_ms=row["updated_ms"],
        destroy_after_ms=row["destroy_after_ms"],
        revision=row["revision"],
    )
