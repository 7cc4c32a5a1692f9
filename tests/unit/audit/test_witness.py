"""Witnesses: requests, answers, and anchors that come of them. The witness here does what c2sp.org/tlog-witness asks of one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hermetic.audit.note import COSIGNATURE, Checkpoint, Note, NoteSignature, VerifierKey, open_note
from hermetic.audit.tree import EMPTY_ROOT, verify_consistency
from hermetic.audit.verify import verify
from hermetic.audit.witness import conflict_size, request_body, with_cosignatures
from hermetic.errors import FormatError, LogTampered, NotFound, SignatureError
from hermetic.formats.binary_text import from_base64
from tests.unit.audit.making import DOMAIN, START_MS, make_log, outcome, signing_key

if TYPE_CHECKING:
    from hermetic.audit.log import Log
    from hermetic.audit.store import MemoryStore


class Witness:
    """Remembers one checkpoint of one log and cosigns what continues it."""

    def __init__(self, log_key: VerifierKey) -> None:
        self.key = VerifierKey("witness.example/w1", signing_key(9).public, COSIGNATURE)
        self._log_key = log_key
        self._seen = (0, EMPTY_ROOT)

    def add_checkpoint(self, body: bytes) -> tuple[int, bytes]:
        head, _, signed = body.partition(b"\n\n")
        old_line, *proof = head.decode().split("\n")
        note = Note.parse(signed)
        open_note(note, [self._log_key])
        checkpoint = Checkpoint.parse(note.text)
        if old_line != f"old {self._seen[0]}":
            return 409, f"{self._seen[0]}\n".encode()
        try:
            verify_consistency(self._seen, (checkpoint.size, checkpoint.root), list(map(from_base64, proof)))
        except (LogTampered, FormatError):
            return 422, b""
        self._seen = (checkpoint.size, checkpoint.root)
        stamp = (START_MS // 1000).to_bytes(8, "big")
        signature = signing_key(9).sign(f"cosignature/v1\ntime {START_MS // 1000}\n{note.text}".encode())
        return 200, str(NoteSignature(self.key.name, self.key.key_id, stamp + signature)).encode()


def test_a_cosigned_checkpoint_is_kept_and_anchors(log: Log, memory: MemoryStore) -> None:
    witness = Witness(log.verifier_key)
    note = log.head(memory)[1]
    status, answer = witness.add_checkpoint(request_body(0, [], note))
    assert status == 200
    assert log.keep_cosigned(memory, with_cosignatures(note, answer, [witness.key])).size == 4
    log.append(memory, [outcome("r2")], now_ms=START_MS)
    log.append(memory, [outcome("r3")], now_ms=START_MS)
    assert [row.size for row in memory.checkpoints(1)] == [1, 4, 6]
    report = verify(memory, DOMAIN, keys=[log.verifier_key], witnesses=[witness.key])
    assert report.externally_anchored == "up to 1/4 of 1/6, by witness.example/w1"
    assert verify(memory, DOMAIN, keys=[log.verifier_key]).externally_anchored == "never"
    assert witness.add_checkpoint(request_body(1, log.consistency(memory, 1), log.head(memory)[1])) == (409, b"4\n")
    old = conflict_size(b"4\n")
    status, answer = witness.add_checkpoint(request_body(old, log.consistency(memory, old), log.head(memory)[1]))
    assert status == 200
    receipt = log.receipt(memory, 2)
    assert witness.key in open_note(with_cosignatures(receipt.checkpoint, answer, [witness.key]), [log.verifier_key, witness.key])


def test_a_witness_refuses_a_fork(log: Log, memory: MemoryStore) -> None:
    witness = Witness(log.verifier_key)
    witness.add_checkpoint(request_body(0, [], log.head(memory)[1]))
    forged = type(memory)()
    forger = make_log()
    forger.begin(forged, now_ms=1)
    forger.append(forged, [outcome("x")] * 9, now_ms=2)
    assert witness.add_checkpoint(request_body(4, forger.consistency(forged, 4), forger.head(forged)[1]))[0] == 422


def test_answers_that_are_not_cosignatures_are_refused(log: Log, memory: MemoryStore) -> None:
    witness = Witness(log.verifier_key)
    note = log.head(memory)[1]
    _, answer = witness.add_checkpoint(request_body(0, [], note))
    for bad in (b"", b"hello\n", answer[:-1], b"more text\n\n" + answer, answer * 70, b"x" * 200_000):
        with pytest.raises(FormatError):
            with_cosignatures(note, bad, [witness.key])
    other = VerifierKey("witness.example/w1", signing_key(8).public, COSIGNATURE)
    with pytest.raises(SignatureError):
        with_cosignatures(note, answer, [other])
    forged = str(NoteSignature(witness.key.name, witness.key.key_id, bytes(72))).encode()
    with pytest.raises(SignatureError):
        with_cosignatures(note, forged, [witness.key])
    with pytest.raises(FormatError):
        with_cosignatures(note, answer, [log.verifier_key])
    twice = with_cosignatures(note, answer, [witness.key])
    with pytest.raises(SignatureError):
        with_cosignatures(twice, answer, [witness.key])
    for bad in (b"", b"04\n", b"x", b"\xff"):
        with pytest.raises(FormatError):
            conflict_size(bad)
    for size, proof in ((0, [bytes(32)]), (5, [bytes(32)] * 64), (-1, [])):
        with pytest.raises(FormatError):
            request_body(size, proof, note)


def test_only_kept_checkpoints_of_this_log_take_cosignatures(log: Log, memory: MemoryStore) -> None:
    note = log.head(memory)[1]
    log.append(memory, [outcome("r2")], now_ms=START_MS)
    with pytest.raises(NotFound):
        log.keep_cosigned(memory, note)
    head = log.head(memory)[0]
    with pytest.raises(LogTampered):
        log.keep_cosigned(memory, Checkpoint(head.origin, head.size, bytes(32)).sign(signing_key(1)))
    with pytest.raises(LogTampered):
        log.keep_cosigned(memory, head.sign(signing_key(2)))


def test_a_forged_cosignature_in_the_store_is_found(log: Log, memory: MemoryStore) -> None:
    witness = Witness(log.verifier_key)
    row = memory.head(1)
    assert row is not None
    forged = row.note + str(NoteSignature(witness.key.name, witness.key.key_id, bytes(72)))
    memory.put_note(1, row.size, forged)
    assert verify(memory, DOMAIN, keys=[log.verifier_key]).externally_anchored == "never"
    with pytest.raises(LogTampered):
        verify(memory, DOMAIN, keys=[log.verifier_key], witnesses=[witness.key])
