"""Two hosts at one database race for what there is once: the last use of a grant, one set of approvals. Exactly one gets it."""

from __future__ import annotations

import contextlib
import shutil
import threading

import pytest

from hermetic.access import identity
from hermetic.custody import keyring, release
from hermetic.domain import opening
from hermetic.domain.create import create_domain
from hermetic.domain.home import Home
from hermetic.domain.local import LocalPort
from hermetic.errors import ApprovalNeeded, Conflict, HermeticError, PolicyDenied
from hermetic.formats.messages import policy
from hermetic.formats.messages.keys import ListKeys, RotateKey
from hermetic.ids import Purpose
from tests import world as w
from tests.unit.custody.approving import Person, the_request
from tests.world import World

ROUNDS = 12
NOBODY = 65534


@pytest.fixture
def hosts(server, tmp_path):
    """Two custody homes on one database: for each a function that gives a port on its custodian, with connections of its own."""
    place = server.database()
    first = tmp_path / "0"
    (first / "project").mkdir(mode=0o700, parents=True)
    home = Home(first / "home" / "data", first / "home" / "config")
    create_domain(first / "project", provider_uri="local:insecure-file", project_name="cardio", home=home, database=str(place))
    shutil.copytree(first, tmp_path / "1", symlinks=True)
    with contextlib.ExitStack() as undo:
        undo.callback(server.drop, place)
        custodians = []
        for world in (World(tmp_path / "0"), World(tmp_path / "1")):
            custodians.append(opening.open_custodian(world.data, world.domain, None, dict, clock=world.clock, server=place))
            undo.callback(custodians[-1].close)
        yield custodians


def port_of(custodian, uid=None):
    made = LocalPort(custodian)
    if uid is not None:
        made._caller = identity.local_id(custodian.domain, uid)
    return made


def meet(monkeypatch, module, step):
    """Let two threads meet where both have decided and neither has written; then each goes on as it may."""
    gate, met, real = threading.Barrier(2, timeout=60), threading.local(), module.unit

    def unit(custodian, name, *more, **named):
        if name == step and not hasattr(met, "once"):
            met.once = True
            gate.wait()
        return real(custodian, name, *more, **named)

    monkeypatch.setattr(module, "unit", unit)


def raced(*works):
    """What became of each: the answer, or the error."""
    found = []

    def run(work):
        try:
            found.append(work())
        except HermeticError as error:
            found.append(error)

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(type(item).__name__ for item in found)


def test_the_last_use_of_a_grant(hosts, monkeypatch):
    owner, others = port_of(hosts[0]), [port_of(custodian, NOBODY) for custodian in hosts]
    w.seal(owner)
    w.enrol(owner, "nobody", ["approver"])
    meet(monkeypatch, release, "custody.release.intent")
    for _ in range(ROUNDS):
        owner.ask(policy.GiveGrant("nobody", "open", "dataset/*", (Purpose.PREPARE,), w.START + w.HOUR, "a race", 1))
        assert raced(*(lambda port=port: w.open_(port) for port in others)) == ["Opened", "PolicyDenied"]
        with pytest.raises(PolicyDenied):
            w.open_(others[0])
    assert w.kinds(owner).count("release.outcome") == ROUNDS + 1  # and that of the seal


def test_one_set_of_approvals(hosts, monkeypatch):
    ports = [port_of(custodian) for custodian in hosts]
    people = [Person("bob"), Person("carol")]
    for person in people:
        person.enrol(ports[0])
    w.seal(ports[0])
    strict = ("administer-keys: {mfa: 15m, from: separated}", "administer-keys: {approvals: 2}")
    w.change_policy(None, ports[0], lambda text: text.replace(*strict))
    request = RotateKey(ports[0].ask(ListKeys()).keys[0].kek, "schedule")
    meet(monkeypatch, keyring, "custody.rotate.committed")
    for number in range(1, 1 + ROUNDS // 3):
        with pytest.raises(ApprovalNeeded):
            ports[0].ask(request)
        row = the_request(ports[0])
        for person in people:
            person.answers(ports[0], row, w.START)
        found = raced(*(lambda port=port: port.ask(request) for port in ports))
        assert len(set(found) - {ApprovalNeeded.__name__, Conflict.__name__}) == 1, found
        assert w.kinds(ports[0]).count("approval.used") == number
        assert [len(key.versions) for key in ports[0].ask(ListKeys()).keys] == [1 + number]
