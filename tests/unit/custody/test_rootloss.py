"""A root that somebody else has: marked, of no more use, and a finding until everything that it could open was changed."""

from __future__ import annotations

import pytest

from hermetic.errors import Conflict, KeyUnusable
from hermetic.evidence import weaknesses
from hermetic.formats.messages import keys, roots
from hermetic.formats.messages.domain import GatherFacts
from hermetic.formats.messages.signing import RotateSigningKey
from hermetic.ids import DataClass
from hermetic.providers import private_file, registry
from tests import world as w
from tests.unit.custody.test_rooting import LOCAL, add, extend, first, key_of, listed, place

REASON = "the laptop was taken unlocked"


@pytest.fixture
def moved(world, port):
    """A domain with two roots and two KEKs; returns (stolen, other)."""
    w.seal(port)
    w.seal(port, "dataset/second", DataClass.INTERNAL)
    stolen = first(port)
    return stolen, add(world, port)


def lost(port):
    """What the facts say of compromised roots, as findings."""
    found = [remark for fact in port.ask(GatherFacts()).roots for remark in fact.remarks if remark.startswith("root-compromised|")]
    return [weaknesses._remark("x", remark) for remark in found]


def compromise(port, root):
    return port.ask(roots.SetRootState(root, "compromise", REASON)).root


def test_nothing_new_is_wrapped_under_it_and_it_opens_for_recovery_only(world, port, moved):
    stolen, other = moved
    before = key_of(port)
    slots = listed(port)[stolen].slots
    assert compromise(port, stolen).state == "compromised"
    w.seal(port, "dataset/third", DataClass.CONFIDENTIAL)
    assert listed(port)[stolen].slots == slots, "the new key has no slot under it"
    assert key_of(port) == before == key_of(world.port())
    (world.data / f"root-{other}.json").rename(world.root / "away")
    with pytest.raises(Exception, match=r"cannot be read|root-"):
        key_of(port, "dataset/second")
    (world.root / "away").rename(world.data / f"root-{other}.json")
    for verb in ("activate", "resume", "suspend", "deactivate"):
        with pytest.raises((KeyUnusable, Conflict)):
            port.ask(roots.SetRootState(stolen, verb, "x"))
    with pytest.raises(Conflict, match="compromised root gets no new slots"):
        port.ask(roots.ExtendRoot(stolen))


def test_it_is_on_record_with_who_and_why(port, moved):
    stolen, _ = moved
    compromise(port, stolen)
    (said,) = [(facts, opened) for kind, facts, opened in w.leaves(port) if kind == "root.state" and facts["root"] == stolen]
    assert (said[0]["state"], said[0]["verb"], said[1]["reason"]) == ("compromised", "compromise", REASON)
    assert said[0]["policies"] == ["owner-administers"]


def test_a_finding_until_every_key_and_signature_key_was_changed_and_after_the_drop_too(port, moved):
    stolen, _ = moved
    assert lost(port) == []
    compromise(port, stolen)
    (finding,) = lost(port)
    keks = sorted(row.kek for row in port.ask(keys.ListKeys()).keys)
    assert (finding.code, finding.severity) == ("root-compromised", "high")
    assert "2 keys that are not revoked" in finding.message
    assert all(kek in finding.message for kek in keks)
    assert "2 keys that sign" in finding.message
    assert f"hermetic key compromise {keks[0]} --reason WHY" in finding.remedy
    assert "docs/runbooks/root-stolen.md" in finding.remedy
    port.ask(keys.ChangeKeyState(keks[0], "revoke", REASON))
    (finding,) = lost(port)
    assert "1 keys that are not revoked" in finding.message
    port.ask(keys.RotateKey(keks[1], "a rotation leaves the old version open"))
    assert keks[1] in lost(port)[0].message
    port.ask(roots.DropRoot(stolen, REASON))
    assert keks[1] in lost(port)[0].message, "a root that is gone is not forgotten while what it opened is in use"
    port.ask(keys.ChangeKeyState(keks[1], "revoke", REASON))
    (finding,) = lost(port)
    assert "revoked" not in finding.message
    for use in ("log", "manifest"):
        port.ask(RotateSigningKey(use, REASON))
    assert lost(port) == []
    assert [fact.state for fact in port.ask(GatherFacts()).roots] == ["active"]


def test_keys_made_after_the_mark_are_not_asked_for(port, moved):
    stolen, _ = moved
    compromise(port, stolen)
    for row in port.ask(keys.ListKeys()).keys:
        port.ask(keys.ChangeKeyState(row.kek, "revoke", REASON))
    w.seal(port, "dataset/third", DataClass.CONFIDENTIAL)
    (finding,) = lost(port)
    assert "not revoked" not in finding.message


def test_not_before_the_domain_can_do_without_it(world, port):
    w.seal(port)
    stolen = first(port)
    with pytest.raises(Conflict, match="no other root") as caught:
        compromise(port, stolen)
    assert "hermetic key root add URI" in caught.value.hint
    root = port.ask(roots.AddRoot(LOCAL)).root.root
    registry.create_root(LOCAL, place(world, root))
    extend(port, root)
    with pytest.raises(Conflict, match="no other root"):
        compromise(port, stolen)
    port.ask(roots.SetRootState(root, "activate"))
    path = world.data / f"root-{root}.json"
    raw = path.read_bytes()
    path.unlink()
    with pytest.raises(Conflict, match="hangs on this root alone"):
        compromise(port, stolen)
    private_file.write(path, raw, replace=False)
    assert compromise(port, stolen).state == "compromised"
    with pytest.raises(Conflict, match="is compromised already"):
        compromise(port, stolen)


def test_one_that_was_dropped_before_says_what_to_do(port, moved):
    stolen, _ = moved
    port.ask(roots.SetRootState(stolen, "deactivate", "x"))
    port.ask(roots.DropRoot(stolen, "x"))
    with pytest.raises(Conflict, match="was dropped before") as caught:
        compromise(port, stolen)
    assert "hermetic key compromise KEK" in caught.value.hint
