"""AWS CloudTrail as a record of one root in KMS, for `hermetic log reconcile`. Built to the documented form; no live trail was read.

Takes the files that a trail delivers (`{"Records": […]}`, plain or gzip), a list of events, what `aws cloudtrail lookup-events` prints
(`{"Events": [{"CloudTrailEvent": "…"}]}`), and one event a line. `requestID` of an event is the id that the service made up for the
request, which boto3 has in `ResponseMetadata.RequestId`.

Events are about the root if they name its key, or if its root id stands in their encryption context, as it does in each request of
ours: that holds where the URI names an alias. A trail delivers within minutes, in files that overlap in time: order means nothing
here, and the newest minutes may be missing. A trail that leaves out KMS events, to save cost, shows as missing uses.

One file is held in memory, at most `FILE_LIMIT` bytes unpacked; trails deliver small ones.
"""

from __future__ import annotations

import gzip
import json
import zlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from hermetic.audit.recorded import Recorded, Unreadable, text
from hermetic.errors import NotFound, StorageError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from hermetic.audit.recorded import Coverage

FILE_LIMIT: Final = 256 << 20
_SOURCE: Final = "kms.amazonaws.com"
_USES: Final = {
    "Encrypt": "wrap",
    "Decrypt": "unwrap",
    "ReEncrypt": "rewrap",
    "GenerateDataKey": "datakey",
    "GenerateDataKeyWithoutPlaintext": "datakey",
    "GenerateDataKeyPair": "datakey",
    "GenerateDataKeyPairWithoutPlaintext": "datakey",
}
_READS: Final = ("Describe", "Get", "List", "RotateKey", "EnableKeyRotation")
_GRAVE: Final = frozenset({"PutKeyPolicy", "CreateGrant", "ReplicateKey", "UpdateAlias", "UpdatePrimaryRegion"})
_CONTEXTS: Final = ("encryptionContext", "sourceEncryptionContext", "destinationEncryptionContext")
_NAMED: Final = ("keyId", "sourceKeyId", "destinationKeyId", "targetKeyId", "aliasName")
_FORM: Final = (KeyError, TypeError, ValueError, AttributeError, OverflowError)


class Trail:
    """The record of the key `name` (a key id, or alias/NAME), and of whatever has `root` in its encryption context."""

    def __init__(self, paths: Sequence[Path], coverage: Coverage, *, name: str, root: str) -> None:
        self._paths, self._coverage = paths, coverage
        self._name, self._root = name.removeprefix("key/"), root

    def __iter__(self) -> Iterator[Recorded | Unreadable]:
        """Yield what the files say. Raises NotFound, StorageError, UsageError for a file that is too long."""
        for path in self._paths:
            self._coverage.files.append(str(path))
            number = -1
            for number, event in enumerate(_events(path)):
                place = f"{path.name}, event {number}"
                try:
                    at_ms = _time_ms(event["eventTime"])
                    found = self._of(event, at_ms, place)
                except _FORM:
                    yield Unreadable(place, "not an event of CloudTrail")
                    continue
                self._coverage.saw(at_ms)
                if found is not None:
                    yield found
            if number < 0:
                yield Unreadable(path.name, "no events of CloudTrail")

    def _of(self, event: Mapping[str, Any], at_ms: int, place: str) -> Recorded | None:
        name = event["eventName"]
        if event["eventSource"] != _SOURCE or name.startswith(_READS) or not self._concerns(event):
            return None
        who = event.get("userIdentity") or {}
        return Recorded(
            what="use" if name in _USES else "change",
            at_ms=at_ms,
            operation=text(_USES.get(name, name)),
            request=text(event.get("requestID")),
            who=text(who.get("arn") or who.get("invokedBy") or who.get("type")),
            identity=text(who.get("principalId") or who.get("arn")).partition(":")[0],
            address=text(event.get("sourceIPAddress")),
            login=text(who.get("accessKeyId")),
            granted=not event.get("errorCode"),
            place=place,
            grave=name in _GRAVE,
        )

    def _concerns(self, event: Mapping[str, Any]) -> bool:
        asked = event.get("requestParameters") or {}
        named = [asked.get(name) for name in _NAMED] + [item.get("ARN") for item in event.get("resources") or ()]
        if any(isinstance(one, str) and (one == self._name or one.endswith((f"/{self._name}", f":{self._name}"))) for one in named):
            return True
        return any((asked.get(name) or {}).get("root") == self._root for name in _CONTEXTS)


def _events(path: Path) -> Iterator[Any]:
    raw = _content(path)
    try:
        whole = json.loads(raw)
    except (ValueError, RecursionError):
        yield from _one_a_line(raw)
        return
    listed = whole.get("Records", whole.get("Events", [whole])) if isinstance(whole, dict) else whole
    for event in listed if isinstance(listed, list) else [listed]:
        inner = event.get("CloudTrailEvent") if isinstance(event, dict) else None
        yield _document(inner) if isinstance(inner, str) else event


def _one_a_line(raw: bytes) -> Iterator[Any]:
    for line in raw.splitlines():
        if line.strip():
            yield _document(line)


def _document(line: str | bytes) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as plain:
            packed = plain.read(2) == b"\x1f\x8b"
            plain.seek(0)
            with gzip.open(plain) if packed else plain as file:
                raw = bytes(file.read(FILE_LIMIT + 1))
    except FileNotFoundError:
        raise NotFound(f"{path} does not exist", hint="copy the files of the trail here") from None
    except (OSError, EOFError, zlib.error) as error:
        raise StorageError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from None
    if len(raw) > FILE_LIMIT:
        raise UsageError(f"{path} has more than {FILE_LIMIT >> 20} MiB", hint="give the files as the trail delivered them")
    return raw


def _time_ms(value: str) -> int:
    found = datetime.fromisoformat(value)
    return int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp() * 1000)
