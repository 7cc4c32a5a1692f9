"""What custody says of its last restore, and taking it on a person's word: the way out for who has seen what custody no longer has.

Pins refuse custody that was restored from a copy which lacks what they saw, unless the restore says so, and one whose log is signed
by a key that does not lead back to theirs. Nobody can tell such a restore from an attacker with an old copy but the person who did it.
So `look` shows what custody says, with the digest of the entry that says it, to both; they compare the digests over something else
than this custody, and `accept` takes the restore with exactly that digest, and of keys those that it leads to: the one it names for
the log, and what that and pinned keys hand over to. What was seen before stays in the pins: `log verify` goes
on to name it as lost.

    look(Here(start, home))              -> Statement           compares nothing with pins, and changes nothing
    accept(Here(start, home), digest)    -> Statement           moves the pins of this user
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hermetic.audit import handover
from hermetic.audit.chain import key_after
from hermetic.audit.leaf import Leaf
from hermetic.audit.note import Checkpoint, Note, VerifierKey, open_note
from hermetic.audit.tree import leaf_hash
from hermetic.domain import project
from hermetic.domain.connect import Connection
from hermetic.domain.custody_place import URL, place_of
from hermetic.domain.pinned import changes_of
from hermetic.errors import Conflict, IntegrityError, NotFound, SignatureError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from hermetic.crypto.secret import Secret
    from hermetic.custody.custodian import Custodian
    from hermetic.domain.home import Home
    from hermetic.formats.messages.greeting import Welcome

DIGEST = 64  # hexadecimal digits


@dataclass(frozen=True, slots=True)
class Statement:
    """The first entry of the newest generation. Places are (generation, entries); `seen` is what this user's pins saw,
    if anything, `admits` whether restores kept that or name it as lost."""

    digest: str
    generation: int
    restored: tuple[int, int]
    highest: tuple[int, int]
    seen: tuple[int, int] | None
    log_key: str
    accepted: bool
    admits: bool


class _Unmet(Connection):
    """A connection whose custody is not compared with the pins. It is asked for nothing but greetings."""

    def _meet(self, custodian: Custodian | None) -> None:
        pass


@dataclass(frozen=True, slots=True)
class Here:
    """Which domain, as for `connect`: a folder in its project, a home, what asks for passphrases, the URL of custody elsewhere."""

    start: Path
    home: Home
    ask: Callable[..., Secret] | None = None
    url: str = ""


def look(here: Here) -> Statement:
    """Return what custody says of its last restore. Raises NotFound where there was none, LogTampered, and as `connect`."""
    with _connected(here) as connection:
        return _said(connection)[0]


def accept(here: Here, digest: str) -> Statement:
    """Take the restore whose entry has this digest. Raises as `look`; UsageError, Conflict, SignatureError, IntegrityError."""
    if len(digest) != DIGEST or digest.strip("0123456789abcdef"):
        raise UsageError(f"a digest has {DIGEST} hexadecimal digits", hint="whoever restored reads theirs to you")
    with _connected(here) as connection:
        found, checkpoint, welcome = _said(connection)
        if found.digest != digest:
            raise IntegrityError(
                "custody shows another restore than the one you were told of",
                hint="do not use it: compare with whoever restored, by telephone or face to face",
            )
        if found.accepted:
            raise Conflict("your pins are of this generation already", hint="there is nothing to accept")
        connection.pins.vouched(welcome, checkpoint)
        return replace(found, accepted=True)


def _connected(here: Here) -> Connection:
    return _Unmet(project.load(project.find_root(here.start)), here.home, here.ask, place=place_of(here.url))


def _said(connection: Connection) -> tuple[Statement, Checkpoint, Welcome]:
    """Ask for the way back to the very first entry, of which the newest step is the one wanted."""
    pins = connection.pins
    welcome = connection.port.ask(replace(pins.greeting(), generation=1, size=1))
    if welcome.domain != connection.project.domain:
        raise IntegrityError("custody there is of another domain than this project", hint=f"{URL} names another place")
    if not welcome.restores:
        raise NotFound("this custody was never restored", hint="`hermetic log verify` compares it with what you have seen")
    note, key = Note.parse(welcome.checkpoint.encode("utf-8", "surrogatepass")), VerifierKey.parse(welcome.log_key)
    open_note(note, [key])
    end, step = Checkpoint.parse(note.text), handover.Step(welcome.restores[0].leaf, welcome.restores[0].path)
    if (end.origin.domain, str(end.origin)) != (welcome.domain, key.name):
        raise SignatureError("the log of this custody is signed for another one", hint="do not use it")
    restore = handover.restore_of(end, step)
    if key_after(Leaf.parse(step.leaf), changes_of(welcome), end.origin) != key:
        raise SignatureError("the log is signed by another key than the restore's, which does not lead to it", hint="do not use it")
    seen = pins.seen
    steps = [handover.Step(one.leaf, one.path) for one in welcome.restores]
    statement = Statement(
        digest=leaf_hash(step.leaf).hex(),
        generation=end.origin.generation,
        restored=_place(restore.restored),
        highest=_place(restore.highest),
        seen=None if seen is None else _place(seen),
        log_key=welcome.log_key,
        accepted=seen is not None and seen.origin.generation >= end.origin.generation,
        admits=seen is None or handover.owns_up(end, steps, seen),
    )
    return statement, end, welcome


def _place(checkpoint: Checkpoint) -> tuple[int, int]:
    return checkpoint.origin.generation, checkpoint.size
