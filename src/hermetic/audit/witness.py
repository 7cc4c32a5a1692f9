"""Talking to witnesses (c2sp.org/tlog-witness): what to send, and what to make of the answer. Pure: the caller does the sending.

    body = request_body(old_size, log.consistency(store, old_size), note)      POST <prefix>/add-checkpoint
    200  ->  cosigned = with_cosignatures(note, answer, witnesses)             log.keep_cosigned(store, cosigned)
    409  ->  old_size = conflict_size(answer)                                  send again from there

A witness signs only what continues what it has signed before, so its cosignature anchors every leaf up to the size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermetic.audit.note import COSIGNATURE, NOTE_LIMIT, Note, decode_size, open_note
from hermetic.audit.tree import check_size
from hermetic.errors import FormatError, SignatureError
from hermetic.formats.binary_text import to_base64

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hermetic.audit.note import VerifierKey

PROOF_LIMIT = 63  # hashes that a witness takes


def request_body(old_size: int, proof: Sequence[bytes], note: Note) -> bytes:
    """Return the body of an add-checkpoint request: the size that the witness has seen, the proof from there, the checkpoint."""
    check_size(old_size)
    if len(proof) > PROOF_LIMIT or (old_size == 0 and proof):
        raise FormatError("a witness takes at most 63 hashes, and none from an empty tree")
    lines = [f"old {old_size}", *map(to_base64, proof), "", ""]
    return "\n".join(lines).encode("ascii") + bytes(note)


def conflict_size(answer: bytes) -> int:
    """Return the size that a witness says it has seen (status 409). Raises FormatError."""
    try:
        text = answer.decode("ascii")
    except UnicodeDecodeError:
        raise FormatError("a witness answered something that is not a size") from None
    return decode_size(text.removesuffix("\n"))


def with_cosignatures(note: Note, answer: bytes, witnesses: Sequence[VerifierKey]) -> Note:
    """Return the checkpoint with the valid cosignatures of known witnesses added (status 200).

    Raises FormatError for an answer that is no list of signature lines, SignatureError when a known witness's line does not verify or
    none is there.
    """
    if len(answer) > NOTE_LIMIT or any(key.type != COSIGNATURE for key in witnesses):
        raise FormatError("a witness answers with signature lines, under cosignature keys (type 4)")
    answered = Note.parse(note.text.encode("utf-8") + b"\n" + answer)
    if answered.text != note.text:
        raise FormatError("a witness answered more than signature lines")
    open_note(answered, witnesses)
    known = {(key.name, key.key_id) for key in witnesses}
    held = {(line.name, line.key_id) for line in note.signatures}
    fresh = [line for line in answered.signatures if (line.name, line.key_id) in known - held]
    if not fresh:
        raise SignatureError("the witness's cosignature is there already")
    return Note(note.text, (*note.signatures, *fresh))
