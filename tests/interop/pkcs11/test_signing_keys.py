"""The key of manifests in a token, from the command line: it comes, signs, goes missing, is exchanged, is lost and replaced."""

from __future__ import annotations

import json

import PyKCS11
import pytest

from hermetic.ids import id_from_bytes
from hermetic.providers import pkcs11_signer
from hermetic.providers.pkcs11_token import Token
from tests.interop.pkcs11 import softhsm
from tests.interop.rooted import command

DATA = b"id,age\n1,44\n"


@pytest.fixture
def project(tmp_path, domain_home, monkeypatch):
    folder = tmp_path / "clinic"
    folder.mkdir()
    monkeypatch.chdir(folder)
    command("init", "--root", "local:insecure-file", "--project", "clinic")
    (folder / "x.csv").write_bytes(DATA)
    return folder


def rotate(*words, code=0):
    return command("key", "signing", "rotate", "manifest", "--reason", "drill", *words, code=code)


def into(hsm, *more, code=0):
    return rotate(
        "--in", hsm.uri("manifests"), *(f"--setting={name}={value}" for name, value in hsm.settings.items()), *more, code=code
    )


def seal(name, code=0):
    return command("seal", "x.csv", "--as", name, "--class", "restricted", code=code)


def published(name):
    (row,) = [row for row in json.loads(command("ls", "--json"))["assets"] if row["name"] == name]
    return row["latest"] > 0


def keys(use="manifest"):
    return [row for row in json.loads(command("key", "signing", "ls", "--json"))["keys"] if row["use"] == use]


def inside(hsm, home):
    """The ids of the private keys in the token."""
    token = Token(hsm.uri("manifests"), hsm.place(home))

    def look(session):
        found = session.findObjects([(PyKCS11.CKA_CLASS, PyKCS11.CKO_PRIVATE_KEY)])
        return [bytes(session.getAttributeValue(handle, [PyKCS11.CKA_ID])[0]).decode() for handle in found]

    return token.run(look)


def gone_and_back(hsm):
    """Take the token away; return what brings it back."""
    away = hsm.tokens.with_name("away")
    hsm.tokens.rename(away)
    hsm.tokens.mkdir(mode=0o700)
    softhsm.turn()

    def back():
        hsm.tokens.rmdir()
        away.rename(hsm.tokens)
        softhsm.turn()

    return back


def test_a_life_in_the_token(project, hsm, home, domain_home):
    seal("dataset/a")
    said = into(hsm)
    assert b"token       " + hsm.uri("manifests").encode() in said
    assert hsm.pin.encode() not in said
    before, now = keys()
    assert (before["state"], now["state"], now["home"], now["roots"]) == ("destroyed", "active", hsm.uri("manifests"), [])
    assert inside(hsm, home) == [now["key"]]
    assert b"in token pkcs11:" in command("key", "signing", "ls")
    seal("dataset/b")
    (manifest,) = [path for path in project.rglob("manifest.json") if now["key"].encode() in path.read_bytes()]
    assert manifest.exists()
    for name in ("dataset/a@1", "dataset/b@1"):
        assert b"intact" in command("verify", name)
        assert command("cat", name, "--purpose", "prepare") == DATA

    back = gone_and_back(hsm)
    said = seal("dataset/c", code=6)
    assert b"there is no token" in said
    assert b"hint: " in said
    assert b"there is no token" in rotate(code=6)
    assert command("cat", "dataset/b@1", "--purpose", "prepare") == DATA  # reading asks no token
    assert b"intact" in command("verify", "dataset/b@1")
    back()
    assert not published("dataset/c")
    seal("dataset/c")

    hsm.write_pin("wrong-wrong")
    assert b"refuses the PIN" in seal("dataset/d", code=6)
    assert b"not tried again" in seal("dataset/d", code=6)
    hsm.write_pin(hsm.pin)
    seal("dataset/d")

    rotate()  # stays in the token
    assert inside(hsm, home) == [keys()[-1]["key"]]
    rotate("--in", "roots")
    assert (inside(hsm, home), keys()[-1]["home"]) == ([], "")
    seal("dataset/e")
    assert b"log                      whole" in command("log", "verify", code=7)  # a finding: nobody anchors it
    kept = b"".join(path.read_bytes() for path in domain_home.rglob("*") if path.is_file())
    assert hsm.pin.encode() not in kept


def test_exchanged_then_deleted_then_replaced(project, hsm, home):
    into(hsm)
    (key,) = inside(hsm, home)
    token = Token(hsm.uri("manifests"), hsm.place(home))
    pkcs11_signer.generate(token, key)  # by somebody with the PIN: the same label and id
    said = seal("dataset/a", code=4)
    assert b"not the one on record" in said
    assert not published("dataset/a")
    pkcs11_signer.remove(token, key)
    assert b"has no signing key" in seal("dataset/a", code=6)
    rotate("--in", "roots", code=6)
    assert b"leave out --lost" not in rotate("--in", "roots", "--lost")
    seal("dataset/a")
    assert b"intact" in command("verify", "dataset/a@1")
    assert keys()[-2]["state"] == "deactivated"


class TestATokenWithoutEd25519:
    @pytest.fixture
    def mechanisms(self):
        return "-CKM_EC_EDWARDS_KEY_PAIR_GEN,CKM_EC_EDWARDS_KEY_PAIR_GEN"

    def test_it_is_refused_and_the_old_key_stays(self, project, hsm):
        said = into(hsm, code=1)
        assert b"makes no Ed25519 keys" in said
        assert b"hint: " in said
        assert [row["state"] for row in keys()] == ["active"]
        seal("dataset/a")


def test_settings_that_cannot_be_right_are_not_kept(project, hsm):
    said = rotate("--in", hsm.uri("manifests"), f"--setting=pin_file={hsm.pin_file}", "--setting=modul=/x", code=2)
    assert b"unknown setting 'modul'" in said
    into(hsm)
    assert keys()[-1]["home"] == hsm.uri("manifests")


def test_the_log_stays_under_the_roots(project, hsm):
    said = command("key", "signing", "rotate", "log", "--in", hsm.uri(), code=2)
    assert b"only the key of manifests" in said


def test_a_crash_between_token_and_record_leaves_the_old_key_in_force(project, hsm, home):
    """What it leaves in the token nothing names; the next rotation is another pair."""
    pkcs11_signer.generate(Token(hsm.uri("manifests"), hsm.place(home)), id_from_bytes(bytes(16)))
    into(hsm)
    assert len(inside(hsm, home)) == 2
    assert keys()[-1]["key"] in inside(hsm, home)
    seal("dataset/a")


def test_a_token_that_was_away_is_left_alone_for_a_while(hsm, home, monkeypatch):
    from hermetic.errors import KeyServiceUnavailable
    from hermetic.ids import DomainId
    from hermetic.providers import signing_tokens

    now = [1_000]
    monkeypatch.setattr(signing_tokens, "boot_ms", lambda: now[0])
    uri, key = hsm.uri("manifests"), id_from_bytes(bytes(16))
    tokens = signing_tokens.SigningTokens(home, DomainId(softhsm.DOMAIN), lambda: {uri: hsm.settings})
    made = tokens.make(uri, key)
    back = gone_and_back(hsm)
    with pytest.raises(KeyServiceUnavailable, match="there is no token"):
        tokens.remove(uri, key)
    back()
    with pytest.raises(KeyServiceUnavailable, match="a moment ago"):
        tokens.remove(uri, key)
    assert len(tokens.at(uri, key, made.public).sign(b"data")) == 64  # signing waits for nothing
    now[0] += 30_000
    tokens.remove(uri, key)
    assert inside(hsm, home) == []
