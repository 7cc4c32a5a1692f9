"""What OpenBao's own audit file says of one transit key: who opened what, so that it can be compared with our log.

    for entry in read(path, mount="transit", key="hermetic"):      # Use, or Damage where the file is not what it was
        ...

The server writes the answer to the file before it sends it, so what has no answer there was not handed out: requests alone are passed
over. `Use.request` is the server's id of the request, which its answer carried too. Values are HMACs under a salt of the audit device
(`bao write sys/audit-hash/main input=…` makes the same); `Use.inputs` are those of the ciphertexts.

Memory is bounded by one line, and a line by `LINE_LIMIT`. A last line without its end may still be being written and is passed
over: read on from `Use.end` of the last entry, or from where `read` was told to start. Whatever else cannot be read is told as Damage,
never passed over: it may be where somebody took a line out. After a crash the server writes on behind half a line, which is told too.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from hermetic.errors import NotFound, StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path
    from typing import BinaryIO

LINE_LIMIT: Final = 64 << 20  # bytes; a thousand items take 400 kB
REVEALS: Final = frozenset({"decrypt", "datakey", "rewrap", "export", "backup", "byok-export"})
_BEGINS: Final = b'{"time":"'
_HIDDEN: Final = "http_raw_body"
_SHOWN: Final = ("plaintext", "ciphertext", "keys", "backup")


@dataclass(frozen=True, slots=True)
class Use:
    """One answered request about the key.

    `allowed` is what the server's policy said. `opened` counts the items that were answered with a value, 0 for a refusal; of a batch
    with a bad item, and of an answer that is held for somebody to collect (response wrapping), the server records nothing but that it
    answered, so all their items count. `start` and `end` are places in the file. `login` is the HMAC of the token's accessor,
    `identity` whom the server took its holder for.
    """

    time_ms: int
    operation: str
    key: str
    namespace: str
    request: str
    remote_address: str
    who: str
    allowed: bool
    opened: int
    inputs: tuple[str, ...]
    start: int
    end: int
    login: str = ""
    identity: str = ""


@dataclass(frozen=True, slots=True)
class Damage:
    """Bytes of the file that say nothing that the server writes."""

    start: int
    end: int
    why: str


class Line(NamedTuple):
    """A line as the server wrote it, and where it stands."""

    document: dict[str, Any]
    start: int
    end: int


def read(
    path: Path, *, mount: str, key: str, namespace: str = "", start: int = 0, operations: frozenset[str] = REVEALS
) -> Iterator[Use | Damage]:
    """Yield the uses of a key in the order of the file, from byte `start`. Raises NotFound, StorageError."""
    for item in lines(path, start=start):
        yield from (item,) if isinstance(item, Damage) else _entries(item, (mount, key, namespace, operations))


def lines(path: Path, *, start: int = 0) -> Iterator[Line | Damage]:
    """Yield every whole line of the file, from byte `start`. Raises NotFound, StorageError."""
    try:
        with path.open("rb") as file:
            file.seek(start)
            for at, line in _lines(file, start):
                if isinstance(line, Damage):
                    yield line
                else:
                    yield from _documents(line, at)
    except FileNotFoundError:
        raise NotFound(f"{path} does not exist", hint="copy the audit file of the server here") from None
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror or error}") from None


def _lines(file: BinaryIO, at: int) -> Iterator[tuple[int, bytes | Damage]]:
    """Yield whole lines with their places."""
    while line := file.readline(LINE_LIMIT + 1):
        begin, at = at, at + len(line)
        if line.endswith(b"\n"):
            yield begin, line
            continue
        if len(line) <= LINE_LIMIT:
            return  # the end of the file, in the middle of a line
        while not line.endswith(b"\n"):
            line = file.readline(1 << 20)
            if not line:
                return
            at += len(line)
        yield begin, Damage(begin, at, f"a line of more than {LINE_LIMIT} bytes")


def _documents(line: bytes, at: int) -> Iterator[Line | Damage]:
    end = at + len(line)
    document = _document(line)
    if document is not None:
        yield Line(document, at, end)
        return
    again = line.rfind(_BEGINS, 1)
    document = _document(line[again:]) if again > 0 else None
    yield Damage(at, at + again if document is not None else end, "not a whole line of the audit device")
    if document is not None:
        yield Line(document, at, end)


def _entries(line: Line, wanted: tuple[str, str, str, frozenset[str]]) -> Iterator[Use | Damage]:
    if line.document["type"] != "response":
        return
    try:
        use = _use(line.document, wanted, (line.start, line.end))
    except (KeyError, TypeError, ValueError, AttributeError):
        yield Damage(line.start, line.end, "an answer of an unknown form")
    else:
        if use is not None:
            yield use


def _document(line: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and found.get("type") in ("request", "response") else None


def _use(document: Mapping[str, Any], wanted: tuple[str, str, str, frozenset[str]], place: tuple[int, int]) -> Use | None:
    """Return what an answer is about, None if not about the key. Raises KeyError, TypeError, ValueError for one of another form."""
    mount, key, namespace, operations = wanted
    request, auth = document["request"], document.get("auth") or {}
    where = request["namespace"].get("path", "").strip("/")
    head, _, rest = request["path"].partition(f"{mount}/")
    parts = rest.split("/")
    if head or where != namespace.strip("/") or parts[0] not in operations or key not in parts[1:]:
        return None
    answered = (document.get("response") or {}).get("data") or {}
    asked = request.get("data") or {}
    results = answered.get("batch_results") or [answered]
    items = asked.get("batch_input") or [asked]
    return Use(
        time_ms=time_ms(document),
        operation=parts[0],
        key=f"{mount}/{key}",
        namespace=where,
        request=_text(request["id"]),
        remote_address=_text(request.get("remote_address", "")),
        who=_text(auth.get("display_name", "")),
        allowed=(auth.get("policy_results") or {}).get("allowed") is True,
        opened=len(items) if _HIDDEN in answered or _held(document) else sum(_shows(result) for result in results),
        inputs=tuple(item["ciphertext"] for item in items if isinstance(item.get("ciphertext"), str)),
        start=place[0],
        end=place[1],
        login=_text(auth.get("accessor", "")),
        identity=identity(auth),
    )


def time_ms(document: Mapping[str, Any]) -> int:
    """Return when a line was written. Raises KeyError, TypeError, ValueError."""
    return int(datetime.fromisoformat(_microseconds(document["time"])).timestamp() * 1000)


def identity(auth: Mapping[str, Any]) -> str:
    """Return whom the server took somebody for; "" for a token that is nobody's in particular."""
    entity = auth.get("entity_id")
    return f"{auth.get('display_name', '')} {entity}" if isinstance(entity, str) and entity else ""


def _held(document: Mapping[str, Any]) -> bool:
    """Whether the answer was put aside under a token of its own: whoever has that token collects it, once."""
    return isinstance((document.get("response") or {}).get("wrap_info"), dict)


def _shows(result: Mapping[str, Any]) -> bool:
    return not result.get("error") and any(name in result for name in _SHOWN)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("not text")
    return value


def _microseconds(text: str) -> str:
    """Return an RFC 3339 time without the digits after microseconds, which Python 3.11 does not take."""
    head, _, rest = text.partition(".")
    digits = rest.rstrip("Z")
    return f"{head}.{digits[:6].ljust(6, '0')}+00:00" if rest.endswith("Z") else text
