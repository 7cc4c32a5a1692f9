"""Notifications: written with the event, delivered after it, at least once, without names, to who can prove to be the target."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import signal
import subprocess
import sys

import pytest

from hermetic.domain import config, notify_sending, notify_settings, notifying
from hermetic.domain.notify_sending import Failed
from hermetic.domain.serving import SeparatedCustody
from hermetic.errors import ApprovalNeeded, ConfigError, Unsupported
from hermetic.evidence import critical
from hermetic.formats.messages.approvals import ListRequests, WithdrawRequest
from hermetic.formats.messages.domain import GatherFacts
from hermetic.formats.messages.policy import SetRoles
from tests import world as w
from tests.unit.custody.approving import Person, to_shred
from tests.unit.domain.receivers import certify, receiving

KEY = bytes(range(32))
STRICT = ("approvals: 2, approvals_in: {development: 0, staging: 1}", "approvals: 1")


@pytest.fixture(scope="module")
def certified(tmp_path_factory):
    return certify(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def receiver(certified):
    with receiving(*certified) as server:
        yield server


@pytest.fixture
def world(tmp_path, monkeypatch):
    made = w.World.make(tmp_path / "world")
    monkeypatch.setenv("HERMETIC_HOME", str(made.root / "home"))
    yield made
    made.close()


def settings(world):
    return world.home.domain_config(world.domain)


def tell(world, receiver, certified, name="chat", **more):
    """Configure a webhook."""
    key = settings(world) / "chat.key"
    key.touch(0o600)
    key.write_bytes(b"whsec_" + base64.b64encode(KEY) + b"\n")
    given = {"webhook": f"https://127.0.0.1:{receiver.server_port}/hook", "key": str(key), "authority": str(certified[0]), **more}
    path = settings(world) / config.CONFIG_FILE
    path.touch(0o600)
    path.write_text(json.dumps({"notify": {name: given}}))


def asked(connection):
    """Something that waits for approval."""
    try:
        connection.ask(to_shred(connection))
    except ApprovalNeeded:
        return connection.ask(ListRequests()).requests[-1]
    raise AssertionError("nobody was asked")


@pytest.fixture
def strict(world):
    """Shredding needs one approver, who is there."""
    port = world.port()
    w.change_policy(world, port, lambda text: text.replace(*STRICT))
    w.seal(port, "dataset/patients")
    bob = Person("bob")
    bob.enrol(port)
    port.close()
    return bob


def body_of(got):
    return json.loads(got[2])


def rows(world):
    return w.sql(world, "SELECT kind, state, tries FROM notification ORDER BY created_ms, id")


def test_what_happens_to_a_request_is_told_signed_and_without_names(world, strict, receiver, certified):
    tell(world, receiver, certified)
    with world.connect() as connection:
        row = asked(connection)
        strict.answers(connection, row, connection._custodian.clock())
        connection.ask(to_shred(connection))
        assert connection.notifier().deliver() == notifying.Delivered(sent=3)
    said = [body_of(got) for got in receiver.got]
    assert [item["event"] for item in said] == ["approval.asked", "approval.given", "approval.used"]
    assert {item["request"] for item in said} == {row.id}
    assert (said[0]["action"], said[0]["needed"], said[0]["expires_ms"]) == ("delete", 1, row.expires_ms)
    assert len({item["id"] for item in said}) == 3
    everything = repr(receiver.got)
    assert not [word for word in ("bob", "patients", "consent", row.requester, "looked at it") if word in everything]
    _, headers, body = receiver.got[0]
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    assert headers["webhook-signature"] == "v1," + base64.b64encode(hmac.digest(KEY, signed, hashlib.sha256)).decode()
    assert headers["webhook-id"] == said[0]["id"]
    assert rows(world) == []


def test_names_and_events_as_the_settings_say(world, strict, receiver, certified):
    tell(world, receiver, certified, names=True, events=["approval.denied", "approval.withdrawn", "principal.disabled"])
    with world.connect() as connection:
        row = asked(connection)
        connection.ask(WithdrawRequest(row.id, "a reason that is private"))
        row = asked(connection)
        strict.answers(connection, row, connection._custodian.clock(), "deny")
        connection.ask(SetRoles("nobody", ("auditor",), "joins"))
        connection.ask(SetRoles("nobody", (), "leaves"))
        assert connection.notifier().deliver().sent == 3
    said = {item["event"]: item for item in map(body_of, receiver.got)}
    assert set(said) == {"approval.denied", "approval.withdrawn", "principal.disabled"}
    assert said["approval.denied"]["names"]["approver"] == "bob"
    assert said["principal.disabled"]["names"]["subject"] == "nobody"
    assert "private" not in repr(receiver.got)


def test_the_class_is_told_where_the_request_is_about_data_of_one(world, receiver, certified):
    tell(world, receiver, certified)
    with world.connect() as connection:
        w.change_policy(world, connection, lambda text: text.replace("operations:\n", "operations:\n  classify: {approvals: 1}\n", 1))
        w.seal(connection, "dataset/patients")
        Person("bob").enrol(connection)
        from hermetic.formats.messages.catalogue import RecordDecision

        with pytest.raises(ApprovalNeeded):
            connection.ask(RecordDecision("dataset/patients", "because", retention_days=30))
        connection.notifier().deliver()
    assert body_of(receiver.got[-1])["class"] == "restricted"
    with world.connect() as connection:
        assert "restricted" not in repr([facts for kind, facts, _ in w.leaves(connection) if kind == "approval.asked"])


def test_expiry_is_told_by_a_service_without_anybody_looking(world, strict, receiver, certified):
    tell(world, receiver, certified, events=["approval.expired"])
    with world.connect() as connection:
        row = asked(connection)
        custodian = connection._custodian
        before = custodian.clock
        custodian.clock = lambda: before() + w.DAY
        notifier = connection.notifier()
        notifier.sweep()
        assert notifier.deliver().sent == 1
    assert body_of(receiver.got[0]) | {"id": "", "at_ms": 0} == {
        "id": "",
        "at_ms": 0,
        "event": "approval.expired",
        "domain": world.domain,
        "request": row.id,
        "action": "delete",
        "needed": 1,
        "expires_ms": row.expires_ms,
    }


def test_a_service_delivers_by_itself(world, strict, receiver, certified):
    """What was waiting when it starts, and what it makes itself, as soon as that is durable."""
    tell(world, receiver, certified)
    with world.connect() as connection:
        first = asked(connection)
    with SeparatedCustody(world.project):
        assert receiver.came.acquire(timeout=20)
    with world.connect() as connection:
        thread = notifying.DeliveryThread(connection.notifier(), connection._custodian.outbox.wake, look_s=600.0)
        thread.start()
        try:
            connection.ask(WithdrawRequest(first.id, "not needed"))
            assert receiver.came.acquire(timeout=20)
        finally:
            thread.stop()
    assert [body_of(got)["event"] for got in receiver.got] == ["approval.asked", "approval.withdrawn"]


def test_nothing_is_written_where_nobody_is_told(world, strict):
    with world.connect() as connection:
        asked(connection)
        assert connection.notifier().deliver() == notifying.Delivered()
    assert rows(world) == []


# what fails


def test_a_target_that_fails_is_tried_again_and_given_up_and_revived(world, strict, receiver, certified):
    tell(world, receiver, certified, events=["approval.asked"])
    receiver.status = 500
    with world.connect() as connection:
        asked(connection)
        custodian, notifier = connection._custodian, connection.notifier()
        before = custodian.clock
        for tries in range(1, notifying.TRIES + 1):
            assert notifier.deliver().failed + notifier.deliver().failed == (tries < notifying.TRIES), "and not at once again"
            ahead = custodian.clock() - before() + notifying.LONGEST_MS
            custodian.clock = lambda ahead=ahead: before() + ahead
        assert rows(world) == [("approval.asked", "dead", notifying.TRIES)]
        assert len({body_of(got)["id"] for got in receiver.got}) == 1
        assert len(receiver.got) == notifying.TRIES
        found = {item.code: item for item in critical.find(connection.ask(GatherFacts()))}
        assert found["notifications-dead"].subject == "chat"
        receiver.status = 200
        assert notifier.deliver(again=True).sent == 1
    assert rows(world) == []


def test_again_does_not_wait_for_the_next_try(world, strict, receiver, certified):
    tell(world, receiver, certified, events=["approval.asked"])
    receiver.status = 500
    with world.connect() as connection:
        asked(connection)
        notifier = connection.notifier()
        assert notifier.deliver() == notifying.Delivered(failed=1, waiting=1)
        receiver.status = 200
        assert notifier.deliver() == notifying.Delivered(waiting=1)
        assert rows(world) == [("approval.asked", "waiting", 1)]
        assert notifier.deliver(again=True) == notifying.Delivered(sent=1)


def test_what_waits_for_long_is_a_finding(world, strict, receiver, certified):
    tell(world, receiver, certified)
    with world.connect() as connection:
        asked(connection)
        before = connection._custodian.clock
        connection._custodian.clock = lambda: before() + 2 * w.HOUR
        assert "notifications-late" in {item.code for item in critical.find(connection.ask(GatherFacts()))}


@pytest.mark.parametrize("how", ["redirect", "stranger", "key"])
def test_what_is_not_the_target_gets_nothing(world, strict, receiver, certified, tmp_path, how):
    tell(world, receiver, certified)
    if how == "redirect":
        receiver.status, receiver.where = 307, f"https://127.0.0.1:{receiver.server_port}/elsewhere"
    if how == "key":
        (settings(world) / "chat.key").chmod(0o644)
    if how == "stranger":
        other = certify(tmp_path, "other")
        tell(world, receiver, other)
    with world.connect() as connection:
        asked(connection)
        assert connection.notifier().deliver().failed == 1
    assert [path for path, _, _ in receiver.got] == (["/hook"] if how == "redirect" else [])


def test_what_is_no_longer_configured_is_dropped(world, strict, receiver, certified):
    tell(world, receiver, certified)
    with world.connect() as connection:
        asked(connection)
    tell(world, receiver, certified, "another")
    with world.connect() as connection:
        assert connection.notifier().deliver() == notifying.Delivered(dropped=1)


KILLED = """
import os, signal, sys
from pathlib import Path
from hermetic import steps
from hermetic.domain.connect import connect
from hermetic.errors import ApprovalNeeded
from tests.unit.custody.approving import to_shred
at = sys.argv[2]
def hook(name):
    if name == at:
        os.kill(os.getpid(), signal.SIGKILL)
connection = connect(Path(sys.argv[1]))
steps.install(hook)
try:
    connection.ask(to_shred(connection))
except ApprovalNeeded:
    connection.notifier().deliver()
"""


@pytest.mark.parametrize(
    ("step", "told"),
    [
        ("custody.approval.asked.before", 0),
        ("custody.approval.asked", 1),
        ("domain.notification.claimed", 1),
        ("domain.notification.settled.before", 2),
        ("domain.notification.settled", 1),
    ],
)
def test_a_kill_loses_nothing(world, strict, receiver, certified, step, told):
    """Between the event and its delivery, between claim and sending, between sending and its record: told once, or once again."""
    tell(world, receiver, certified)
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(world.project), step],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    with world.connect() as connection:
        assert len(connection.ask(ListRequests()).requests) == min(told, 1), "the row is there exactly if the event is"
        before = connection._custodian.clock
        connection._custodian.clock = lambda: before() + notifying.LONGEST_MS
        connection.notifier().deliver()
    assert len(receiver.got) == told
    assert len({body_of(got)["id"] for got in receiver.got}) == min(told, 1)
    assert rows(world) == []


def test_two_that_deliver_at_once_send_it_once(world, strict, receiver, certified):
    tell(world, receiver, certified)
    with world.connect() as one, world.connect() as two:
        asked(one)
        first, second = one.notifier(), two.notifier()
        due = second._due()
        assert first.deliver().sent == 1
        second._due = lambda: due
        assert second.deliver() == notifying.Delivered()
    assert len(receiver.got) == 1


# settings


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"webhook": "https://h/p"},
        {"webhook": "http://h/p", "key": "/k"},
        {"webhook": "https://u:p@h/p", "key": "/k"},
        {"webhook": "https://h:0x/p", "key": "/k"},
        {"webhook": "https://h/\r\nX: y", "key": "/k"},
        {"webhook": "https://h/p", "key": "k"},
        {"webhook": "https://h/p", "key": "/k", "secret": "x"},
        {"webhook": "https://h/p", "key": "/k", "events": ["all"]},
        {"webhook": "https://h/p", "key": "/k", "names": "yes"},
        {"webhook": "https://h/p", "key": "/k", "smtp": "h:25"},
        {"smtp": "h", "from": "a@b", "to": ["c@d"]},
        {"smtp": "h:25", "from": "a@b", "to": []},
        {"smtp": "h:25", "from": "a@b\nBcc: x@y", "to": ["c@d"]},
        {"smtp": "h:25", "from": "a@b", "to": ["c@d"], "tls": "none"},
        {"smtp": "127.0.0.1:25", "from": "a@b", "to": ["c@d"], "tls": "none", "user": "u", "password": "/p"},
        {"smtp": "h:25", "from": "a@b", "to": ["c@d"], "user": "u"},
        {"smtp": "h:25", "from": "a@b", "to": ["c@d"], "tls": "maybe"},
    ],
)
def test_settings_that_are_refused(given):
    with pytest.raises(ConfigError):
        notify_settings.read({"chat": given}, "config.yaml")


@pytest.mark.parametrize("value", [[], {"A": {"webhook": "https://h/p", "key": "/k"}}, {str(at): {} for at in range(17)}, {"a": 7}])
def test_targets_that_are_none(value):
    with pytest.raises(ConfigError):
        notify_settings.read(value, "config.yaml")


def test_settings_are_written_as_they_were_read(tmp_path):
    given = {"chat": {"webhook": "https://h/p", "key": "/k", "events": ["approval.asked"]}}
    made = config.UserConfig(notify=notify_settings.read(given, ""))
    tmp_path.chmod(0o700)
    config.save(tmp_path, made)
    assert config.load(tmp_path) == made


def test_custody_elsewhere_delivers_there(world):
    with world.connect() as connection:
        connection._custodian = None
        with pytest.raises(Unsupported):
            connection.notifier()


@pytest.mark.parametrize("raw", [b"", b"whsec_", b"whsec_AAAA", b"whsec_" + base64.b64encode(bytes(65)), b"no base64 at all, is it?"])
def test_keys_that_are_none(tmp_path, raw):
    path = tmp_path / "key"
    path.touch(0o600)
    path.write_bytes(raw)
    target = notify_settings.read({"chat": {"webhook": "https://127.0.0.1:1/p", "key": str(path)}}, "")["chat"]
    with pytest.raises(Failed, match="holds no key"):
        notify_sending.send(target, notify_sending.Message("n", "approval.asked", 0, {}))
