"""Custody that runs on while its config.yaml is changed says so, to those who read the catalogue."""

from __future__ import annotations

import fcntl
import os

import pytest

from hermetic.domain import begun, config
from hermetic.domain.serving import SeparatedCustody
from hermetic.evidence import critical
from hermetic.formats.messages.domain import GatherFacts

CHAT = "notify: {chat: {webhook: https://chat.example/hook, key: /etc/hermetic/chat.key}}\n"


@pytest.fixture
def running(world):
    """A connection that goes on, and what writes config.yaml."""
    file = world.home.domain_config(world.domain) / config.CONFIG_FILE
    before = file.read_text()

    def write(more):
        file.write_text(before + more)

    with world.connect() as connection:
        yield connection, write


def found(connection):
    return [(item.subject, item.message) for item in critical.find(connection.ask(GatherFacts())) if item.code == "settings-outdated"]


def test_what_was_changed_is_named_until_it_is_undone(running):
    connection, write = running
    assert found(connection) == []
    write(CHAT + "anchor: {command: [logger]}\n")
    ((subject, message),) = found(connection)
    assert (subject, message.endswith("says otherwise now: anchor, notify")) == ("config.yaml", True)
    assert "chat" not in message
    write("")
    assert found(connection) == []


def test_what_is_read_anew_and_what_means_the_same_is_no_change(running):
    connection, write = running
    write("# a remark\nlogin: {url: https://login.example:8444}\n")
    assert found(connection) == []


@pytest.mark.parametrize("broken", ["stores: [\n", "no-such-thing: {}\n"])
def test_a_file_that_cannot_be_read_any_more(running, broken):
    connection, write = running
    write(broken)
    assert "would not start again" in found(connection)[0][1]


def test_custodys_own_user_learns_it_of_a_service_beside(running, world, monkeypatch):
    _, write = running
    folder = world.home.domain_config(world.domain)
    (folder / ".serving.1").write_text('{"backup": "of one that was killed"}')
    monkeypatch.setenv("HERMETIC_HOME", str(world.root / "home"))
    with SeparatedCustody(world.project), SeparatedCustody(world.project):
        assert len(list(folder.glob(".serving.*"))) == 2
        with world.connect() as beside:
            assert found(beside) == []
        write(CHAT)
        with world.connect() as beside:
            assert found(beside)[0][1].endswith("says otherwise now: notify")
    assert list(folder.glob(".serving.*")) == []
    with world.connect() as beside:
        assert found(beside) == []


def test_what_lies_there_and_is_none_of_ours_stops_nobody(tmp_path):
    settings = config.UserConfig()
    (empty := tmp_path / ".serving.0").write_bytes(b"")  # of a service that starts in the same moment
    (tmp_path / ".serving.1").symlink_to(empty)
    os.mkfifo(tmp_path / ".serving.2")
    (tmp_path / ".serving.3").mkdir()
    (tmp_path / ".serving.4").write_text('["of no service"]')
    with (tmp_path / ".serving.5").open("w+") as locked:
        locked.write('["locked all the same"]')
        locked.flush()
        fcntl.flock(locked, fcntl.LOCK_EX)
        note = begun.Note(tmp_path, settings)
        left = {path.name for path in tmp_path.iterdir()}
        assert {".serving.0", ".serving.5", note._path.name} <= left
        assert ".serving.4" not in left
        assert [*begun._running(tmp_path)] == [{}]  # ours, which say nothing
        note.remove()
        assert not note._path.exists()


def test_who_begins_now_begins_with_it(running, world):
    _, write = running
    write(CHAT)
    with world.connect() as fresh:
        assert found(fresh) == []
