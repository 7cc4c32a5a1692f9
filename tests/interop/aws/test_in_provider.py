"""`kek: in-provider` in AWS KMS, which takes one item a call: several calls beside each other, all of them or nothing."""

from __future__ import annotations

import pytest

from hermetic.errors import KeyServiceUnavailable
from tests.interop import inprovider as it
from tests.interop.aws.conftest import client
from tests.interop.aws.test_awskms import new_key
from tests.interop.rooted import command


def sealed(project, endpoint, monkeypatch):
    uri = new_key(endpoint)
    monkeypatch.chdir(project)
    command("init", "--root", "local:insecure-file")
    command("key", "root", "add", uri, "--setting", f"endpoint={endpoint}", "--reason", "the key of patients stays there")
    it.demand(project, provider="awskms")
    it.seal(project, 12)
    return uri


def test_sealed_opened_and_rotated(moto, project, tmp_path, monkeypatch):
    uri = sealed(project, moto, monkeypatch)
    before = it.opened(project, 12)
    assert len(set(before)) == 12
    row = it.key(project)
    it.no_key_here(tmp_path / "home", row)
    assert [(item.home, item.data_keys) for item in row.versions] == [(uri, 12)]
    client(moto).rotate_key_on_demand(KeyId=uri.rpartition("/")[2])
    assert b"data keys moved  12" in command("key", "rotate", row.kek, "--reason", "yearly")
    assert it.opened(project, 12) == before


def test_taken_away_and_given_back(ministack, project, monkeypatch):
    """On the server that knows key states."""
    uri = sealed(project, ministack, monkeypatch)
    before, key = it.opened(project, 12), {"KeyId": uri.rpartition("/")[2]}
    client(ministack).disable_key(**key)
    with pytest.raises(KeyServiceUnavailable, match="DisabledException"):
        it.opened(project, 12)
    client(ministack).enable_key(**key)
    assert it.opened(project, 12) == before
