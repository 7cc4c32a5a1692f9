"""A promotion by one user, agreed to by another, each on a transport of their own; hermetic:// opens nothing of elsewhere."""

from __future__ import annotations

import contextlib

import fsspec
import pytest

from hermetic.access import identity
from hermetic.assets.workspace import Workspace
from hermetic.domain import config
from hermetic.domain.leases import LeaseHolder
from hermetic.errors import ApprovalNeeded, Denied, PolicyDenied
from hermetic.formats.messages.catalogue import ShowVersion
from hermetic.formats.messages.runs import StartRun
from hermetic.formats.messages.versions import OpenVersions
from hermetic.ids import Enforcement, Environment, Purpose
from hermetic.integrations import process
from hermetic.integrations.filesystem import HermeticFileSystem
from tests import backends
from tests import world as w
from tests.unit.custody.approving import the_request
from tests.unit.custody.test_webauthn_approvals import Toucher

LEVELS = dict(zip(backends.BACKENDS, Enforcement, strict=True))
LEAD, APPROVER = 5, 8  # users that every Debian has
NAMES = {LEAD: "games", APPROVER: "mail"}
DEV, STAGING, _ = Environment


@pytest.fixture
def world(tmp_path):
    made = w.World.make(tmp_path / "world")
    config.save(made.home.domain_config(made.domain), config.UserConfig(store_folders={"staging": tmp_path / "staging"}))
    owner = made.port()
    w.enrol(owner, NAMES[LEAD], ("research-lead", "data-steward"))
    w.enrol(owner, NAMES[APPROVER], ("approver",))
    yield made
    made.close()


@contextlib.contextmanager
def at_work(world, user, backend, folder):
    """A Workspace of a user of the machine, by a transport of their own, at the level that goes with it."""
    connection = world.connect()
    local = connection.port
    local._caller, local.custodian.enforcement = identity.local_id(world.domain, user), LEVELS[backend]
    folder.mkdir(exist_ok=True)
    with backends.behind(backend, local, folder) as port:
        connection._port, connection.leases = port, LeaseHolder(port)
        with Workspace(connection) as h:
            yield h


@pytest.mark.parametrize("backend", backends.BACKENDS)
def test_two_users_carry_a_version(world, tmp_path, backend, monkeypatch):
    mo = Toucher("mo")
    mo.enrol(world.ports[0])
    with at_work(world, LEAD, backend, tmp_path / "l") as lead, at_work(world, APPROVER, backend, tmp_path / "a") as approver:
        sealed = {"name": "model/risk", "data_class": "confidential", "owner": "ana", "parents": (), "purpose": "ingest"}
        lead.seal(b"weights", **sealed)
        with pytest.raises(ApprovalNeeded):
            lead.promote("model/risk", "staging", reason="evaluated")
        with pytest.raises(Denied):  # who agrees does not carry
            approver.promote("model/risk", "staging", reason="evaluated")
        row = the_request(approver.connection.port)
        mo.answers(approver.connection.port, row, row.created_ms)
        done = lead.promote("model/risk", "staging", reason="evaluated")
        assert (done.ref, done.environment, done.source_environment) == ("model/risk@1", STAGING, DEV)
        ask = lead.connection.ask
        copies = {where: ask(ShowVersion("model/risk@1", environment=where)) for where in (DEV, STAGING)}
        assert copies[DEV].kek != copies[STAGING].kek
        lead.seal(b"newer", **sealed)
        with pytest.raises(ApprovalNeeded):  # that was for the other version
            lead.promote("model/risk", "staging", reason="evaluated")
        (decided,) = [facts for kind, facts, _ in w.leaves(world.ports[0]) if kind == "version.promotion"]
        assert (decided["to"], decided["approvals"], decided["enforcement"]) == ("staging", 1, LEVELS[backend].value)
        not_across(lead, monkeypatch)


def not_across(h, monkeypatch):
    """A URL means what it does in the environment of whoever opens it, and names nothing of another."""
    monkeypatch.setattr(process, "connect", lambda start=None: h.connection)
    monkeypatch.setattr(process, "_known", {})
    HermeticFileSystem.clear_instance_cache()
    h.connection.environment = STAGING
    h.seal(b"rows", name="dataset/staged", data_class="internal", parents=(), purpose="ingest")
    h.connection.environment = DEV
    for url in ("hermetic://dataset/staged", "hermetic://dataset/staged@1"):
        with pytest.raises(FileNotFoundError, match="there is no"), fsspec.open(url, purpose="evaluate") as file:
            file.read()
    run = h.connection.port.ask(StartRun(w.fresh(), "evaluate", Purpose.EVALUATE, environment=DEV)).run
    with pytest.raises(PolicyDenied) as refused:
        h.connection.port.ask(OpenVersions(w.fresh(), ("dataset/staged@1",), Purpose.EVALUATE, run=run, environment=STAGING))
    assert tuple(refused.value.reasons) == ("environment",)
    h.connection.environment = STAGING
    HermeticFileSystem.clear_instance_cache()
    with fsspec.open("hermetic://dataset/staged@1", purpose="prepare") as file:
        assert file.read() == b"rows"
    HermeticFileSystem.clear_instance_cache()
