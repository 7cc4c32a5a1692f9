"""A domain moves from a plain file into a token and out again; with the token away, another root serves."""

from __future__ import annotations

import os

import pytest

import hermetic
from hermetic.domain import root_moves
from hermetic.domain.create import create_domain
from hermetic.errors import Conflict, KeyServiceUnavailable
from hermetic.formats.messages.roots import CheckRoots, DropRoot, ListRoots, SetRootState
from scripts.providers_table import record

DATA = os.urandom(100_000)


@pytest.fixture
def project(tmp_path, monkeypatch):
    for name in ("custody", "project"):
        (tmp_path / name).mkdir(mode=0o700)
    monkeypatch.setenv("HERMETIC_HOME", str(tmp_path / "custody"))
    create_domain(tmp_path / "project", provider_uri="local:insecure-file", project_name="clinic")
    return tmp_path / "project"


def rows(h):
    return {row.provider: row for row in h.connection.ask(ListRoots()).roots}


def test_into_a_token_and_out_again(project, hsm, tmp_path):
    with hermetic.connect(project) as reader, hermetic.connect(project) as h:
        made = h.seal(DATA, name="dataset/a", data_class="restricted", member="a.bin", purpose="ingest")
        ask = h.connection.ask
        added = root_moves.add_root(h.connection, hsm.uri(), reason="into the HSM", settings=hsm.settings).root
        assert (added.state, added.slots, added.keys) == ("active", 3, 3)
        old = rows(h)["local:insecure-file"].root
        ask(SetRootState(old, "deactivate", "moved"))
        assert ask(DropRoot(old, "moved")).material == "its file was overwritten and removed"
        with reader.open(made.ref, purpose="prepare") as file:
            assert file.read() == DATA
        (report,) = ask(CheckRoots()).reports
        assert [probe for probe in report.probes if probe.contradicts] == []
        record(report, against="SoftHSM 2.6.1")
        back = root_moves.add_root(h.connection, "local:insecure-file", reason="out again").root
        hsm.tokens.rename(tmp_path / "pulled")
        with hermetic.connect(project) as alone, alone.open(made.ref, purpose="prepare") as file:
            assert file.read() == DATA
        (tmp_path / "pulled").rename(hsm.tokens)
        ask(SetRootState(added.root, "deactivate", "moved"))
        dropped = ask(DropRoot(added.root, "moved"))
        assert dropped.slots == 3
        assert ask(ListRoots()).roots[-1].root == back.root
    with hermetic.connect(project) as h, h.open(made.ref, purpose="prepare") as file:
        assert file.read() == DATA


def test_a_token_that_was_pulled_is_not_the_only_root_left(project, hsm, tmp_path):
    with hermetic.connect(project) as h:
        h.seal(DATA, name="dataset/a", data_class="restricted", member="a.bin", purpose="ingest")
        added = root_moves.add_root(h.connection, hsm.uri(), settings=hsm.settings).root
        local = rows(h)["local:insecure-file"].root
        hsm.pin_file.rename(tmp_path / "pin-away")
        hsm.tokens.rename(tmp_path / "pulled")
    from tests.interop.pkcs11 import softhsm

    softhsm.turn()
    with hermetic.connect(project) as h:
        with pytest.raises(KeyServiceUnavailable) as caught:
            h.seal(DATA, name="dataset/b", data_class="internal", member="b.bin", purpose="ingest")
        assert f"hermetic key root suspend {added.root}" in caught.value.hint
        with pytest.raises(Conflict, match="nothing opens the domain"):
            h.connection.ask(SetRootState(local, "suspend", "x"))
        h.connection.ask(SetRootState(added.root, "suspend", "pulled"))
        h.seal(DATA, name="dataset/b", data_class="internal", member="b.bin", purpose="ingest")
