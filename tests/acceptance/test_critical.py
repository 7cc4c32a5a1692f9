"""Capabilities KM4, KM8, AC5: destruction and shredding, separation of duties, approvals."""

from __future__ import annotations

import pytest

import hermetic
from hermetic.domain import approving
from hermetic.errors import ApprovalNeeded, ConfigError, Denied, KeyUnusable, UsageError
from hermetic.formats.certificate import parse_certificate
from hermetic.formats.messages.approvals import AddStatement, ListRequests, ShowRequest
from hermetic.formats.messages.destruction import AnnounceDestruction, DestroyDue, ShowCertificate
from hermetic.formats.messages.keys import ListKeys, RewrapKey, RotateKey
from tests import world as w
from tests.acceptance.conftest import ROWS
from tests.unit.custody.approving import Person, to_shred


def test_KM4_a_shredded_version_is_gone_and_everything_else_reads(pipeline):
    wraps = dict(pipeline.rows("SELECT version_id, wrapped FROM data_key WHERE wrapped IS NOT NULL"))
    (gone,) = pipeline.rows(
        "SELECT id FROM version WHERE id = ?", pipeline.hermetic("show", "dataset/patients@1", "--json").json["version"]
    )
    done = pipeline.hermetic("key", "shred", "dataset/patients@1", "--reason", "consent withdrawn", "--certificate", "shred.json")
    assert done.code == 0, done.err
    assert "was derived from it" in done.err
    files = [pipeline.database, *pipeline.database.parent.glob("custody.db-*")]
    held = b"".join(path.read_bytes() for path in files)
    assert [version for version, wrap in wraps.items() if wrap not in held] == [gone[0]]
    others = [row["name"] for row in pipeline.hermetic("ls", "--json").json["assets"] if row["latest"]]
    assert others
    with hermetic.connect() as h:
        with pytest.raises(KeyUnusable, match="was shredded on"):
            h.open("dataset/patients@1", purpose="prepare")
        for name in others:
            h.open(name, purpose="audit").close()
    assert ROWS not in held
    assert pipeline.hermetic("log", "verify").code in {0, 7}


def test_KM4_what_holds_data_of_a_subject_goes_together(pipeline):
    """A withdrawal of consent: every version that names the person, whatever it is called, and on request what was made of it."""
    with hermetic.connect() as h:
        first = h.seal(b"17,44\n", name="dataset/visits", data_class="restricted", subjects=["P-17"]).ref
        second = h.seal(b"[0.1]", name="embeddings/visits", data_class="restricted", subjects=["P-17", "P-18"], parents=()).ref
        third = h.seal(b"[0.2]", name="embeddings/visits", data_class="restricted", subjects=["P-18"], parents=()).ref
        made = h.seal(b"0.7", name="features/visits", data_class="restricted", parents=[first]).ref
    plan = pipeline.hermetic("key", "shred", "--subject", "P-17", "--dry-run", "--json").json
    assert (plan["refs"], plan["radius"]["derived"]) == ([first, second], [made])
    done = pipeline.hermetic("key", "shred", "--subject", "P-17", "--with-derived", "--reason", "consent withdrawn", "--json")
    assert (done.code, done.json["refs"]) == (0, [first, second, made])
    with hermetic.connect() as h:
        for ref in (first, second, made):
            with pytest.raises(KeyUnusable, match="was shredded on"):
                h.open(ref, purpose="audit")
        h.open(third, purpose="audit").close()


def test_KM4_a_key_version_is_destroyed_after_its_wait(world):
    port = world.port()
    w.seal(port)
    kek = port.ask(ListKeys()).keys[0].kek
    port.ask(RotateKey(kek, "retired"))
    port.ask(RewrapKey(kek))
    port.ask(AnnounceDestruction(kek, 1, 7, "retired"))
    assert port.ask(DestroyDue()).versions == ()
    world.clock.now += 7 * w.DAY
    assert [row.problem for row in port.ask(DestroyDue()).versions] == [""]
    assert parse_certificate(port.ask(ShowCertificate(f"{kek}/1")).payload).state == "destroyed"
    w.open_(port)


def test_KM8_who_reads_a_separated_class_does_not_administer_its_keys(world):
    port = world.port()
    with pytest.raises(ConfigError, match=r"domain-owner.*owner-opens.*owner-administers"):
        w.change_policy(world, port, lambda text: text.replace("    retention: 2y\n", "    retention: 2y\n    separation: required\n"))
    with pytest.raises(UsageError, match="nobody does both"):
        w.enrol(port, "nobody", ["security-engineer", "ml-engineer"])


def test_AC5_two_of_three_approve_a_destruction_once(world):
    port = world.port()
    people = [Person(name) for name in ("bob", "carol")]
    for person in people:
        person.enrol(port)
    w.change_policy(
        world,
        port,
        lambda text: text.replace("delete: {approvals: 2, approvals_in: {development: 0, staging: 1}}", "delete: {approvals: 2}"),
    )
    w.seal(port)
    shred = to_shred(port)
    with pytest.raises(ApprovalNeeded):
        port.ask(shred)
    (row,) = port.ask(ListRequests()).requests
    assert approving.shown(row).checked() == shred
    for person in people:
        with pytest.raises(ApprovalNeeded):
            port.ask(shred)
        person.answers(port, row, w.START)
    port.ask(shred)
    assert port.ask(ShowRequest(row.id)).state == "used"
    with pytest.raises((Denied, ApprovalNeeded)):
        port.ask(shred)
    with pytest.raises(Exception, match="used"):
        port.ask(AddStatement(people[0].statement(row, w.START)))
