"""The pins of one connection: checked against every answer, moved forward, written now and then.

Every receipt is verified on arrival; what it proves is the next pin. Writing is put off for up to a second, so that a loop of a
thousand openings does not write a thousand files; `flush` at the end of the connection writes the rest.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

from hermetic.audit import handover
from hermetic.audit.note import Checkpoint, Note, VerifierKey, open_note
from hermetic.audit.pins import FORK_HINT, Pin
from hermetic.audit.proof import Receipt as Proof
from hermetic.audit.receipts import Logged, verify_receipt
from hermetic.audit.tree import verify_consistency
from hermetic.domain import following
from hermetic.domain import pins as files
from hermetic.domain.pins import Pins
from hermetic.errors import FormatError, IntegrityError, LogTampered, SignatureError
from hermetic.formats.binary_text import from_base64url, to_base64url
from hermetic.formats.messages.greeting import Hello
from hermetic.formats.messages.versions import OpenVersions
from hermetic.formats.release import RELEASE
from hermetic.ids import Ref

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from hermetic.audit.leaf import Leaf
    from hermetic.formats.messages.base import Receipt, Request
    from hermetic.formats.messages.greeting import Welcome
    from hermetic.formats.messages.versions import Released

DELAY_MS = 1000
PINS_FILE = "pins.json"


class PinKeeper:
    """Pins in use. Attributes read like those of `Pins`."""

    def __init__(self, path: Path, domain: str, *, clock: Callable[[], int] = lambda: time.monotonic_ns() // 1_000_000) -> None:
        self._path, self._clock = path, clock
        found = files.load(path, domain)
        self.first_use = found is None
        self._pins = found or Pins(domain)
        self._written_ms = clock()
        self._dirty, self._at_once = False, found is None
        self._check: bytes | None = None
        self.greet: Callable[[Hello], Welcome] | None = None
        self._lock = threading.RLock()

    @property
    def pins(self) -> Pins:
        """The pins as they are now."""
        return self._pins

    @property
    def log_keys(self) -> tuple[str, ...]:
        """Verifier keys of the log that this user trusts."""
        return self._pins.log_keys

    @property
    def checkpoint(self) -> str:
        """The highest checkpoint seen, as a signed note; empty before the first."""
        return self._pins.checkpoint

    @property
    def earlier(self) -> tuple[str, ...]:
        """The highest checkpoints seen of generations that a restore has ended."""
        return self._pins.earlier

    @property
    def size(self) -> int:
        """Size of the log at that checkpoint."""
        return self._pins.size

    @property
    def manifest_keys(self) -> dict[str, bytes]:
        """Public keys whose signatures on manifests count, by id."""
        return {name: from_base64url(key, length=32) for name, key in self._pins.manifest_keys.items()}

    def meet(self, welcome: Welcome, check: bytes | None) -> None:
        """Take keys on first use, or compare them, following changes on record. Raises LogTampered, SignatureError, IntegrityError.

        `check` is that of the domain secret, which only who has custody in the same process can compare: None elsewhere.
        """
        known, self._check = self._pins.domain_check, check
        if check is not None and known and known != check.hex():
            raise IntegrityError(
                "the domain secret is not the one pinned for this domain",
                hint="domain.json or the custody folder was replaced: restore it from a backup",
            )
        keys = {pair.name: pair.value for pair in welcome.manifest_keys}
        followed = following.follow_all(self._pins, changes_of(welcome), first=not self._pins.log_keys)
        changed = followed.trusting((welcome.log_key,), keys)
        checkpoint, lost = self._continued(welcome, changed)
        now = known if check is None else check.hex()
        self._move(lambda pins: files.replace_check(changed.merged(pins), now))
        self._advance(checkpoint, welcome.checkpoint, lost=lost)

    def vouched(self, welcome: Welcome, checkpoint: Checkpoint) -> None:
        """Go over to the later generation of a welcome, since a person vouches for the restore it began with; durably (`restored`).

        Keys of manifests come only by what the log says, which the person vouches for: custody's list of them is not on it.
        Raises LogTampered.
        """
        place, changes = (checkpoint.origin.generation, checkpoint.size, welcome.checkpoint), list(changes_of(welcome))
        self._move(lambda pins: following.vouched(pins, changes).restored(*place, (welcome.log_key, {})))
        self.flush()

    def follow(self, leaves: Iterable[Leaf]) -> None:
        """Follow changes of keys that were found by verifying the whole log. Raises LogTampered."""
        self._move(lambda pins: following.follow_all(pins, leaves, first=False))

    def trust(self, key_id: str, public: bytes) -> None:
        """Take a key of manifests that a person vouches for, durably. Raises SignatureError."""
        self._move(lambda pins: pins.with_manifest_key(key_id, to_base64url(public)))
        self.flush()

    def caught_up(self) -> bool:
        """Greet custody once more and say whether that brought new keys: another process may have changed them meanwhile."""
        before = self._pins
        if self.greet is None:
            return False
        self.meet(self.greet(self.greeting()), self._check)
        return (before.log_keys, before.manifest_keys) != (self._pins.log_keys, self._pins.manifest_keys)

    def greeting(self) -> Hello:
        """Return the first message, which asks custody to prove that its log continues what was seen."""
        seen = self.seen
        known = (0, 0) if seen is None else (seen.origin.generation, seen.size)
        return Hello(generation=known[0], size=known[1], release=RELEASE)

    @property
    def seen(self) -> Checkpoint | None:
        """The highest checkpoint seen, parsed."""
        return Pin.from_note(self._pins.checkpoint, "your pins").checkpoint if self._pins.checkpoint else None

    def _continued(self, welcome: Welcome, followed: Pins) -> tuple[Checkpoint, bool]:
        """Return the checkpoint of a welcome once it is signed, and continues the pinned one: pins never move to a forked log.

        With it, whether a restore says that some of what was seen is lost.

        A later generation is a restore, which has to lead back to what was seen, or to say that it is lost (`audit.handover`).
        """
        note = Note.parse(welcome.checkpoint.encode("utf-8", "surrogatepass"))
        key = VerifierKey.parse(welcome.log_key)
        open_note(note, [key])
        now, seen = Checkpoint.parse(note.text), self.seen
        following.check_in_force(followed, key, now)
        if seen is None:
            return now, False
        if now.origin.generation > seen.origin.generation:
            return now, handover.check((now, seen), _steps(welcome), welcome.continues)
        if now.origin != seen.origin or now.size < seen.size:
            raise LogTampered(
                f"your pins saw {seen.size} entries of generation {seen.origin.generation}, the log has {now.size} of "
                f"{now.origin.generation}: an older copy of the custody database was put back",
                hint="put the newest copy back; `hermetic restore` is how an older one is taken up, on record",
            )
        try:
            verify_consistency((seen.size, seen.root), (now.size, now.root), welcome.continues)
        except (FormatError, LogTampered) as error:
            raise LogTampered(f"the log does not continue what your pins saw at size {seen.size}", hint=FORK_HINT) from error
        return now, False

    def check_answer(self, request: Request[Any], answer: Any, before: Pins) -> None:
        """Verify the receipt of an answer, and that `latest` is not older than what was seen `before` asking.

        Later would be unfair: another thread may have seen a version published while this answer was on its way.
        Raises LogTampered, SignatureError, IntegrityError.
        """
        receipt = getattr(answer, "receipt", None)
        if receipt is not None:
            self.verified(receipt)
        if isinstance(request, OpenVersions):
            if len(answer.released) != len(request.refs):
                raise IntegrityError("custody answered for another number of versions than it was asked about")
            for text, item in zip(request.refs, answer.released, strict=True):
                _is_what_was_asked(Ref.parse(text), item)
                self._check_number(Ref.parse(text), item.number, before.versions.get(item.asset, 0))
                self.see_version(item.asset, item.number)

    def verified(self, receipt: Receipt) -> Logged:
        """Return what a receipt proves, checked with the pinned log keys. Raises LogTampered, SignatureError, FormatError."""
        proof = Proof.parse(receipt.proof.encode("utf-8", "surrogatepass"))
        if (proof.leaf, proof.index) != (receipt.leaf, receipt.index):
            raise LogTampered("a receipt proves another entry than it shows")
        try:
            logged = self._proven(proof)
        except SignatureError:
            if not self.caught_up():
                raise
            logged = self._proven(proof)
        self._move(lambda pins: following.follow(pins, logged.leaf))
        self._advance(logged.checkpoint, str(proof.checkpoint))
        return logged

    def _proven(self, proof: Proof) -> Logged:
        size = Checkpoint.parse(proof.checkpoint.text).size
        return verify_receipt(proof, following.keys_for(self._pins, size))

    def see_version(self, asset: str, number: int) -> None:
        """Remember that a version exists."""
        self._move(lambda pins: pins.with_version(asset, number))

    def _check_number(self, ref: Ref, number: int, highest: int) -> None:
        if ref.number is None and number < highest:
            raise IntegrityError(
                f"{ref.name} was at version {highest} before, and custody now calls {number} the latest",
                hint="the catalogue was put back to an older state: run `hermetic log verify`",
            )

    def _advance(self, checkpoint: Checkpoint, note: str, *, lost: bool = False) -> None:
        before = (self._pins.generation, self._pins.size)
        now = (checkpoint.origin.generation, checkpoint.size)
        if now == before and self._pins.checkpoint and files.root_of(self._pins.checkpoint) != checkpoint.root:
            raise LogTampered("custody shows another log of the same size than it did before", hint="run `hermetic log verify`")
        self._move(lambda pins: (pins.given_up() if lost else pins).with_checkpoint(*now, note))

    def _move(self, change: Callable[[Pins], Pins]) -> None:
        with self._lock:
            changed = change(self._pins)
            if changed == self._pins:
                return
            self._pins, self._dirty = changed, True
            if self._at_once or self._clock() - self._written_ms >= DELAY_MS:
                self.flush()

    def flush(self) -> None:
        """Write what has moved, together with what other processes of this user have written meanwhile."""
        with self._lock:
            if not self._dirty:
                return
            theirs = files.load(self._path, self._pins.domain)
            if theirs is not None:
                self._pins = self._pins.merged(theirs)
            files.save(self._path, self._pins)
            self._dirty, self._at_once, self._written_ms = False, False, self._clock()


def changes_of(welcome: Welcome) -> Iterator[Leaf]:
    """Yield the changes of keys that a welcome tells, each proven under its checkpoint, or under what its restores name, which are
    proven under it themselves. Raises as `verify_receipt`."""
    text = Note.parse(welcome.checkpoint.encode("utf-8", "surrogatepass")).text
    for receipt in welcome.key_changes:
        proof = Proof.parse(receipt.proof.encode("utf-8", "surrogatepass"), leaf=None)
        if (proof.leaf, proof.index) != (receipt.leaf, receipt.index):
            raise LogTampered("custody tells of a change of keys that is not in its log", hint="run `hermetic log verify`")
        if receipt.generation != welcome.generation:
            yield handover.changed(Checkpoint.parse(text), _steps(welcome), proof)
            continue
        if proof.checkpoint.text != text:
            raise LogTampered("custody tells of a change of keys that is not in its log", hint="run `hermetic log verify`")
        yield verify_receipt(proof, [VerifierKey.parse(welcome.log_key)]).leaf


def _steps(welcome: Welcome) -> list[handover.Step]:
    return [handover.Step(one.leaf, one.path) for one in welcome.restores]


def _is_what_was_asked(ref: Ref, item: Released) -> None:
    """Compare a released version with the reference it answers; the signed manifest then binds the rest. Raises IntegrityError."""
    if item.name != str(ref.name) or (ref.number is not None and item.number != ref.number):
        raise IntegrityError(
            f"custody was asked for {ref} and answered with {item.name}@{item.number}", hint="run `hermetic log verify`"
        )
