"""Pins that follow the keys of log and manifests as they hand over to the next ones (spec/audit-log.md section 5). Pure.

An entry of the log carries the old key's signature over the new key. Whoever trusts the old key may trust the new one from there on,
and the old one up to there: a checkpoint that a key signed alone, of a larger log than the one it handed over, is refused. A key hands
over once: in another generation only after a person has said that the restore from before is meant (`Pins.restored`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from hermetic.audit.chain import LOG_KEY_CHANGED, MANIFEST_KEY_CHANGED, LogKeyChange, ManifestKeyChange
from hermetic.audit.handover import WAY_OUT
from hermetic.audit.note import Origin, VerifierKey
from hermetic.errors import LogTampered, SignatureError
from hermetic.formats.binary_text import to_base64url
from hermetic.ids import DomainId

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hermetic.audit.leaf import Leaf
    from hermetic.audit.note import Checkpoint
    from hermetic.domain.pins import Pins


def follow(pins: Pins, leaf: Leaf, *, first: bool = False) -> Pins:
    """Return the pins after a change of key, which the caller has found in the log. One by a key that is not pinned changes nothing.

    `first` says that nothing is pinned yet: then the keys that are no longer in force are taken as they come, as the one in force is.
    Raises LogTampered for a change that the old key did not sign, or one that contradicts an earlier change.
    """
    if leaf.kind == LOG_KEY_CHANGED:
        return _log(pins, LogKeyChange.of(leaf, Origin(DomainId(pins.domain), leaf.generation)), first=first)
    if leaf.kind == MANIFEST_KEY_CHANGED:
        return _manifest(pins, ManifestKeyChange.of(leaf, pins.domain))
    return pins


def follow_all(pins: Pins, leaves: Iterable[Leaf], *, first: bool) -> Pins:
    """Follow several changes, in the order of the log."""
    for leaf in leaves:
        pins = follow(pins, leaf, first=first)
    return pins


def vouched(pins: Pins, leaves: Iterable[Leaf]) -> Pins:
    """Follow changes in a log that a person vouches for, whatever its keys did in one that a restore gave up. Raises LogTampered."""
    leaves = list(leaves)
    changed = (leaf for leaf in leaves if leaf.kind == LOG_KEY_CHANGED)
    before = [str(LogKeyChange.of(leaf, Origin(DomainId(pins.domain), leaf.generation)).old) for leaf in changed]
    return follow_all(pins.in_force(*before), leaves, first=False)


def keys_for(pins: Pins, size: int) -> list[VerifierKey]:
    """Return the log keys whose signature counts for a checkpoint of `size` entries: those that had not handed over before."""
    return [VerifierKey.parse(text) for text in pins.log_keys if size <= pins.log_key_ends.get(text, size)]


def check_in_force(pins: Pins, key: VerifierKey, shown: Checkpoint) -> None:
    """Refuse a checkpoint that is signed by a key which is known to have handed over before. Raises LogTampered, SignatureError.

    Custody restored from before the change has only that key, and a person has to say that this is meant: whoever took the key, which
    may be why it was changed, can sign as well.
    """
    if key.name != str(shown.origin):
        raise SignatureError("the log is signed in the name of another one", hint="do not use this custody")
    for text, end in pins.log_key_ends.items():
        before = VerifierKey.parse(text)
        if before.public != key.public:
            continue
        if before.name != key.name:
            raise LogTampered(
                "custody was restored from before a change of the log's key, and the key before signs again", hint=WAY_OUT
            )
        if shown.size > end:
            raise LogTampered(
                f"a key of the log that handed over at entry {end - 1} signs {shown.size} entries alone",
                hint="somebody else has the old key: keep what you have seen, and compare with an anchor outside",
            )


def _log(pins: Pins, change: LogKeyChange, *, first: bool) -> Pins:
    known = {VerifierKey.parse(text).public for text in pins.log_keys}
    if not first and change.old.public not in known:
        return pins
    old, end = str(change.old), change.index + 1
    if pins.log_key_ends.get(old, end) != end:
        raise LogTampered(
            f"the log's key handed over at entry {change.index}, and had done so at {pins.log_key_ends[old] - 1} already",
            hint="somebody else has the old key: keep both states as evidence, and compare with an anchor outside",
        )
    if any(VerifierKey.parse(text).public == change.old.public for text in pins.log_key_ends.keys() - {old}):
        raise LogTampered(
            "the log's key handed over in another generation already, and does so again: custody was restored from before that, or "
            "somebody has the old key",
            hint=WAY_OUT,
        )
    keys = tuple(dict.fromkeys((*pins.log_keys, old, str(change.new))))
    return replace(pins, log_keys=keys, log_key_ends={**pins.log_key_ends, old: end})


def _manifest(pins: Pins, change: ManifestKeyChange) -> Pins:
    """Nothing is taken before something is pinned: the first greeting names all keys of manifests."""
    if pins.manifest_keys.get(change.old.key_id) != to_base64url(change.old.public):
        return pins
    public = to_base64url(change.new.public)
    if pins.manifest_keys.get(change.new.key_id, public) != public:
        raise LogTampered(f"manifest key {change.new.key_id} is not the one pinned", hint="run `hermetic log verify`")
    return replace(pins, manifest_keys={**pins.manifest_keys, change.new.key_id: public})
