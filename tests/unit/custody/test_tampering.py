"""Somebody writes the database around Hermetic: authentic rows only, older states found by `log verify`, refusals on the log."""

from __future__ import annotations

import pytest

from hermetic.db import tables
from hermetic.errors import HermeticError, IntegrityError, LogTampered, RowTampered
from hermetic.formats.messages import catalogue, keys, log, policy, runs, versions
from hermetic.formats.messages.greeting import Hello
from hermetic.ids import DataClass, Purpose
from tests import world as w

OTHER = 65534


def findings(port):
    return {pair.name for pair in port.ask(log.VerifyLog()).findings} - {"log-key-first-use", "log-never-anchored"}


@pytest.fixture
def port(world):
    made = world.port()
    w.seal(made)
    w.seal(made)
    w.enrol(made, "nobody", ["approver"])
    made.ask(policy.GiveGrant("nobody", "open", "dataset/*", (Purpose.PREPARE,), w.START + w.HOUR, "test"))
    return made


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE asset SET data_class = 'public'",
        "UPDATE asset SET epoch = epoch + 1",
        "UPDATE asset SET state = 'active', retention_days = 1",
        "UPDATE asset SET owner = (SELECT writer FROM version LIMIT 1)",
        "UPDATE asset SET next_number = 2",
        "UPDATE version SET data_class = 'public'",
        "UPDATE version SET number = 5 WHERE number = 2",
        "UPDATE version SET purpose = 'debug'",
        "UPDATE version SET manifest = (SELECT manifest FROM version WHERE number = 1)",
        "UPDATE version SET store = 'elsewhere'",
        "UPDATE data_key SET state = 'destroyed'",
        "UPDATE data_key SET kek_number = 1, wrapped = randomblob(length(wrapped))",
        "UPDATE data_key SET version_id = (SELECT id FROM version WHERE number = 1)",
        "UPDATE kek SET state = 'suspended'",
        "UPDATE kek SET epoch = epoch - 1",
        "UPDATE kek SET data_class = 'public'",
        "UPDATE kek_version SET state = 'deactivated'",
        "UPDATE kek_version SET wraps = 0",
        "UPDATE kek_slot SET wrapped = randomblob(length(wrapped))",
        "UPDATE root SET state = 'compromised'",
        'UPDATE principal SET roles = \'["domain-owner","approver"]\'',
        "UPDATE principal SET state = 'disabled'",
        "UPDATE policy SET content = randomblob(length(content))",
        "UPDATE policy SET applied_ms = 1",
        "UPDATE asset SET mac = randomblob(32)",
        "UPDATE asset SET mac = 'text'",
        "UPDATE asset SET revision = revision + 1",
    ],
)
def test_a_row_changed_by_hand_is_4_and_the_attempt_is_on_the_log(world, port, statement):
    logged = w.sql(world, "SELECT count(*) FROM log_leaf")[0][0]
    w.sql(world, statement)
    with pytest.raises(IntegrityError) as refused:
        w.open_(port, "dataset/patients@2")
    assert refused.value.exit_code == 4
    said = w.sql(world, "SELECT kind, leaf FROM log_leaf WHERE idx >= ?", logged)
    if [kind for kind, _ in said] != ["release.denied"]:  # what only the unwrap reads is refused there
        assert [kind for kind, _ in said] == ["release.intent", "release.outcome"]
        assert b'"handed":0' in said[1][1]


def test_a_grant_made_longer_by_hand(world, port):
    other = world.port(uid=OTHER)
    w.open_(other)
    w.sql(world, "UPDATE grant_ SET expires_ms = expires_ms + 1000000000")
    with pytest.raises(RowTampered):
        w.open_(other)
    assert w.kinds(port)[-1] == "release.denied"


@pytest.mark.parametrize(
    ("statement", "what"),
    [
        ("UPDATE lease SET expires_ms = NULL", "lease"),
        ("UPDATE lease SET state = 'active'", "lease"),
        ("UPDATE run SET state = 'running', ended_ms = NULL", "run"),
        ("UPDATE exposure SET ended_ms = 1", "exposure"),
    ],
)
def test_records_changed_by_hand(world, port, statement, what, tmp_path):
    run = port.ask(runs.StartRun(w.fresh(), "work", Purpose.PREPARE)).run
    port.ask(runs.FinishRun(run, "finished"))
    lease = w.open_(port, exposure=versions.ExposureTerms("/tmp/x", w.START + w.HOUR)).released[0].lease
    port.ask(versions.EndLeases((lease.id,)))
    ask = {
        "lease": lambda: w.ended(port, lease),
        "run": lambda: port.ask(runs.ShowRun(run)),
        "exposure": lambda: port.ask(catalogue.ListExposures(ended=True)),
    }[what]
    ask()
    w.sql(world, statement)
    with pytest.raises(RowTampered):
        ask()


# older states, which are authentic


def test_an_asset_put_back_to_a_lower_class_is_found(world, port):
    w.seal(port, "dataset/shops", DataClass.INTERNAL)
    asset = port.ask(catalogue.ShowVersion("dataset/shops")).asset
    before = w.row_of(world, "asset", asset)
    port.ask(catalogue.RecordDecision("dataset/shops", "holds names after all", data_class=DataClass.RESTRICTED))
    assert findings(port) == set()
    w.put_back(world, "asset", asset, before)
    assert findings(port) == {"row-put-back"}


def test_a_key_put_back_to_active_is_found(world, port):
    (row,) = port.ask(keys.ListKeys()).keys
    before = w.row_of(world, "kek", row.kek), w.row_of(world, "kek_version", row.kek, "kek_id")
    port.ask(keys.ChangeKeyState(row.kek, "revoke", "stolen"))
    w.sql(world, "DELETE FROM kek_slot WHERE number = 2")
    w.sql(world, "DELETE FROM kek_version WHERE number = 2")
    w.put_back(world, "kek", row.kek, before[0])
    w.put_back(world, "kek_version", row.kek, before[1], "kek_id")
    assert findings(port) == {"row-put-back", "row-missing"}


def test_a_principal_put_back_to_enabled_is_found(world, port):
    before = w.sql(world, "SELECT * FROM principal WHERE id LIKE '%:65534'")[0]
    w.enrol(port, "nobody", [])
    w.put_back(world, "principal", before[0], before)
    assert findings(port) == {"row-put-back"}


def test_a_grant_put_back_after_its_last_use_is_found(world, port):
    given = port.ask(policy.GiveGrant("nobody", "open", "dataset/*", (Purpose.TRAIN,), w.START + w.HOUR, "once", 1))
    before = w.row_of(world, "grant_", given.id)
    other = world.port(uid=OTHER)
    w.open_(other, purpose=Purpose.TRAIN)
    w.put_back(world, "grant_", given.id, before)
    assert findings(port) == {"row-put-back"}


def test_a_policy_put_back_is_found(world, port):
    before = w.sql(world, "SELECT * FROM policy")[0]
    w.change_cedar(port, "more.cedar", '@id("none")\nforbid (principal, action == Action::"open", resource);\n')
    w.sql(world, "DELETE FROM policy WHERE digest != ?", before[0])
    w.put_back(world, "policy", before[0], before, "digest")
    fresh = world.port()
    assert w.open_(fresh)
    assert findings(fresh) == {"row-put-back", "row-missing"}


def test_a_run_put_back_forgets_nothing(world, port):
    run = port.ask(runs.StartRun(w.fresh(), "work", Purpose.PREPARE)).run
    before = w.row_of(world, "run", run)
    port.ask(versions.OpenVersions(w.fresh(), ("dataset/patients",), run=run))
    w.put_back(world, "run", run, before)
    assert findings(port) == {"row-put-back"}


@pytest.mark.parametrize("table", ["version", "principal", "grant_", "policy", "root"])
def test_a_row_taken_out_is_found(world, port, table):
    if table == "root":
        w.sql(world, "DELETE FROM kek_slot")
    if table == "principal":
        w.sql(world, "DELETE FROM principal WHERE id LIKE '%:65534'")
    elif table == "version":
        w.sql(world, "DELETE FROM version WHERE number = 1")
    else:
        w.sql(world, f"DELETE FROM {table}")
    if table == "policy":
        with pytest.raises(HermeticError):
            w.open_(port)
        return
    assert "row-missing" in findings(port)


def test_a_row_that_nobody_logged_is_found(world, port):
    custodian = world.custodian()
    with custodian.database.write(custodian.row_keys) as session:  # the root's holder writes without the log
        row = session.first(tables.asset)
        session.update(tables.asset, row["id"], row["revision"], data_class="public")
    custodian.close()
    assert findings(port) == {"row-unlogged"}


# the log itself


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE log_leaf SET leaf = replace(leaf, 'restricted', 'public') WHERE kind = 'version.published'",
        "UPDATE log_leaf SET hash = randomblob(32) WHERE idx = 3",
        "DELETE FROM log_leaf WHERE idx = 3",
        "DELETE FROM log_checkpoint WHERE size > 1",
        "UPDATE log_checkpoint SET note = replace(note, 'hermetic', 'hermitic')",
        "UPDATE log_checkpoint SET root = randomblob(32)",
        "DELETE FROM log_leaf WHERE idx >= 4",
    ],
)
def test_a_changed_log_is_refused(world, port, statement):
    w.sql(world, statement)
    with pytest.raises(LogTampered):
        port.ask(log.VerifyLog())


def test_a_cut_log_is_refused_by_the_next_release(world, port):
    w.sql(world, "UPDATE log_checkpoint SET root = randomblob(32)")
    fresh = world.custodian()
    fresh.close()
    with pytest.raises(LogTampered):
        w.open_(port)
    with pytest.raises(LogTampered):
        world.port().ask(Hello())
