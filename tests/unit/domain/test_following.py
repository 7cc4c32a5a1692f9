"""Pins follow the keys of log and manifests from one to the next, and nothing else."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest

from hermetic.audit.chain import ManifestKey, manifest_change_facts
from hermetic.audit.leaf import Entry
from hermetic.audit.log import Log
from hermetic.audit.note import Checkpoint, Note, Origin, VerifierKey
from hermetic.audit.openings import LogKeys
from hermetic.audit.receipts import verify_receipt
from hermetic.audit.store import MemoryStore
from hermetic.audit.tree import leaf_hash
from hermetic.crypto.secret import Secret
from hermetic.crypto.sign import SigningKey
from hermetic.domain import following
from hermetic.domain.pinned import PINS_FILE
from hermetic.domain.pins import Pins, load
from hermetic.domain.restore import restore_domain
from hermetic.domain.verify import verify_released
from hermetic.errors import LogTampered, SignatureError
from hermetic.formats.binary_text import to_base64url
from hermetic.formats.messages.backup import TakeBackup
from hermetic.formats.messages.base import Receipt
from hermetic.formats.messages.greeting import Restore
from hermetic.formats.messages.log import Anchor, ExportLog, VerifyLog
from hermetic.formats.messages.signing import RotateSigningKey
from tests import world as w

USES = ("log", "manifest")


def pin_file(world, home=None):
    return (home or world.home).domain_config(world.domain) / PINS_FILE


def rotate(connection, *uses):
    return [connection.ask(RotateSigningKey(use, "test")) for use in uses]


def whole(connection):
    pins = connection.pins
    notes = (pins.checkpoint, *pins.earlier)
    return connection.ask(VerifyLog(tuple(Anchor(note, "pins", external=False) for note in notes), pins.log_keys))


@pytest.mark.parametrize("use", USES)
def test_who_rotates_goes_on(world, use):
    with world.connect() as connection:
        w.seal(connection)
        (done,) = rotate(connection, use)
        _, published = w.seal(connection)
        verify_released(w.open_(connection).released[0], connection.pins)
        assert published.number == 2
        keys = connection.pins.log_keys if use == "log" else tuple(connection.pins.manifest_keys)
        assert len(keys) == 2
        assert use == "log" or keys[1] == done.key.key
    with world.connect() as connection:
        verify_released(w.open_(connection, "dataset/patients@1").released[0], connection.pins)
        verify_released(w.open_(connection, "dataset/patients@2").released[0], connection.pins)
        assert {pair.name for pair in whole(connection).findings} == {"log-never-anchored"}


def test_who_runs_beside_it_follows(world):
    one, two = world.connect(), world.connect()
    w.seal(one)
    rotate(one, *USES)
    w.seal(one)
    for number in (1, 2):
        verify_released(w.open_(two, f"dataset/patients@{number}").released[0], two.pins)
    assert two.pins.log_keys == one.pins.log_keys
    assert two.pins.manifest_keys == one.pins.manifest_keys
    rotate(two, *USES, *USES)
    w.seal(two)
    verify_released(w.open_(one, "dataset/patients@3").released[0], one.pins)
    for connection in (one, two):
        whole(connection)
        connection.close()
    pins = load(pin_file(world), world.domain)
    assert (len(pins.log_keys), len(pins.manifest_keys), len(pins.log_key_ends)) == (4, 4, 3)


def test_pins_of_long_ago_follow_the_chain(world):
    with world.connect() as connection:
        w.seal(connection)
    before = pin_file(world).read_bytes()
    with world.connect() as connection:
        for _ in range(3):
            rotate(connection, *USES)
            w.seal(connection)
    pin_file(world).write_bytes(before)
    with world.connect() as connection:
        for number in range(1, 5):
            verify_released(w.open_(connection, f"dataset/patients@{number}").released[0], connection.pins)
        assert len(connection.pins.log_keys) == len(connection.pins.manifest_keys) == 4
        assert {pair.name for pair in whole(connection).findings} == {"log-never-anchored"}


def test_on_first_use_old_keys_come_with_their_ends(world):
    with world.connect() as connection:
        receipt = w.begin(connection).receipt
        rotate(connection, *USES)
    pin_file(world).unlink()
    with world.connect() as connection:
        assert connection.pins.first_use
        assert len(connection.pins.log_keys) == len(connection.pins.manifest_keys) == 2
        connection.pins.verified(receipt)


def test_the_old_key_counts_no_longer_for_a_longer_log(world):
    """Whoever has the old private key writes a log of its own that looks like a longer one."""
    old = world.custodian()
    signer, origin = old.log._signer, old.log.origin
    old.close()
    forger, store = Log(origin, signer, LogKeys(Secret.random(32))), MemoryStore()
    forger.begin(store, now_ms=w.START)
    for number in range(100):
        done = forger.append(store, [Entry("release.outcome", {"request": str(number)})], now_ms=w.START)
    proof = done.receipt()
    forged = Receipt(1, proof.index, proof.leaf, bytes(proof).decode())
    assert verify_receipt(proof, [VerifierKey(str(origin), signer.public)])
    with world.connect() as connection:
        rotate(connection, "log")
        with pytest.raises(SignatureError):
            connection.pins.verified(forged)
        assert connection.pins.size < 100


def test_a_greeting_by_the_old_key_alone_moves_no_pins(world):
    """What it says of a longer log would be taken for custody's, and custody's own be refused as a fork afterwards."""
    old = world.custodian()
    signer, origin = old.log._signer, old.log.origin
    old.close()
    with world.connect() as connection:
        rotate(connection, "log")
        keeper, before = connection.pins, connection.pins.pins
        greeting = keeper.greeting()
        w.begin(world.port())
        welcome = connection.ask(greeting)
        note = Checkpoint.parse(Note.parse(welcome.checkpoint.encode()).text).sign(signer)
        key = str(VerifierKey(str(origin), signer.public))
        with pytest.raises(LogTampered, match="handed over"):
            keeper.meet(replace(welcome, log_key=key, checkpoint=str(note), key_changes=()), None)
        assert keeper.pins == before
        keeper.meet(welcome, None)


def test_an_old_key_hands_over_once(world):
    old = world.custodian()
    signer, origin, keys = old.log._signer, old.log.origin, LogKeys(Secret.random(32))
    old.close()
    with world.connect() as connection:
        rotate(connection, "log")
        pins = connection.pins.pins
    forger, store = Log(origin, signer, keys), MemoryStore()
    forger.begin(store, now_ms=w.START)
    forger.change_key(store, SigningKey.generate(), now_ms=w.START)
    with pytest.raises(LogTampered, match="had done so"):
        following.follow(pins, forger.leaf(store, 1))


@pytest.mark.parametrize("generation", [1, 2])
def test_whoever_has_a_key_that_handed_over_brings_in_no_other_across_a_restore(world, generation):
    """An attacker with the log's key of before says that custody was restored, admits every loss, and hands over to their own."""
    thief = world.custodian()
    taken, keys, theirs = thief.log._signer, LogKeys(Secret.random(32)), SigningKey.generate()
    thief.close()
    with world.connect() as connection:
        rotate(connection, "log")
        w.seal(connection)
        keeper, genuine = connection.pins, connection.welcome
        seen, before = keeper.seen, keeper.pins
        origins = Origin(world.domain, 1), Origin(world.domain, 2)
        past = MemoryStore()  # a first generation that never was
        first = Log(origins[0], taken, keys)
        first.begin(past, now_ms=w.START)
        first.change_key(past, theirs, now_ms=w.START)
        end = Log(origins[0], theirs, keys).head(past)[0]
        store, log = MemoryStore(), Log(origins[1], taken if generation == 2 else theirs, keys)
        log.begin(store, now_ms=w.START, restored=(end, seen))
        if generation == 2:
            _, log = log.change_key(store, theirs, now_ms=w.START)
        proof, step = log.receipt(store, 1 if generation == 2 else 0), log.receipt(store, 0)
        if generation == 1:
            note = Note.parse(past.head(1).note.encode())
            proof = replace(proof, leaf=first.raw(past, 1), index=1, path=(leaf_hash(first.raw(past, 0)),), checkpoint=note)
        welcome = replace(
            genuine,
            generation=2,
            log_key=str(VerifierKey(str(origins[1]), theirs.public)),
            checkpoint=str(log.head(store)[1]),
            restores=(Restore(step.leaf, step.path),),
            key_changes=(Receipt(generation, 1, proof.leaf, bytes(proof).decode()),),
        )
        with pytest.raises(LogTampered, match="handed over"):
            keeper.meet(welcome, None)
        assert keeper.pins == before


def test_a_change_in_a_generation_that_custodys_log_does_not_lead_to_brings_in_no_key(world):
    """An attacker with the key of manifests of before, but none of the log's, shows a restore that never was."""
    thief = world.custodian()
    taken, old_id, keys, theirs = thief.signer.key, thief.signer.key_id, LogKeys(Secret.random(32)), SigningKey.generate()
    thief.close()
    with world.connect() as connection:
        rotate(connection, "manifest")
        keeper = connection.pins
        before, store = keeper.pins, MemoryStore()
        past = Log(Origin(world.domain, 5), theirs, keys)
        past.begin(store, now_ms=w.START, restored=(keeper.seen, keeper.seen))
        facts = manifest_change_facts(world.domain, (old_id, taken), ManifestKey(w.fresh(), theirs.public))
        past.append(store, [Entry("manifest.key-changed", facts)], now_ms=w.START)
        end, proof = past.head(store)[0], past.receipt(store, 1)
        after = Log(Origin(world.domain, 6), theirs, keys)
        after.begin(store, now_ms=w.START, restored=(end, end))
        step = Restore(after.raw(store, 0), ())
        change = Receipt(5, 1, proof.leaf, bytes(proof).decode())
        for restores in ((step,), ()):
            with pytest.raises(LogTampered):
                keeper.meet(replace(connection.ask(keeper.greeting()), restores=restores, key_changes=(change,)), None)
        assert keeper.manifest_keys.keys() == before.manifest_keys.keys()


def test_a_key_that_nobody_pinned_hands_over_nothing(world):
    with world.connect() as connection:
        pins = connection.pins.pins
    stranger, store = Log(Origin(world.domain, 1), SigningKey.generate(), LogKeys(Secret.random(32))), MemoryStore()
    stranger.begin(store, now_ms=w.START)
    stranger.change_key(store, SigningKey.generate(), now_ms=w.START)
    assert following.follow(pins, stranger.leaf(store, 1)) == pins


def test_the_logs_key_alone_brings_in_no_key_of_manifests(world):
    """Whoever has the roots has the log's key, and can say that the token with the other one was lost."""
    thief = world.custodian()
    signer, origin = thief.log._signer, thief.log.origin
    thief.close()
    with world.connect() as connection:
        pins = connection.pins.pins
    ((old, public),) = pins.manifest_keys.items()
    forger, store = Log(origin, signer, LogKeys(Secret.random(32))), MemoryStore()
    forger.begin(store, now_ms=w.START)
    facts = {"old": old, "old_public": public, "new": w.fresh(), "new_public": to_base64url(SigningKey.generate().public)}
    forger.append(store, [Entry("manifest.key-replaced", facts)], now_ms=w.START)
    assert following.follow(pins, forger.leaf(store, 1)) == pins


@pytest.mark.parametrize("field", ["old", "new", "signature", "new_public", "old_public"])
@pytest.mark.parametrize("use", USES)
def test_a_changed_statement_is_refused(world, use, field):
    with world.connect() as connection:
        pins = connection.pins.pins
        rotate(connection, use)
        leaf = _change(connection, use)
    assert following.follow(pins, leaf) != pins
    if field in leaf.facts:
        said = str(leaf.facts[field])
        facts = {**leaf.facts, field: said[:-12] + ("A" if said[-12] != "A" else "B") + said[-11:]}
        with pytest.raises(LogTampered):
            following.follow(pins, replace(leaf, facts=facts))


def _change(connection, use):
    from hermetic.audit.leaf import Leaf

    raws = connection.ask(ExportLog(1)).leaves
    (found,) = [Leaf.parse(raw) for raw in raws if json.loads(raw)["kind"] == f"{use}.key-changed"]
    return found


def test_pins_with_ends_come_back_as_they_went(world):
    with world.connect() as connection:
        rotate(connection, *USES)
    pins = load(pin_file(world), world.domain)
    assert pins.log_key_ends
    assert Pins.from_bytes(pins.to_bytes()) == pins
    assert pins.merged(Pins(pins.domain)) == pins
    other = Pins(pins.domain).merged(pins)
    assert (other.log_keys, other.log_key_ends, other.manifest_keys) == (pins.log_keys, pins.log_key_ends, pins.manifest_keys)


def test_across_a_restore(world_with_backup, tmp_path):
    """Keys changed, then the custody was lost and restored: pins from before the change, and from after it, find their way."""
    world = world_with_backup
    with world.connect() as connection:
        w.seal(connection)
    before = pin_file(world).read_bytes()
    with world.connect() as connection:
        rotate(connection, *USES)
        w.seal(connection)
        connection.ask(TakeBackup())
    shutil.rmtree(world.home.data)
    restore_domain(world.backup, world.home, world.project, lambda *_: Secret(w.PASSPHRASE), provider_uri="local:insecure-file")
    for pins in (pin_file(world).read_bytes(), before):
        pin_file(world).write_bytes(pins)
        with world.connect() as connection:
            assert connection.welcome.generation == 2
            for number in (1, 2):
                verify_released(w.open_(connection, f"dataset/patients@{number}").released[0], connection.pins)
            whole(connection)
    with world.connect() as connection:
        rotate(connection, *USES)
        w.seal(connection)
        whole(connection)
    pin_file(world).write_bytes(before)
    with world.connect() as connection:
        verify_released(w.open_(connection, "dataset/patients@3").released[0], connection.pins)


def test_the_backup_place_is_written_without_the_old_key(world_with_backup):
    world = world_with_backup
    with world.connect() as connection:
        connection.ask(TakeBackup())
        before = _packs(world)
        rotate(connection, "manifest")
        connection.ask(TakeBackup())
    assert before
    assert not before & _packs(world)  # a pack of before would hold the pages with the old wraps


def _packs(world):
    return {path.name for path in (world.backup / world.domain).rglob("*") if path.is_file() and "pack" in path.as_posix()}


def test_exports_of_all_generations_verify(world):
    from hermetic.domain.logexport import export_tiles

    with world.connect() as connection:
        w.seal(connection)
        rotate(connection, "log")
        first = export_tiles(connection, world.root / "tiles")
        w.seal(connection)
        second = export_tiles(connection, world.root / "tiles")
    assert second.entries > first.entries
    assert second.verifier_key == first.verifier_key
