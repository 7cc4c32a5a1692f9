"""Unlocked roots in the kernel's user keyring: there for every process of this user, gone at the deadline, at `lock`, at reboot.

    description   hermetic:<domain id>:<root id>, type `user`, in the user keyring (@u)
    permissions   possessor and user, nothing for group and others
    payload       "HKR" 01 || deadline, milliseconds since boot (8, big endian) || deadline, Unix milliseconds (8) || root (32)

The key is made in the thread keyring, given its timeout and permissions there, and only then linked to the user keyring: no moment
exists at which other processes find it without an expiry, and a crash in between leaves nothing. A link replaces an older key of the
same description, which is revoked; of two unlocks the later one counts.

The kernel counts its timeout on the clock that administrators can set back; the deadline in the payload counts on CLOCK_BOOTTIME and
is checked at every read. The earlier of the two ends it.
"""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from hermetic.crypto.secret import Secret
from hermetic.errors import FormatError, KeyServiceUnavailable, Locked, UsageError
from hermetic.ids import DomainId
from hermetic.keys.provider import RootId
from hermetic.providers import keyctl
from hermetic.providers.place import boot_ms

if TYPE_CHECKING:
    from collections.abc import Callable

    from hermetic.providers.place import Place

MAXIMUM_SECONDS: Final = 30 * 24 * 3600
_MARKER: Final = b"HKR\x01"
_ROOT: Final = 32
_LENGTH: Final = len(_MARKER) + 8 + 8 + _ROOT
_DESCRIPTION: Final = re.compile(r"hermetic:([a-z2-7]{26}):([a-z2-7]{26})")


@dataclass(frozen=True, slots=True)
class UnlockedRoot:
    """A root that is open now, and until when (Unix milliseconds)."""

    domain: DomainId
    root_id: RootId
    expires_ms: int


def store(place: Place, root: Secret, seconds: int) -> UnlockedRoot:
    """Put a root there for `seconds` (1 s to 30 days). Raises UsageError, Unsupported, KeyServiceUnavailable."""
    if not 1 <= seconds <= MAXIMUM_SECONDS:
        raise UsageError("a root is unlocked for 1 second to 30 days", hint="`hermetic unlock --for 8h`")
    if len(root) != _ROOT:
        raise UsageError(f"a root has {_ROOT} bytes")
    expires_ms = place.wall() + seconds * 1000
    deadlines = (place.boot() + seconds * 1000).to_bytes(8, "big") + expires_ms.to_bytes(8, "big")
    payload = bytearray(_MARKER + deadlines + root.view())
    try:
        serial = keyctl.add(_description(place), payload, keyctl.THREAD_KEYRING)
    finally:
        payload[:] = bytes(len(payload))
    try:
        keyctl.set_timeout(serial, seconds)
        keyctl.set_permissions(serial, keyctl.POSSESSOR_AND_USER)
        older = _serial(place)
        keyctl.link(serial, keyctl.USER_KEYRING)
        if older is not None:
            with contextlib.suppress(keyctl.KeyGone):
                keyctl.revoke(older)
    finally:
        keyctl.unlink(serial, keyctl.THREAD_KEYRING)
    return UnlockedRoot(place.domain, place.root_id, expires_ms)


def load(place: Place) -> Secret:
    """Return the root. Raises Locked when it is not there or its time is over, FormatError for a payload that is not ours."""
    found = _find(place)
    if found is None:
        raise Locked(f"root {place.root_id} is locked", hint="hermetic unlock")
    return found[1]


def expiry(place: Place) -> int | None:
    """Return when it locks itself (Unix milliseconds), None when it is locked."""
    found = _find(place)
    return None if found is None else found[0]


def remove(place: Place) -> bool:
    """Revoke the key, then take it out. Returns whether there was one."""
    serial = _serial(place)
    if serial is None:
        return False
    try:
        keyctl.revoke(serial)
    except keyctl.KeyGone:
        return False
    with contextlib.suppress(KeyServiceUnavailable):  # somebody else unlinked it, or put a new one in its place
        keyctl.unlink(serial, keyctl.USER_KEYRING)
    return True


def unlocked(boot: Callable[[], int] = boot_ms) -> list[UnlockedRoot]:
    """Return what this user has unlocked, of every domain, in order of expiry."""
    found = [_describe(serial, boot()) for serial in keyctl.members(keyctl.USER_KEYRING)]
    return sorted((root for root in found if root), key=lambda root: (root.expires_ms, root.root_id))


def _describe(serial: int, now: int) -> UnlockedRoot | None:
    """Return the root behind one key of the user keyring, None for anybody else's key and for one that has just gone."""
    try:
        match = _DESCRIPTION.fullmatch(keyctl.description(serial))
        if not match:
            return None
        until, expires_ms, _ = _parse(keyctl.read(serial, _LENGTH + 1))
    except (KeyServiceUnavailable, FormatError):
        return None
    return UnlockedRoot(DomainId(match[1]), RootId(match[2]), expires_ms) if now < until else None


def _find(place: Place) -> tuple[int, Secret] | None:
    serial = _serial(place)
    if serial is None:
        return None
    try:
        payload = keyctl.read(serial, _LENGTH + 1)
    except keyctl.KeyGone:
        return None
    until, expires_ms, root = _parse(payload)
    return (expires_ms, root) if place.boot() < until else None


def _serial(place: Place) -> int | None:
    try:
        return keyctl.search(keyctl.USER_KEYRING, _description(place))
    except keyctl.KeyGone:
        return None


def _parse(payload: bytearray) -> tuple[int, int, Secret]:
    """Return (milliseconds since boot, Unix milliseconds, root) and wipe the payload."""
    try:
        if len(payload) != _LENGTH or not payload.startswith(_MARKER):
            raise FormatError("the kernel keyring holds something else under the name of this root", hint="hermetic lock, then unlock")
        return int.from_bytes(payload[4:12], "big"), int.from_bytes(payload[12:20], "big"), Secret(payload[20:])
    finally:
        payload[:] = bytes(len(payload))


def _description(place: Place) -> str:
    return f"hermetic:{place.domain}:{place.root_id}"
