"""What a fuzz target is, and the good values that several of them begin with."""

from __future__ import annotations

import base64
import contextlib
import json
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from hermetic.audit.note import Checkpoint, Origin, VerifierKey
from hermetic.crypto.secret import Secret
from hermetic.crypto.sign import SigningKey
from hermetic.errors import HermeticError
from hermetic.ids import DomainId
from tests.fuzz._edits import input_of, spelled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).resolve().parents[2]
VECTORS = ROOT / "vectors"
SEED_LIMIT = 12_000  # bytes

ID = "a" * 26
DOMAIN = DomainId(ID)
KEY = SigningKey(Secret(bytes(32)))
NAMED = VerifierKey(f"hermetic.log/{ID}/1", KEY.public)
ORIGIN = Origin(DOMAIN, 1)
NOTE = bytes(Checkpoint(ORIGIN, 5, bytes(32)).sign(KEY))


REFUSED: list[HermeticError] = []  # what the last input led to


@contextlib.contextmanager
def may_refuse() -> Iterator[None]:
    """Let one of several parsers refuse the input; the next one gets it all the same."""
    try:
        yield
    except HermeticError as error:
        REFUSED.append(error)


@dataclass(frozen=True)
class Target:
    """`check` gets what the fuzzer gives, after `documents` were edited by it; `seeds` are good inputs, `words` a dictionary.

    `runs` is how many inputs `make test` tries: about 60 seconds of all targets.
    """

    check: Callable[[bytes], object]
    runs: int
    seeds: Callable[[], list[bytes]] = list
    documents: list[object] = field(default_factory=list)
    words: tuple[bytes, ...] = ()

    def run(self, data: bytes) -> None:
        """Try one input; a refusal is as good as an acceptance. Any exception but HermeticError is a defect, and passes."""
        REFUSED.clear()
        with may_refuse():
            self.check(input_of(data, self.documents))

    def start(self) -> list[bytes]:
        """Return inputs to begin with: good bytes as they are, each document as it is, and a few edits of each."""
        found = [b"\0" + raw for raw in self.seeds()]
        for at in range(len(self.documents)):
            found += [spelled(at, self.documents) + bytes([0, n, n % 8, 17 * n % 256, n % 3]) * (n % 3) for n in range(12)]
        return found


def same(raw: bytes, again: bytes) -> None:
    """What was accepted is written back to the same bytes, so that no byte of it is free."""
    if raw != again:
        raise AssertionError(f"read {raw[:200]!r}, wrote {again[:200]!r}")


def compact(document: object) -> bytes:
    """Return a document as most parsers want it."""
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


@cache
def vector_strings(kind: str) -> tuple[bytes, ...]:
    """Return every string in the JSON vectors of a kind, as text and, where it is base64, decoded."""
    found: dict[bytes, None] = {}
    for path in sorted(VECTORS.glob(f"{kind}/*/*.json")):
        for text in _strings(json.loads(path.read_text())):
            found[text.encode("utf-8", "surrogatepass")] = None
            with contextlib.suppress(ValueError):
                found[base64.b64decode(text, validate=True)] = None
    return tuple(raw for raw in found if len(raw) < SEED_LIMIT)


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _strings(one)
