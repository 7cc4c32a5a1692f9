"""Column keys as one operation uses them: released for each file anew, and forgotten within `check` of their class.

Arrow keeps what its key service has unwrapped, by default across files. Here every data key is wrapped by itself (no double wrapping),
so that Arrow asks for each; and what custody released for one file serves that file only, which its id in the wrapped text tells.
Twenty files are twenty releases of each column key, and a revocation stops the next file.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hermetic.assets.releases import release
from hermetic.crypto.secret import Secret
from hermetic.domain.leases import boot_ms
from hermetic.errors import IntegrityError, InvalidName, NotFound, UsageError
from hermetic.formats.messages.catalogue import ShowVersion
from hermetic.ids import AssetName, Kind
from hermetic.integrations.parquet.wrapping import Place, parse, unwrap, wrap

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from hermetic.assets.releases import OpenVersion
    from hermetic.assets.session import Session
    from hermetic.ids import Purpose

MEMBER = "column.key"
KEY_BYTES = 32
HELD = 64  # column keys in memory at once


@dataclass(frozen=True, slots=True)
class Opened:
    """A column key's version in memory, and what the key is called now; `until_ms` on the clock of leases."""

    name: str
    asset: str
    version: str
    number: int
    key: Secret
    until_ms: int

    def place(self, domain: str, file: str) -> Place:
        """Return what is bound to a wrap for `file`."""
        return Place(domain, self.asset, self.version, self.number, file)


def check_name(name: str) -> str:
    """Return `name` if a column key can be called so. Raises InvalidName."""
    parsed = AssetName.parse(name)
    if parsed.kind is not Kind.SECRET:
        raise InvalidName(f"{name} cannot be a column key", hint="column keys are assets of kind secret: secret/columns/NAME")
    return str(parsed)


class Keyring:
    """The column keys of one operation, for one purpose and run. Thread safe; `accept` None takes every column key of the domain."""

    def __init__(
        self,
        session: Session,
        *,
        purpose: Purpose | str | None,
        run: str | None,
        accept: frozenset[str] | None = None,
        clock: Callable[[], int] = boot_ms,
    ) -> None:
        self._session, self._purpose, self._accept, self._clock = session, purpose, accept, clock
        self._run = session.run_for(run)
        self._held: OrderedDict[tuple[str, str], Opened] = OrderedDict()
        self._lock = threading.Lock()

    def wrap(self, parquet_key: bytes, name: str, file: str) -> str:
        """Wrap a key of `file` under the latest version of a column key. Raises what a release raises, and UsageError."""
        opened = self._opened((file, name), lambda: self._release(check_name(name)))
        return wrap(opened.key, parquet_key, opened.place(self._session.domain, file))

    def unwrap(self, wrapped: str, name: str) -> bytes:
        """Return a key of a file. Raises what a release raises, and IntegrityError's tree."""
        opened, place, sealed = self._of(wrapped, name)
        return unwrap(opened.key, place, sealed)

    def rewrap(self, wrapped: str, name: str, file: str) -> tuple[str, str]:
        """Return (the same key wrapped under the latest version, what the column key is called now)."""
        before, place, sealed = self._of(wrapped, name)
        parquet_key = unwrap(before.key, place, sealed)
        latest = self._opened((file, before.name), lambda: self._release(before.name))
        again = wrap(latest.key, parquet_key, latest.place(self._session.domain, file))
        if unwrap(latest.key, *parse(again)) != parquet_key:
            raise IntegrityError("a key that was wrapped anew does not open as it was")
        return again, latest.name

    def _of(self, wrapped: str, name: str) -> tuple[Opened, Place, bytes]:
        place, sealed = parse(wrapped)
        if place.domain != self._session.domain:
            raise IntegrityError("the file was encrypted in another domain", hint="read it in a project of that domain")
        opened = self._opened((place.file, place.version), lambda: self._exactly(check_name(name), place))
        if self._accept is not None and opened.name not in self._accept:  # what it is called in the file proves nothing
            raise IntegrityError(
                f"the file is encrypted under {opened.name}, which this reader does not accept",
                hint=f"it accepts {', '.join(sorted(self._accept))}; somebody may have put another file in this place",
            )
        return opened, place, sealed

    def release(self, names: Iterable[str]) -> None:
        """Ask for column keys before a version is begun that is written under them, so that it has at least their class."""
        for name in names:
            self._release(check_name(name))

    def close(self) -> None:
        """Forget the column keys. Each wipes itself once no other thread is in the middle of using it."""
        with self._lock:
            self._held.clear()

    def _opened(self, which: tuple[str, str], ask: Callable[[], Opened]) -> Opened:
        with self._lock:
            held = self._held.pop(which, None)
            if held is None or self._clock() >= held.until_ms:
                held = ask()
            self._held[which] = held
            while len(self._held) > HELD:
                self._held.popitem(last=False)
            return held

    def _exactly(self, name: str, place: Place) -> Opened:
        """Release the version that a wrap names, found by its asset's id: another secret may go by the old name now."""
        opened = self._release(f"{self._name_of(place, name)}@{place.number}")
        if (opened.asset, opened.version) != (place.asset, place.version):
            raise IntegrityError(f"{name}@{place.number} is not the key version that wrapped this file's key")
        return opened

    def _name_of(self, place: Place, name: str) -> str:
        """Return what the secret is called now: nothing is released under a name that another one has taken."""
        with suppress(NotFound):
            if self._session.ask(ShowVersion(f"{name}@{place.number}")).asset == place.asset:
                return name
        for row in self._session.listed(f"{Kind.SECRET.value}/**"):
            if row.asset == place.asset:
                return check_name(row.name)
        raise NotFound(f"the column key {name} of this file is not in this domain", hint="`hermetic ls 'secret/**'` lists what is")

    def _release(self, ref: str) -> Opened:
        asked_ms = self._clock()
        (version,) = release(self._session, (ref,), purpose=self._purpose, run=self._run)
        with version:
            released = version.released
            until_ms = asked_ms + released.lease.check_ms
            return Opened(released.name, released.asset, released.version, released.number, _read(version), until_ms)


def _read(version: OpenVersion) -> Secret:
    members = version.members
    if [(member.path, member.length) for member in members] != [(MEMBER, KEY_BYTES)]:
        raise UsageError(f"{version.ref} is no column key", hint="make one: ColumnKeys(h).create('secret/columns/NAME')")
    buffer = bytearray(KEY_BYTES)
    with version.reader(members[0]) as reader:
        if reader.readinto_at(0, memoryview(buffer)) != KEY_BYTES:
            raise IntegrityError(f"{version.ref} is shorter than it was sealed")
    key = Secret(buffer)
    buffer[:] = bytes(KEY_BYTES)
    return key
