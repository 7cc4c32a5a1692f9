"""That copies of custody exist is on record before the first is written; nothing that is taken out of the database says otherwise."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hermetic.custody import copied, forgetting
from hermetic.domain import config
from hermetic.domain.backup import Copies
from hermetic.errors import StorageError
from hermetic.formats.certificate import parse_certificate
from hermetic.formats.messages.backup import TakeBackup
from hermetic.formats.messages.destruction import RecordCopiesDestroyed, ShowCertificate
from hermetic.formats.messages.domain import GatherFacts
from hermetic.formats.messages.log import VerifyLog
from tests.unit.custody.approving import to_shred
from tests.world import leaves, put_back, row_of, seal, sql

REF = "dataset/patients@1"


def backed_up(world, place):
    """A connection that keeps copies in a place that has none yet."""
    place.mkdir()
    folder = world.home.domain_config(world.domain)
    config.save(folder, replace(config.load(folder), backup_place=place))
    return world.connect().port


def copies_begun(port):
    return [facts for kind, facts, _ in leaves(port) if kind == "backup.made"]


def findings(port):
    return {pair.name for pair in port.ask(VerifyLog()).findings}


def test_the_first_copy_is_on_record_before_it_is_written_and_the_next_say_nothing(world, tmp_path, monkeypatch):
    place = tmp_path / "elsewhere"
    port = backed_up(world, place)
    begun = []
    write = Copies.write

    def watched(self, database, **rest):
        begun.append((copies_begun(world.port()), list(place.rglob("pack-*"))))
        return write(self, database, **rest)

    monkeypatch.setattr(Copies, "write", watched)
    assert copies_begun(port) == []
    for _ in range(2):
        assert port.ask(TakeBackup()).problem is None
    assert begun[0] == ([{"backup": "custody"}], [])
    assert copies_begun(port) == [{"backup": "custody"}]


def test_no_copy_is_written_when_that_cannot_be_put_on_record(world, tmp_path, monkeypatch):
    place = tmp_path / "elsewhere"
    port = backed_up(world, place)

    def full(*_):
        raise StorageError("disk full")

    monkeypatch.setattr(copied, "begin", full)
    assert port.ask(TakeBackup()).problem == "disk full"
    assert list(place.iterdir()) == []


@pytest.mark.parametrize("also", ["", "DELETE FROM setting WHERE key = 'copies-of-custody'"])
def test_deleting_what_says_that_there_are_copies_makes_no_shred_complete(world_with_backup, also):
    port = world_with_backup.port()
    seal(port)
    sql(world_with_backup, "DELETE FROM backup_state")
    if also:
        sql(world_with_backup, also)
    assert port.ask(to_shred(port, REF)).state == "deleted"
    said = parse_certificate(port.ask(ShowCertificate(REF)).payload)
    assert "copies-destroyed" in said.missing[0]
    assert ("nothing on record says" in said.missing[0]) is bool(also)
    assert ("row-missing" in findings(port)) is bool(also)


def test_the_row_of_before_the_first_copy_put_back_is_contradicted_by_the_log(world, tmp_path):
    before = row_of(world, "setting", copied.MADE, "key")
    backed_up(world, tmp_path / "elsewhere").ask(TakeBackup())
    put_back(world, "setting", copied.MADE, before, "key")
    sql(world, "DELETE FROM backup_state")
    port = world.port()
    seal(port)
    assert port.ask(to_shred(port, REF)).state == "deleted"
    assert "row-put-back" in findings(port)


def test_a_home_of_an_earlier_release_takes_peoples_word(world):
    port = world.port()
    seal(port)
    sql(world, "DELETE FROM setting WHERE key = ?", copied.MADE)
    assert port.ask(to_shred(port, REF)).state == "deleted"
    port.ask(RecordCopiesDestroyed(world.clock.now, "there never was one"))
    assert parse_certificate(port.ask(ShowCertificate(REF)).payload).state == "complete"


def test_a_whole_copy_is_on_record_and_no_row_of_the_place_stands_for_it(world_with_backup):
    connection = world_with_backup.connect()
    port = connection.port
    seal(port)
    port.ask(to_shred(port, REF))  # the copy that follows is whole
    assert {"backup": "custody-anew", "destructions": 1} in copies_begun(port)
    custodian = world_with_backup.custodian()
    try:
        with custodian.database.write(custodian.row_keys) as session:
            assert forgetting.since_copy(session) == 0
            forgetting.note(session)
        sql(world_with_backup, "DELETE FROM backup_state")
        sql(world_with_backup, "INSERT INTO backup_state VALUES ('destructions', '1000')")
        with custodian.database.read(custodian.row_keys) as session:
            assert forgetting.since_copy(session) == 2
    finally:
        custodian.close()
    assert ("copies-hold-destroyed", "the backup place") in {(pair.name, pair.value) for pair in port.ask(GatherFacts()).critical}
