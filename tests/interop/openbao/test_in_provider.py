"""`kek: in-provider` on a real server: what its record says of every release, and that no key of the class is ever here."""

from __future__ import annotations

from pathlib import Path

import pytest

import hermetic
from hermetic.domain.connect import connect
from hermetic.errors import HermeticError, IntegrityError, KeyServiceUnavailable, KeyUnusable
from hermetic.formats.messages import keys, roots, versions
from hermetic.ids import DataClass, Purpose
from hermetic.keys import hierarchy
from hermetic.keys import roots as root_rows
from hermetic.providers import openbao_audit
from hermetic.providers.openbao_transit import CHUNK
from tests import world as w
from tests.interop import inprovider as it
from tests.interop.rooted import command


def uses(desk, start=0):
    found = openbao_audit.read(desk.server.audit, mount="transit", key=desk.key, start=start)
    return [(use.operation, use.opened) for use in found]


def mark(desk):
    return desk.server.audit.stat().st_size


@pytest.fixture
def project(tmp_path, domain_home, monkeypatch, own_desk):
    """A domain with a root here and one in OpenBao, which the key of restricted data lives in."""
    folder = tmp_path / "clinic"
    folder.mkdir()
    monkeypatch.chdir(folder)
    command("init", "--root", "local:insecure-file")
    settings = [word for name, value in own_desk.settings.items() for word in ("--setting", f"{name}={value}")]
    command("key", "root", "add", own_desk.uri, *settings, "--reason", "the key of patients stays there")
    it.demand(folder, provider="openbao")
    return folder


def test_every_release_is_an_operation_of_the_server(project, own_desk, domain_home, monkeypatch):
    with monkeypatch.context() as patch:  # whatever would make, open or wrap a key of ours fails

        def never(*_args, **_named):
            raise AssertionError("a key of the class was here")

        patch.setattr(hierarchy, "load_kek", never)
        patch.setattr(root_rows, "wrap_under", never)
        it.seal(project)
        with connect(project) as connection:
            connection.ask(keys.ListKeys())
        start = mark(own_desk)
        first = it.opened(project)
    opening = uses(own_desk, start)
    assert opening.count(("decrypt", 3)) == 1, "three data keys, one call"
    assert sum(count for _, count in opening) - 3 <= 4, "besides it what opens the domain"
    row = it.key(project)
    it.no_key_here(domain_home, row)
    assert [(item.home, item.data_keys) for item in row.versions] == [(own_desk.uri, 3)]
    with hermetic.connect(project) as h:
        start = mark(own_desk)
        for number in (1, 2, 3):
            with h.open(f"dataset/visits@{number}", purpose="prepare") as file:
                assert file.read() == it.DATA + b"%d" % (number - 1)
        assert uses(own_desk, start) == [("decrypt", 1)] * 3
    assert it.opened(project) == first


def test_many_versions_at_once_take_a_request_for_each_248(project, own_desk):
    with connect(project) as connection:
        for _ in range(CHUNK + 2):
            w.seal(connection, "dataset/many")
        refs = [f"dataset/many@{number}" for number in range(1, CHUNK + 3)]
        start = mark(own_desk)
        released = connection.ask(versions.OpenVersions(it.fresh(), tuple(refs), Purpose.PREPARE)).released
        assert sorted(uses(own_desk, start)) == [("decrypt", 2), ("decrypt", CHUNK)]
        assert len({bytes(connection.port.redeem(item.lease.key).view()) for item in released}) == CHUNK + 2
    start = mark(own_desk)
    assert f"data keys moved  {CHUNK + 2}".encode() in command("key", "rotate", it.key(project).kek, "--reason", "yearly")
    assert sum(count for name, count in uses(own_desk, start) if name == "rewrap") == CHUNK + 2


def test_rotated_inside_the_server(project, own_desk, domain_home):
    it.seal(project)
    before = it.opened(project)
    own_desk.do("POST", f"transit/keys/{own_desk.key}/rotate")
    start = mark(own_desk)
    assert b"data keys moved  3" in command("key", "rotate", it.key(project).kek[:8], "--reason", "yearly")
    moved = uses(own_desk, start)
    assert ("rewrap", 3) in moved
    assert ("decrypt", 3) not in moved, "what is inside stays inside"
    wraps = it.stored(domain_home, "SELECT wrapped FROM data_key")
    assert {wrapped[8:12] for (wrapped,) in wraps} == {(2).to_bytes(4, "big")}
    own_desk.do("POST", f"transit/keys/{own_desk.key}/config", {"min_decryption_version": 2})
    assert it.opened(project) == before


def test_from_here_to_the_server_and_back(project, own_desk, domain_home):
    it.demand(project, place="wrapped")
    it.seal(project)
    before = it.opened(project)
    it.demand(project)
    assert b"key-not-where-wanted" in command("status", code=7)
    command("key", "rotate", it.key(project).kek, "--reason", "into the server")
    row = it.key(project)
    assert [(item.home, item.data_keys) for item in row.versions] == [("", 0), (own_desk.uri, 3)]
    assert it.opened(project) == before
    said = command("status", code=7)
    assert b"key-in-one-provider" in said
    assert b"key-not-where-wanted" not in said
    shown = " ".join(command("key", "show", row.kek).decode().split())
    assert f"only there {own_desk.uri}: 3 data keys, not in shares, escrow or backups" in shown
    it.demand(project, place="wrapped")
    command("key", "rotate", row.kek, "--reason", "out of it")
    own_desk.server.stop()
    assert it.opened(project) == before, "the root here opens it again"


def test_down_and_back_suspended_and_resumed(project, own_desk):
    it.seal(project)
    with hermetic.connect(project) as h:
        h.seal(it.DATA, name="dataset/open", data_class="internal")
    before = it.opened(project)
    row = it.key(project)
    own_desk.server.stop()
    assert command("cat", "dataset/open", "--purpose", "prepare") == it.DATA, "other classes have their key here too"
    refused = command("cat", "dataset/visits@1", "--purpose", "prepare", code=6)
    assert b"cannot be reached" in refused
    assert it.DATA[:20] not in refused
    Path("more.csv").write_bytes(it.DATA)
    command("seal", "more.csv", "--as", "dataset/visits", "--class", "restricted", code=6)
    assert it.key(project).versions == row.versions, "nothing half made"
    own_desk.server.start()
    assert it.opened(project) == before
    with connect(project) as connection:
        connection.ask(keys.ChangeKeyState(row.kek, "suspend", "look"))
    with pytest.raises(KeyUnusable, match="suspended"):
        it.opened(project)
    with connect(project) as connection:
        connection.ask(keys.ChangeKeyState(row.kek, "resume", "seen"))
        (root,) = [one for one in connection.ask(roots.ListRoots()).roots if one.provider == own_desk.uri]
        assert "3 data keys open through this root alone" in " ".join(pair.value for pair in root.findings)
    assert b"they open again after resume" in said_on_stderr("key", "root", "suspend", root.root[:8], "--reason", "look")
    with pytest.raises(KeyUnusable, match="suspended, and this key lives in it alone"):
        it.opened(project)
    command("key", "root", "resume", root.root[:8])
    assert it.opened(project) == before


def said_on_stderr(*words):
    import subprocess
    import sys

    done = subprocess.run([Path(sys.prefix) / "bin" / "hermetic", *words], capture_output=True, check=True, timeout=120)
    return done.stderr


def test_revoked_and_sealed_anew(project, own_desk, domain_home):
    it.seal(project, 1)
    row = it.key(project)
    with connect(project) as connection:
        connection.ask(keys.ChangeKeyState(row.kek, "revoke", "lost"))
    with pytest.raises(KeyUnusable, match="revoked"):
        it.opened(project, 1)
    assert it.opened(project, 1, Purpose.RECOVER)
    it.seal(project, 1)
    row = it.key(project)
    assert [(item.state, item.home, item.data_keys) for item in row.versions] == [
        ("compromised", own_desk.uri, 1),
        ("active", own_desk.uri, 1),
    ]
    it.no_key_here(domain_home, row)


def test_denied_and_deleted_behind_our_back(project, own_desk):
    it.seal(project)
    own_desk.server.policy(own_desk.key, 'path "sys/nothing" { capabilities = ["read"] }')
    with pytest.raises(KeyServiceUnavailable, match="denies this login"):
        it.opened(project)
    from tests.interop import baoserver

    own_desk.server.policy(own_desk.key, baoserver.root_policy(own_desk.key, creating=True))
    assert len(it.opened(project)) == 3
    own_desk.do("POST", f"transit/keys/{own_desk.key}/config", {"deletion_allowed": True})
    own_desk.do("DELETE", f"transit/keys/{own_desk.key}")
    with pytest.raises((KeyServiceUnavailable, IntegrityError)) as refused:
        it.opened(project)
    assert isinstance(refused.value, HermeticError)
    assert own_desk.key in refused.value.message
    assert it.key(project, DataClass.RESTRICTED).versions[0].data_keys == 3
