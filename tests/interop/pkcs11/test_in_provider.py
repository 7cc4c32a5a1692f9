"""`kek: in-provider` in a token: sealed, opened in a batch, rotated, revoked, the token gone and back; nothing of the key is here."""

from __future__ import annotations

import pytest

from hermetic.crypto.secret import Secret
from hermetic.domain.connect import connect
from hermetic.errors import KeyServiceUnavailable, KeyUnusable
from hermetic.formats.messages import keys
from hermetic.ids import Purpose
from hermetic.keys import hierarchy
from hermetic.keys import roots as root_rows
from hermetic.providers.pkcs11 import Pkcs11Root
from tests.interop import inprovider as it
from tests.interop.pkcs11 import softhsm
from tests.interop.rooted import command


@pytest.fixture
def project(tmp_path, domain_home, monkeypatch, hsm):
    folder = tmp_path / "clinic"
    folder.mkdir()
    monkeypatch.chdir(folder)
    command("init", "--root", "local:insecure-file")
    settings = [word for name, value in hsm.settings.items() for word in ("--setting", f"{name}={value}")]
    command("key", "root", "add", hsm.uri(), *settings, "--reason", "the key of patients stays there")
    it.demand(folder, provider="pkcs11")
    return folder


@pytest.fixture
def asked(monkeypatch):
    """What the token is asked for, by the kind of context."""
    seen = []
    wrap, unwrap = Pkcs11Root.wrap, Pkcs11Root.unwrap

    def watching(name, real):
        def call(self, what, context):
            if b'"for":"data-key"' in context:
                seen.append(name)
            return real(self, what, context)

        return call

    monkeypatch.setattr(Pkcs11Root, "wrap", watching("wrap", wrap))
    monkeypatch.setattr(Pkcs11Root, "unwrap", watching("unwrap", unwrap))
    return seen


def test_every_data_key_is_opened_by_the_token(project, hsm, domain_home, monkeypatch, asked):
    made = []
    random = Secret.random

    def recorded(length):
        secret = random(length)
        made.append(bytes(secret.view()))
        return secret

    with monkeypatch.context() as patch:  # whatever would make, open or wrap a key of ours fails

        def never(*_args, **_named):
            raise AssertionError("a key of the class was here")

        patch.setattr(hierarchy, "load_kek", never)
        patch.setattr(root_rows, "wrap_under", never)
        patch.setattr(Secret, "random", staticmethod(recorded))
        it.seal(project)
        first = it.opened(project)
    assert asked == ["wrap"] * 3 + ["unwrap"] * 3
    row = it.key(project)
    it.no_key_here(domain_home, row)
    assert [(item.home, item.data_keys) for item in row.versions] == [(hsm.uri(), 3)]
    held = b"".join(path.read_bytes() for path in domain_home.rglob("*") if path.is_file() and not path.name.startswith("root-"))
    assert made
    assert not [secret for secret in (*made, *first) if secret in held]
    assert it.opened(project) == first


def test_rotated_revoked_and_moved_out(project, hsm, domain_home, asked):
    it.seal(project)
    before = it.opened(project)
    name = it.key(project).kek
    old = it.stored(domain_home, "SELECT wrapped FROM data_key")
    assert b"data keys moved  3" in command("key", "rotate", name, "--reason", "yearly")
    assert not set(old) & set(it.stored(domain_home, "SELECT wrapped FROM data_key"))
    assert it.opened(project) == before
    with connect(project) as connection:
        connection.ask(keys.ChangeKeyState(name, "revoke", "lost"))
    with pytest.raises(KeyUnusable, match="revoked"):
        it.opened(project)
    assert it.opened(project, purpose=Purpose.RECOVER) == before
    assert [(item.state, item.home) for item in it.key(project).versions] == [
        ("compromised", hsm.uri()),
        ("compromised", hsm.uri()),
        ("active", hsm.uri()),
    ]


def test_the_token_is_gone_and_comes_back(project, hsm):
    it.seal(project)
    before = it.opened(project)
    away = hsm.tokens.with_name("away")
    hsm.tokens.rename(away)
    hsm.tokens.mkdir(mode=0o700)
    softhsm.turn()
    refused = command("cat", "dataset/visits@1", "--purpose", "prepare", code=6)
    assert it.DATA[:20] not in refused
    with pytest.raises(KeyServiceUnavailable):
        it.opened(project)
    hsm.tokens.rmdir()
    away.rename(hsm.tokens)
    softhsm.turn()
    assert command("cat", "dataset/visits@1", "--purpose", "prepare") == it.DATA + b"0"
    assert it.opened(project) == before
