"""What this user has seen, kept outside the domain: the anchor against cut, forked or re-signed logs.

A pin file holds the log's and the manifests' public keys, the highest checkpoint seen as a signed note, and for every asset the
highest version number met. It only moves forward: another key, a smaller tree or a lower number is an error, never an update.

The file is synced, then replaced atomically; its new name is not synced: after a power cut the pins may be those of a moment before,
which makes the anchor older, never wrong. Only the first pins are durable at once, since without them everything is trusted again.
"""

from __future__ import annotations

import contextlib
import os
import stat
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from hermetic.audit.note import VerifierKey
from hermetic.audit.pins import Pin
from hermetic.errors import FormatError, LogTampered, SignatureError, StorageError
from hermetic.formats import canonical
from hermetic.stores.base import hint_for
from hermetic.stores.durable import sync_folder

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

LIMIT = 64 * 1024 * 1024  # a million assets and more
MARKER = "hermetic-pins/1"
_FIELDS = frozenset(
    (
        *("checkpoint", "domain", "domain_check", "earlier", "format", "generation"),
        *("log_key_ends", "log_keys", "manifest_keys", "size", "versions"),
    )
)


@dataclass(frozen=True, slots=True)
class Pins:
    """One user's memory of one domain. Keys are texts as the port gives them; `versions` maps asset id to number.

    `earlier` are the highest checkpoints of generations that a restore has ended: what was seen of them stays to be compared.
    `log_key_ends` says of log keys that have handed over how many entries the last checkpoint has that they signed (`following`).
    """

    domain: str
    generation: int = 0
    log_keys: tuple[str, ...] = ()
    manifest_keys: dict[str, str] = field(default_factory=dict)
    size: int = 0
    checkpoint: str = ""
    domain_check: str = ""
    versions: dict[str, int] = field(default_factory=dict)
    earlier: tuple[str, ...] = ()
    log_key_ends: dict[str, int] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """Return canonical JSON."""
        body: dict[str, Any] = {
            "format": MARKER,
            "domain": self.domain,
            "generation": self.generation,
            "log_keys": list(self.log_keys),
            "manifest_keys": self.manifest_keys,
            "size": self.size,
            "checkpoint": self.checkpoint,
            "domain_check": self.domain_check,
            "versions": self.versions,
            "earlier": list(self.earlier),
        }
        if self.log_key_ends:
            body["log_key_ends"] = self.log_key_ends
        return canonical.encode(body)

    @classmethod
    def from_bytes(cls, raw: bytes) -> Pins:
        """Read canonical JSON. Raises FormatError."""
        body: Any = canonical.decode(raw, limit=LIMIT)
        if not isinstance(body, dict) or body.get("format") != MARKER:
            raise FormatError("not a pin file")
        if body.keys() - _FIELDS:
            raise FormatError("pin file holds a field that this release does not know")
        try:
            return cls(
                domain=_text(body["domain"]),
                generation=_count(body["generation"]),
                log_keys=tuple(_text(key) for key in body["log_keys"]),
                manifest_keys={_text(name): _text(key) for name, key in body["manifest_keys"].items()},
                size=_count(body["size"]),
                checkpoint=_text(body["checkpoint"]),
                domain_check=_text(body["domain_check"]),
                versions={_text(asset): _count(number) for asset, number in body["versions"].items()},
                earlier=tuple(_text(note) for note in body.get("earlier", ())),
                log_key_ends={_text(key): _count(end) for key, end in body.get("log_key_ends", {}).items()},
            )
        except (KeyError, TypeError, AttributeError):
            raise FormatError("pin file lacks a field") from None

    def with_version(self, asset: str, number: int) -> Pins:
        """Remember that `number` of `asset` exists."""
        if self.versions.get(asset, 0) >= number:
            return self
        return replace(self, versions={**self.versions, asset: number})

    def with_checkpoint(self, generation: int, size: int, note: str) -> Pins:
        """Remember a checkpoint if it is further on. A smaller one is left to `log verify`: answers may arrive out of order."""
        if (generation, size) <= (self.generation, self.size):
            return self
        ended = (self.checkpoint,) if generation > self.generation and self.checkpoint else ()
        return replace(self, generation=generation, size=size, checkpoint=note, earlier=(*self.earlier, *ended))

    def given_up(self) -> Pins:
        """Forget numbers of versions: a restore says that some are lost, and which ones nobody can know."""
        return replace(self, versions={})

    def restored(self, generation: int, size: int, note: str, keys: tuple[str, Mapping[str, str]]) -> Pins:
        """Go over to a later generation that a person vouches for, with the log's key and those of manifests (`restored`).

        What was seen before stays to be compared; that the log's key handed over is forgotten, since it is in force again. Raises
        SignatureError for another manifest key by an id that is pinned.
        """
        changed = self.in_force(keys[0]).given_up().with_checkpoint(generation, size, note)
        for key_id, manifest_key in keys[1].items():
            changed = changed.with_manifest_key(key_id, manifest_key)
        return replace(changed, log_keys=tuple(dict.fromkeys((*changed.log_keys, keys[0]))))

    def in_force(self, *log_keys: str) -> Pins:
        """Forget that keys of the log handed over, by their public parts: a person vouches for a log in which they did not."""
        publics = {VerifierKey.parse(text).public for text in log_keys}
        ends = {text: end for text, end in self.log_key_ends.items() if VerifierKey.parse(text).public not in publics}
        return replace(self, log_key_ends=ends)

    def merged(self, other: Pins) -> Pins:
        """Return pins as far on as either. Raises nothing: what contradicts is found when it is next compared with custody.

        Numbers of versions and ends of keys are those of the later generation: it may have given up what was known before.
        """
        further = self.with_checkpoint(other.generation, other.size, other.checkpoint)
        if self.generation != other.generation:
            later = max(self, other, key=lambda one: one.generation)
            versions, ends = later.versions, later.log_key_ends
        else:
            ends = {**other.log_key_ends, **self.log_key_ends}
            versions = self.versions | {name: max(number, self.versions.get(name, 0)) for name, number in other.versions.items()}
        earlier = tuple(dict.fromkeys((*further.earlier, *other.earlier)))
        return replace(
            further,
            versions=versions,
            earlier=earlier,
            log_keys=tuple(dict.fromkeys((*self.log_keys, *other.log_keys))),
            log_key_ends=ends,
            manifest_keys={**other.manifest_keys, **self.manifest_keys},
        )

    def with_manifest_key(self, key_id: str, public: str) -> Pins:
        """Take a key of manifests that a person vouches for. Raises SignatureError when another one is pinned by that id."""
        if self.manifest_keys.get(key_id, public) != public:
            raise SignatureError(f"manifest key {key_id} is pinned with another public key", hint="an id never changes its key")
        return replace(self, manifest_keys={**self.manifest_keys, key_id: public})

    def trusting(self, log_keys: tuple[str, ...], manifest_keys: dict[str, str]) -> Pins:
        """Take keys on first use; afterwards a key that is not pinned is refused.

        A log key counts by its public part: each generation of the log signs under a name of its own, with the same key.
        """
        known = {VerifierKey.parse(key).public for key in self.log_keys}
        if known and not {VerifierKey.parse(key).public for key in log_keys} <= known:
            raise LogTampered(
                "the log is signed by a key that is not pinned",
                hint="somebody replaced the log, or its signing key; after a restore, `hermetic log restored` shows what it says",
            )
        for name, key in manifest_keys.items():
            if self.manifest_keys and self.manifest_keys.get(name) != key:
                raise SignatureError(
                    f"manifest key {name} is not the one pinned",
                    hint="versions signed with it prove nothing: find out who changed the signing key; of one that took the place of "
                    "a lost one they tell you the words of `hermetic key signing trust KEY PUBLIC`",
                )
        fresh = tuple(key for key in log_keys if key not in self.log_keys)
        return replace(self, log_keys=self.log_keys + fresh, manifest_keys=self.manifest_keys or dict(manifest_keys))


def load(path: Path, domain: str) -> Pins | None:
    """Read the pin file, None when there is none yet. Raises FormatError when it is damaged or of another domain."""
    try:
        raw = _read(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror}", hint=hint_for(error)) from error
    pins = Pins.from_bytes(raw)
    if pins.domain != domain:
        raise FormatError(f"{path} pins another domain")
    return pins


def _read(path: Path) -> bytes:
    """Read a regular file; a pipe in its place would wait for ever."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise FormatError(f"{path} is not a regular file")
        return file.read(LIMIT + 1)


def save(path: Path, pins: Pins) -> None:
    """Replace the pin file atomically. Raises StorageError."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        first = not path.exists()
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(pins.to_bytes())
            file.flush()
            os.fsync(descriptor)  # before the rename: else a power cut may leave an empty file under the name
        temporary.replace(path)
        if first:
            sync_folder(path.parent)
    except OSError as error:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()
        raise StorageError(f"cannot write {path}: {error.strerror}", hint=hint_for(error)) from error


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise FormatError("pin file: expected text")
    return value


def _count(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise FormatError("pin file: expected a count")
    return value


def replace_check(pins: Pins, check: str) -> Pins:
    """Return the pins with the domain secret's check value."""
    return replace(pins, domain_check=check)


def root_of(note: str) -> bytes:
    """Return the root that a pinned checkpoint names. Raises FormatError."""
    return Pin.from_note(note, "pins").checkpoint.root
