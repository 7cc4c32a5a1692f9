"""Keys that live in a provider alone, as commands speak of them: listed, not in shares or backups, not brought back by a recovery."""

from __future__ import annotations

import pytest

import hermetic as library
from hermetic.errors import KeyUnusable
from hermetic.providers import registry
from hermetic.testing.fake_provider import FakeService

HOME = "fake:service"
WARNED = f"1 data key of dataset/cases open through {HOME} alone: no share, escrow or backup brings them back"
DATA = b"case,age\n1,44\n"


class Fakes:
    """A service, which every machine of a test reaches."""

    def __init__(self):
        self.made = {}

    def open_(self, _uri, place):
        return self.made[place.root_id]

    def create(self, uri, place, _asked):
        return self.made.setdefault(place.root_id, FakeService(place.root_id, uri=uri))


@pytest.fixture
def service():
    made = Fakes()
    registry.register("fake", made)
    yield made
    registry.register("fake", None)


@pytest.fixture
def project(hermetic, domain_home, tmp_path, monkeypatch, service):
    folder, backup = tmp_path / "project", tmp_path / "backup"
    for one in (folder, backup):
        one.mkdir(mode=0o700)
    monkeypatch.chdir(folder)
    monkeypatch.setattr("hermetic.domain.backing.DELAY_S", 3600)
    assert hermetic("init", "--root", "local:insecure-file", "--backup", backup).code == 0
    assert hermetic("key", "root", "add", HOME).code == 0
    path = folder / "hermetic.yaml"
    path.write_text(
        path.read_text().replace("\n  restricted:\n", "\n  restricted:\n    kek: in-provider\n", 1).replace("    kek: wrapped\n", "")
    )
    done = hermetic("policy", "apply")
    assert done.code == 0, done.err
    (folder / "cases.csv").write_bytes(DATA)
    assert hermetic("seal", "cases.csv", "--as", "dataset/cases", "--class", "restricted").code == 0
    return folder


def read():
    with library.connect() as h, h.open("dataset/cases", purpose="prepare") as file:
        return file.read()


def root(hermetic):
    return next(row["root"] for row in hermetic("key", "root", "ls", "--json").json["roots"] if row["provider"] == HOME)


def test_shown_where_keys_are_listed(project, hermetic):
    assert "v1 in fake" in hermetic("key", "ls").out
    (row,) = hermetic("key", "ls", "--json").json["keys"]
    assert [version["home"] for version in row["versions"]] == [HOME]
    assert f"{HOME}: 1 data key, not in shares, escrow or backups" in hermetic("key", "show", row["kek"][:6]).out
    found = {item["code"]: item for item in hermetic("status", "--json").json["findings"]}
    assert found["key-in-one-provider"]["subject"] == row["kek"]


def test_commands_about_recovery_name_what_they_do_not_cover(project, hermetic, tmp_path):
    for words in (("backup", "now"), ("key", "shares", "create", "--to-folder", tmp_path / "shares")):
        done = hermetic(*words)
        assert WARNED in done.err, words
    suspended = hermetic("key", "root", "suspend", root(hermetic), "--reason", "look")
    assert "1 data keys open through this root alone, of development/restricted/project: they open again after resume" in suspended.err
    with pytest.raises(KeyUnusable, match="suspended"):
        read()
    dropped = hermetic("key", "root", "deactivate", root(hermetic), "--reason", "gone")
    assert "rewrap them before it is dropped" in dropped.err
    assert hermetic("key", "root", "drop", root(hermetic), "--reason", "gone").code == 1


def test_a_recovery_says_what_did_not_come_back_and_how_it_would(project, hermetic, tmp_path, monkeypatch):
    made = hermetic("key", "shares", "create", "--to-folder", tmp_path / "shares", "--json").json
    assert hermetic("backup", "now").code == 0
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    monkeypatch.setenv("HERMETIC_HOME", str(elsewhere))
    given = [word for path in made["files"][:3] for word in ("--share-file", path)]
    done = hermetic("key", "recover", "--from", tmp_path / "backup", "--root", "local:insecure-file", *given, "--json")
    assert done.code == 7, done.err
    (finding,) = done.json["findings"]
    assert finding["code"] == "key-not-in-the-backup"
    assert f"1 data keys of development/restricted/project open through {HOME} alone, whose key is in no backup" in finding["message"]
    with pytest.raises(KeyUnusable, match="suspended"):
        read()
    back = hermetic("key", "root", "resume", root(hermetic))
    assert back.code == 0, back.err
    assert read() == DATA


def test_the_playbook_for_a_key_that_somebody_else_has(project, hermetic):
    (row,) = hermetic("key", "ls", "--json").json["keys"]
    done = hermetic("key", "compromise", row["kek"], "--reason", "somebody used the token")
    assert done.code == 0, done.err
    assert read() == DATA
    (row,) = hermetic("key", "ls", "--json").json["keys"]
    assert [(item["state"], item["home"]) for item in row["versions"]] == [("compromised", HOME), ("active", HOME)]
    assert row["versions"][1]["data_keys"] == 1


def test_rewrapping_the_root_says_that_data_keys_are_not_among_it(project, hermetic):
    done = hermetic("key", "root", "rewrap", root(hermetic), "--reason", "turned")
    assert done.code == 0, done.err
    assert "stay under the old version of its key until `hermetic key rotate KEK` moves them" in done.err
    assert read() == DATA
