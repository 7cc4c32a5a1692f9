"""OpenBao's audit files as a record of one root, for `hermetic log reconcile`: uses, logins, changes, damage, and the time covered.

Files are those of one file audit device, older ones first; rotation cuts them between lines. A use is what was answered without an
error, also where the answer shows nothing: one that is held for somebody to collect (response wrapping) gives its plaintext later. An
operation on the key that this reader does not know counts as a use by its own name, which no log of ours explains.

What leads around it, and is told as a change: `config` of the key (exportable, plaintext backup: grave), deleting, trimming,
importing and restoring it, moving its mount, the audit devices, `sys/raw`. Rotation of the key by its administrator is none. What is
not seen: the storage of the server, its memory, snapshots with the unseal keys.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from hermetic.audit.recorded import Recorded, Unreadable, text
from hermetic.providers import openbao_audit
from hermetic.providers.openbao_audit import Damage

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from hermetic.audit.recorded import Coverage, What
    from hermetic.providers.openbao_audit import Line

BACK_MS: Final = 60_000  # how far back time may go between two lines: several requests are written at once, and clocks are set
_USES: Final = {"encrypt": "wrap", "decrypt": "unwrap", "byok-export": "export"}
_NO_USE: Final = frozenset({"keys", "hmac", "verify", "hash", "random", "config", "cache-config", "wrapping_key", "restore"})
_QUIET: Final = frozenset({"", "rotate"})  # of keys/KEY: making it, which does nothing to one that is there; reading it
_SERVER: Final = ("sys/remount", "sys/raw", "sys/audit")
_GRAVE: Final = ("exportable", "allow_plaintext_backup")
_FORM: Final = (KeyError, TypeError, ValueError, AttributeError)


class AuditFiles:
    """The record of transit key MOUNT/KEY in a namespace."""

    def __init__(self, paths: Sequence[Path], coverage: Coverage, *, mount: str, key: str, namespace: str = "") -> None:
        self._paths, self._coverage = paths, coverage
        self._mount, self._key, self._namespace = mount, key, namespace.strip("/")

    def __iter__(self) -> Iterator[Recorded | Unreadable]:
        """Yield what the files say, in their order. Raises NotFound, StorageError."""
        last = 0
        for path in self._paths:
            self._coverage.files.append(str(path))
            for item in openbao_audit.lines(path):
                place = f"{path.name}, byte {item.start}"
                if isinstance(item, Damage):
                    yield Unreadable(place, item.why)
                    continue
                try:
                    at_ms = openbao_audit.time_ms(item.document)
                    found = self._of(item, at_ms, place)
                except _FORM:
                    yield Unreadable(place, "a line of an unknown form")
                    continue
                if at_ms < last - BACK_MS:
                    yield Unreadable(place, "time goes back here: lines, or files, are not in the order in which they were written")
                last = at_ms
                self._coverage.saw(at_ms)
                if found is not None:
                    yield found

    def _of(self, line: Line, at_ms: int, place: str) -> Recorded | None:
        document = line.document
        if document["type"] != "response":
            return None
        request = document["request"]
        path, where = request["path"], (request.get("namespace") or {}).get("path", "").strip("/")
        granted = not document.get("error")
        answered = (document.get("response") or {}).get("auth")
        if path.startswith("auth/") and isinstance(answered, dict) and (path.endswith("/login") or "/login/" in path):
            return _recorded(("login", "login"), document, answered, (at_ms, place, granted))
        if path.startswith(_SERVER) and request.get("operation") not in {"read", "list", "help"}:
            return _recorded(("change", path), document, document.get("auth") or {}, (at_ms, place, granted))
        head, found, rest = path.partition(f"{self._mount}/")
        parts = rest.split("/")
        if head or not found or where != self._namespace or self._key not in parts[1:]:
            return None
        return self._of_key(document, parts, (at_ms, place, granted))

    def _of_key(self, document: Mapping[str, Any], parts: list[str], when: tuple[int, str, bool]) -> Recorded | None:
        auth, operation = document.get("auth") or {}, parts[0]
        if operation not in _NO_USE:
            return _recorded(("use", _USES.get(operation, operation)), document, auth, when)
        verb = "/".join(parts[2:])
        asked = document["request"].get("operation")
        if (
            operation not in {"keys", "restore"}
            or asked in {"read", "list"}
            or (asked != "delete" and operation == "keys" and verb in _QUIET)
        ):
            return None
        data = document["request"].get("data") or {}
        opens = [name for name in _GRAVE if data.get(name) not in (None, False)]
        name = " ".join(["delete" if asked == "delete" and not verb else verb or operation, *opens])
        return _recorded(("change", name), document, auth, when, grave=bool(opens))


def _recorded(
    kind: tuple[What, str], document: Mapping[str, Any], auth: Mapping[str, Any], when: tuple[int, str, bool], *, grave: bool = False
) -> Recorded:
    """Return an entry: `kind` is what it is and which operation, `when` its time, place, and whether it was granted."""
    request = document["request"]
    items = (request.get("data") or {}).get("batch_input")
    return Recorded(
        what=kind[0],
        at_ms=when[0],
        operation=text(kind[1]),
        request=text(request.get("id")),
        who=text(auth.get("display_name")),
        identity=text(openbao_audit.identity(auth)),
        address=text(request.get("remote_address")),
        login=text(auth.get("accessor")),
        granted=when[2],
        items=len(items) if isinstance(items, list) else 1,
        place=when[1],
        grave=grave,
    )
