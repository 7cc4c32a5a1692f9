"""Somebody has private signing keys that were replaced since, and goes on signing with them.

Attacker: a thief of the log's and the manifests' old private keys, out of a core dump or an old copy, who can also write the store and
          the custody database, without a root.
Tries:    a receipt of a longer log that the old key signed; a second hand-over, to a key of the thief's; a checkpoint of the old key
          in the database; the old key's row made active again; a manifest of a version signed anew by the old key.
Stops it: pins follow the hand-over that the old key signed, and believe it for the shorter log only; checkpoints count under the key
          in force at their size; rows carry codes under a key of the root.
"""

from __future__ import annotations

from _stage import Stage, main

from hermetic.audit.leaf import Entry
from hermetic.audit.log import Log
from hermetic.audit.note import Checkpoint, Note
from hermetic.audit.openings import LogKeys
from hermetic.audit.store import MemoryStore
from hermetic.crypto.secret import Secret
from hermetic.crypto.sign import SigningKey
from hermetic.domain import following
from hermetic.errors import HermeticError, IntegrityError
from hermetic.formats.dsse import parse_envelope
from hermetic.formats.messages.base import Receipt
from hermetic.formats.messages.log import VerifyLog
from hermetic.formats.messages.signing import RotateSigningKey
from hermetic.signing.envelopes import sign_envelope


def attack(stage: Stage) -> None:
    stage.create().seal()
    with stage.connect() as h:
        custodian = h.connection._port._custodian
        log_key, manifest_key, origin = custodian.log._signer, custodian.signer, custodian.log.origin
        for use in ("log", "manifest"):
            h.session.ask(RotateSigningKey(use, "yearly"))
        h.seal(b"after", name="dataset/patients", member="rows")
    with stage.connect(purpose="prepare") as h:
        stage.honest("the log is whole after the rotation", h.session.ask(VerifyLog((), h.connection.pins.log_keys)).generations, 1)
        read = [h.verify(f"dataset/patients@{number}").ref for number in (1, 2)]
        stage.honest("old and new versions verify", read, ["dataset/patients@1", "dataset/patients@2"])
        _forge_log(stage, h, (log_key, origin))
        envelope = parse_envelope(h.show("dataset/patients@2").manifest, limit=1 << 20)
    forged = sign_envelope(envelope.payload, envelope.payload_type, manifest_key.key, manifest_key.key_id)
    version = stage.sql("SELECT id FROM version WHERE number = 2")[0][0]
    before = stage.sql("SELECT manifest FROM version WHERE id = ?", (version,))[0][0]
    stage.sql("UPDATE version SET manifest = ? WHERE id = ?", (forged, version))
    stage.refused("a manifest signed by the old key", stage.read, IntegrityError)
    stage.sql("UPDATE version SET manifest = ? WHERE id = ?", (before, version))
    _rows(stage, log_key)


def _forge_log(stage: Stage, h, stolen) -> None:
    key, origin = stolen
    forger, store = Log(origin, key, LogKeys(Secret.random(32))), MemoryStore()
    forger.begin(store, now_ms=0)
    for number in range(100):
        done = forger.append(store, [Entry("release.outcome", {"request": str(number)})], now_ms=0)
    proof = done.receipt()
    longer = Receipt(1, proof.index, proof.leaf, bytes(proof).decode())
    stage.refused("a receipt of a longer log", lambda: h.connection.pins.verified(longer), HermeticError)
    forger.change_key(store, SigningKey.generate(), now_ms=0)
    again = forger.leaf(store, 101)
    stage.refused("a second hand-over", lambda: following.follow(h.connection.pins.pins, again), HermeticError)


def _rows(stage: Stage, key: SigningKey) -> None:
    size, note = stage.sql("SELECT size, note FROM log_checkpoint ORDER BY size DESC LIMIT 1")[0]
    own = Checkpoint.parse(Note.parse(note.encode()).text).sign(key)
    stage.sql("UPDATE log_checkpoint SET note = ? WHERE size = ?", (str(own), size))
    stage.refused("a checkpoint of the old key in the database", lambda: stage.connect().close(), HermeticError)
    stage.sql("UPDATE log_checkpoint SET note = ? WHERE size = ?", (note, size))
    stage.honest("put right again it opens", len(stage.read()) > 0, True)
    stage.sql("UPDATE secret_key SET state = 'active' WHERE state = 'destroyed'")
    stage.refused("the old keys' rows made active", lambda: stage.connect().close(), HermeticError)


if __name__ == "__main__":
    main(attack)
