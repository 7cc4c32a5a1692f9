"""Our log read whole and verified before it explains anything; which root, which reader; times as people write them."""

from __future__ import annotations

import itertools
import json
from datetime import UTC, datetime

import pytest

from hermetic.audit.recorded import Recorded
from hermetic.cli import log_reconcile
from hermetic.cli.main import root as program
from hermetic.domain import reconciling
from hermetic.errors import IntegrityError, LogTampered, NotFound, Unsupported, UsageError
from hermetic.formats.messages.roots import ListRoots
from hermetic.keys.provider import ProviderUse
from hermetic.providers import records, registry
from hermetic.providers.local_root import LocalRoot
from tests import world as w


@pytest.fixture
def service(monkeypatch, world):
    """Local roots, as if a service held them that keeps a record, which is returned."""
    record, waiting, numbers = [], [], itertools.count()
    real = LocalRoot.unwrap

    def unwrap(self, wrapped, context):
        secret = real(self, wrapped, context)
        request = f"request-{next(numbers)}"
        now = datetime.now(UTC).timestamp() * 1000
        record.append(Recorded("use", int(now), "unwrap", request, "trainer", login="t"))
        waiting.append(ProviderUse("unwrap", request, int(now) + 1))
        return secret

    def take_uses(_self):
        taken = tuple(waiting)
        waiting.clear()
        return taken

    def reader(_root, _paths, coverage, *, settings):
        assert settings == {}
        for item in record:
            coverage.saw(item.at_ms)
            yield item

    monkeypatch.setattr(LocalRoot, "unwrap", unwrap)
    monkeypatch.setattr(LocalRoot, "take_uses", take_uses, raising=False)
    monkeypatch.setattr(records, "READ", {"local": "a record"})
    monkeypatch.setattr(records, "reader", reader)
    yield record
    world.close()
    world.ports.clear()


def codes(done):
    return [found.code for found in done.report.findings]


def test_every_page_of_the_log_is_read(service, world, monkeypatch, tmp_path):
    monkeypatch.setattr("hermetic.domain.listing.LOG_PAGE", 2)
    for _ in range(3):
        with world.connect() as connection:
            w.seal(connection)
    with world.connect() as connection:
        done = reconciling.reconcile(connection, [tmp_path])
        assert codes(done) == []
        assert done.report.matched == len(service) == 15
        service.append(service[-1].__class__("use", service[-1].at_ms, "unwrap", "behind our back", "mallory"))
        assert codes(reconciling.reconcile(connection, [tmp_path])) == ["use-unexplained"]
        assert done.provider == "local:insecure-file"


def test_an_entry_that_custody_did_not_write_explains_nothing(service, world, tmp_path):
    with world.connect() as connection:
        w.seal(connection)
    (raw,) = w.sql(world, "SELECT leaf FROM log_leaf WHERE kind = 'root.used' ORDER BY idx LIMIT 1")[0]
    w.sql(world, "UPDATE log_leaf SET leaf = ? WHERE leaf = ?", bytes(raw).replace(b"request-0", b"request-X"), raw)
    with world.connect() as connection, pytest.raises(IntegrityError) as caught:
        reconciling.reconcile(connection, [tmp_path])
    assert isinstance(caught.value, LogTampered)


def test_which_root(service, world, tmp_path):
    with world.connect() as connection:
        (row,) = connection.ask(ListRoots()).roots
        assert reconciling.reconcile(connection, [tmp_path], root=row.root[:6]).root == row.root
        for wrong in ("zzzz", row.root[:2]):
            with pytest.raises(NotFound):
                reconciling.reconcile(connection, [tmp_path], root=wrong)
        (kept,) = reconciling.kept(connection)
        assert (kept.root, kept.compared) == (row.root, True)
    assert len(service) == 3


def test_roots_without_a_record(world, tmp_path):
    with world.connect() as connection:
        (kept,) = reconciling.kept(connection)
        assert (kept.compared, kept.record[:5]) == (False, "none:")
        with pytest.raises(UsageError, match="no root of this domain"):
            reconciling.reconcile(connection, [tmp_path])
        with pytest.raises(Unsupported, match="only our log"):
            reconciling.reconcile(connection, [tmp_path], root=kept.root)


def test_each_kind_of_provider_is_spoken_of():
    assert set(records.KEPT) == set(registry.known())
    for scheme in set(records.KEPT) - set(records.READ):
        with pytest.raises(Unsupported, match="has no record to compare"):
            records.reader((f"{scheme}:x", "r"), [], None, settings={})
    with pytest.raises(UsageError):
        records.reader(("nobody:x", "r"), [], None, settings={})


@pytest.mark.parametrize(
    ("text", "at"),
    [("2026-11-21", 1795219200000), ("2026-11-21T08:00Z", 1795248000000), ("2026-11-21T08:00+02:00", 1795240800000), (None, None)],
)
def test_times(text, at):
    assert log_reconcile._time(text) == at


def test_times_ago_and_times_that_are_none():
    now = datetime.now(UTC).timestamp() * 1000
    assert now - 3_700_000 < log_reconcile._time("1h") < now - 3_500_000
    for wrong in ("yesterday", "", "25:00", "1y"):
        with pytest.raises(UsageError):
            log_reconcile._time(wrong)


def test_the_command_says_what_it_compared(service, world, monkeypatch, capsys):
    with world.connect() as connection:
        w.seal(connection)
    monkeypatch.chdir(world.project)
    monkeypatch.setenv("HERMETIC_HOME", str(world.root / "home"))

    def run(*words):
        code = program(["log", "reconcile", *words], standalone_mode=False)
        return code, capsys.readouterr().out

    code, out = run("--audit", "any.log", "--json")
    assert code == 0
    document = json.loads(out)
    assert document["matched"] == document["recorded"] == document["log"]["uses"]
    service.append(Recorded("use", service[-1].at_ms, "unwrap", "x\x1b[2J", "mal\x07lory", address="\u202e"))
    code, out = run("--audit", "any.log")
    assert code == 7
    assert "use-unexplained  unwrap" in out
    assert not {"\x1b", "\x07", "\u202e"} & set(out)
    code, out = run()
    assert "local:insecure-file" in out
