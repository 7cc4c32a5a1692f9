"""`hermetic key root` and `hermetic key providers` on a real domain."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from hermetic.providers import registry
from hermetic.testing.fake_provider import FakeProvider, Fault

PASSPHRASE = "a passphrase for tests of roots"
DATA = b"name,age\np,1\n"


@pytest.fixture
def project(hermetic, domain_home, tmp_path, monkeypatch):
    folder = tmp_path / "project"
    folder.mkdir(mode=0o700)
    monkeypatch.chdir(folder)
    monkeypatch.setattr("hermetic.domain.backing.DELAY_S", 3600)
    for name in ("passphrase", "recovery"):
        (tmp_path / name).write_text(PASSPHRASE)
        (tmp_path / name).chmod(0o600)
    (tmp_path / "backup").mkdir(mode=0o700)
    done = hermetic(
        "init",
        "--root",
        "local:insecure-file",
        "--backup",
        tmp_path / "backup",
        "--recovery-passphrase-file",
        tmp_path / "recovery",
    )
    assert done.code == 0, done.err
    (folder / "a.csv").write_bytes(DATA)
    assert hermetic("seal", "a.csv", "--as", "dataset/a", "--class", "restricted").code == 0
    return folder


def rows(hermetic):
    return {row["provider"]: row for row in hermetic("key", "root", "ls", "--json").json["roots"]}


def cat(folder):
    """In a process of its own, through a pipe."""
    command = [sys.executable, "-c", "from hermetic.cli.main import main; main()", "cat", "dataset/a", "--purpose", "prepare"]
    return subprocess.run(command, cwd=folder, capture_output=True, check=False)


def test_from_a_plain_file_to_a_passphrase(hermetic, project, tmp_path):
    added = hermetic("key", "root", "add", "local:passphrase", "--passphrase-file", tmp_path / "passphrase", "--reason", "for real")
    assert added.code == 0, added.err
    assert "opens     3 of 3 keys" in added.out
    old = rows(hermetic)["local:insecure-file"]["root"]
    refused = hermetic("key", "root", "drop", old, "--reason", "x")
    assert (refused.code, f"hermetic key root deactivate {old}" in refused.err) == (1, True)
    assert hermetic("key", "root", "deactivate", old[:6], "--reason", "moved").code == 0
    dropped = hermetic("key", "root", "drop", old[:6], "--reason", "moved")
    assert dropped.code == 0, dropped.err
    assert "its file was overwritten and removed" in dropped.out
    assert "hermetic backup now --recovery-passphrase-file FILE" in dropped.err
    assert rows(hermetic)["local:insecure-file"]["state"] == "destroyed"
    assert hermetic("status", "--json").json["roots"]
    done = cat(project)
    assert (done.returncode, done.stdout) == (0, DATA), done.stderr
    assert hermetic("backup", "now", "--recovery-passphrase-file", tmp_path / "recovery").code == 0
    assert [path.name for path in (tmp_path / "backup").rglob("recovery-*")] == [
        f"recovery-{rows(hermetic)['local:passphrase']['root']}.json"
    ]


def test_a_drop_speaks_of_no_recovery_passphrase_where_none_was_set(hermetic, project, tmp_path):
    for path in (tmp_path / "backup").rglob("recovery-*"):
        path.unlink()
    assert hermetic("backup", "now").code == 0
    assert hermetic("status", "--json").json["backup"]["has_recovery"] is False
    assert hermetic("key", "root", "add", "local:insecure-file").code == 0
    old = hermetic("key", "root", "ls", "--json").json["roots"][0]["root"]
    assert hermetic("key", "root", "deactivate", old, "--reason", "moved").code == 0
    dropped = hermetic("key", "root", "drop", old, "--reason", "moved")
    assert (dropped.code, "recovery passphrase went" in dropped.err) == (0, False)


def test_a_root_in_settings_that_config_yaml_keeps(hermetic, project, monkeypatch, domain_home):
    made = {}

    class Backend:
        def create(self, uri, place, _asked):
            assert place.settings == {"address": "https://x.example.org"}
            return made.setdefault(place.root_id, FakeProvider(place.root_id, uri=uri))

        def open_(self, uri, place):
            return made[place.root_id]

    registry.register("fake", Backend())
    try:
        (config,) = domain_home.rglob("config.yaml")
        config.write_text("# mine\n" + config.read_text())
        added = hermetic("key", "root", "add", "fake:x", "--setting", "address=https://x.example.org")
        assert added.code == 0, added.err
        assert config.read_text().startswith("# mine\n")
        assert "address: https://x.example.org" in config.read_text()
        (root,) = made
        made[root].fault = Fault.UNREACHABLE
        listed = hermetic("key", "providers", "--json").json["providers"]
        assert [(row["provider"], row["status"]) for row in listed] == [("local:insecure-file", "ready"), ("fake:x", "unreachable")]
        suspended = hermetic("key", "root", "suspend", root, "--reason", "down")
        assert suspended.code == 0, suspended.err
        assert hermetic("key", "root", "resume", root).code == 6, "it is down still"
        made[root].fault = None
        assert hermetic("key", "root", "resume", root).code == 0
        assert rows(hermetic)["fake:x"]["state"] == "active"
        made[root].fault = Fault.FORGETS_CONTEXT
        report = hermetic("key", "providers", "--check")
        assert (report.code, "not enforced, though promised" in report.out) == (1, True)
    finally:
        registry.register("fake", None)


def test_the_report(hermetic, project):
    done = hermetic("key", "providers", "--check", "--json")
    assert done.code == 0, done.err
    (report,) = done.json["providers"]
    assert {probe["name"]: probe["outcome"] for probe in report["probes"]}["extraction-refused"] == "not enforced"
    assert report["wraps_per_s"] > 0
    shown = hermetic("key", "providers", "--check")
    assert "Recorded today, opened later" in shown.out
    assert "AES-256-GCM" in shown.out


def test_a_provider_that_no_domain_uses_is_tried_in_passing(hermetic, tmp_path, domain_home):
    done = hermetic("key", "providers", "--check", "local:passphrase", "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["providers"][0]["provider"] == "local:passphrase"
    assert hermetic("key", "providers", "local:passphrase").code == 2
    assert hermetic("key", "providers", "--check", "nonsense:x").code == 2


def test_refused_before_anything_is_written(hermetic, project):
    for arguments in (("passphrase",), ("nonsense:x",), ("local:nonsense",), ("local:passphrase",)):
        assert hermetic("key", "root", "add", *arguments).code == 2, arguments
    assert [row["state"] for row in hermetic("key", "root", "ls", "--json").json["roots"] if row["state"] != "pre-active"] == [
        "active"
    ]


def test_unlock_opens_each_root_that_a_passphrase_opens(hermetic, project, tmp_path):
    (tmp_path / "other").write_text("another passphrase for tests")
    (tmp_path / "other").chmod(0o600)
    for file in ("passphrase", "other"):
        added = hermetic("key", "root", "add", "local:passphrase", "--passphrase-file", tmp_path / file)
        assert added.code == 0, added.err
    assert hermetic("lock").code == 0
    assert cat(project).stdout == DATA, "the plain file still opens it"
    done = hermetic("unlock", "--passphrase-file", tmp_path / "passphrase")
    assert done.code == 0, done.err
    assert done.err.count("stays locked: its passphrase is another one") == 1
    assert hermetic("lock").code == 0
