"""What certificates take people's word for: copies and packages, in the order of the log as well as by a clock that people set."""

from __future__ import annotations

import pytest

from hermetic.errors import ApprovalNeeded, UsageError
from hermetic.formats.certificate import parse_certificate
from hermetic.formats.messages.destruction import RecordCopiesDestroyed, RecordPackageDestroyed, ShowCertificate
from tests.unit.custody.approving import to_shred
from tests.world import DAY, START, change_policy, seal, sql

REF = "dataset/patients@1"


def copied(world):
    sql(world, "INSERT OR REPLACE INTO backup_state VALUES ('last_ms', ?)", str(world.clock.now))


def certificate(port):
    return parse_certificate(port.ask(ShowCertificate(REF)).payload)


def test_a_word_from_before_covers_nothing_that_a_clock_set_back_dates_earlier(world):
    port = world.port()
    world.clock.now = START + 10 * DAY
    copied(world)
    port.ask(RecordCopiesDestroyed(world.clock.now, "tapes shredded"))
    world.clock.now = START + 5 * DAY
    seal(port)
    copied(world)  # holds the key, and nobody has said that it is gone
    assert port.ask(to_shred(port, REF)).state == "deleted"
    said = certificate(port)
    assert (said.state, len(said.missing)) == ("deleted", 1)
    assert "copies-destroyed" in said.missing[0]
    world.clock.now += DAY
    port.ask(RecordCopiesDestroyed(world.clock.now, "this one too"))  # although a later moment is on record, which is not over
    assert certificate(port).state == "complete"


def test_a_word_at_the_same_millisecond_counts_if_it_came_after(world):
    port = world.port()
    seal(port)
    copied(world)
    port.ask(RecordCopiesDestroyed(START, "tapes shredded"))
    assert port.ask(to_shred(port, REF)).state == "deleted"
    port.ask(RecordCopiesDestroyed(START, "all of them"))
    assert certificate(port).state == "complete"
    with pytest.raises(UsageError, match="later moment"):
        port.ask(RecordCopiesDestroyed(START - 1, "earlier"))


def test_what_says_that_no_copy_was_made_is_named(world):
    port = world.port()
    seal(port)
    port.ask(to_shred(port, REF))
    assert "an authenticated record says so" in certificate(port).relies[-1]


def test_the_word_that_a_package_is_gone_needs_the_approvals_of_destruction(world):
    """It completes a certificate, as the word that copies are gone does."""
    port = world.port()
    seal(port)
    change_policy(world, port, lambda text: text.replace("approvals_in: {development: 0", "approvals_in: {development: 1"))
    with pytest.raises(ApprovalNeeded):
        port.ask(RecordPackageDestroyed("a" * 26, "both confirmed it"))
