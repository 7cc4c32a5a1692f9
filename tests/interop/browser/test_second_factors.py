"""The page in a real browser: what Chromium and its authenticator make of it, and custody of what they answer."""

from __future__ import annotations

import io
import json
import webbrowser

import pytest

from hermetic.cli import main
from tests.interop.browser.chromium import Chromium


@pytest.fixture
def cli(capfd, monkeypatch, tmp_path, tmp_path_factory):
    """Call the program in a project of its own; `code` is what it is to return."""
    monkeypatch.chdir(tmp_path)
    tmp_path.chmod(0o700)
    monkeypatch.setenv("HERMETIC_HOME", str(tmp_path_factory.mktemp("home")))

    def call(*arguments, code=0):
        monkeypatch.setattr("sys.stdin", io.StringIO(""))
        came = main.run([str(argument) for argument in arguments])
        said = capfd.readouterr()
        assert came == code, said.err
        return said

    call("init", "--root", "local:insecure-file", "--project", "clinic")
    return call


def browser_for(monkeypatch, folder, **how):
    browser = Chromium(folder, **how)
    monkeypatch.setattr(webbrowser, "open", browser.open)
    return browser


@pytest.fixture
def browser(monkeypatch, tmp_path_factory):
    made = browser_for(monkeypatch, tmp_path_factory.mktemp("chromium"))
    yield made
    made.close()


def test_add_and_confirm(cli, browser):
    assert "webauthn" in cli("identity", "factor", "add", "webauthn", "--label", "blue key").out
    (credential,) = browser.credentials()
    assert credential["rpId"] == "localhost"
    for _ in range(2):
        assert "confirmed  webauthn" in cli("identity", "confirm", "--webauthn").out
    assert browser.credentials()[0]["signCount"] > credential["signCount"]
    assert browser.text("document.getElementById('said').textContent").startswith("Done")
    assert not [line for line in browser.seen if "Content Security Policy" in line or "exception" in line.lower()]


def test_approve_and_deny(cli, browser):
    cli("approver", "enrol", "bob", "--public-key", "bob.pub", "--webauthn", "--reason", "answers for data")
    cli("approver", "key", "new", "carol", "--webauthn")
    cli("approver", "enrol", "carol", "--public-key", "carol.pub", "--reason", "answers for keys")
    cli("approver", "key", "new", "dave", "--webauthn")
    cli("approver", "enrol", "dave", "--public-key", "dave.pub", "--reason", "one more", code=5)
    (row,) = json.loads(cli("request", "ls", "--json").out)["requests"]
    cli("approve", row["id"], "--webauthn", "--as", "bob", "--reason", "looked at it")
    shown = browser.text("document.getElementById('lines').textContent")
    assert row["hash"] in shown
    assert "looked at it" in shown
    assert "enrol-approver" in shown
    cli("approve", row["id"], "--webauthn", "--as", "bob", code=1)  # said already
    cli("deny", row["id"], "--webauthn", "--as", "carol", "--reason", "we are enough")
    assert "denied" in cli("request", "ls", "--all").out


def test_an_authenticator_that_verifies_nobody(cli, monkeypatch, tmp_path_factory):
    browser = browser_for(monkeypatch, tmp_path_factory.mktemp("chromium"), verifies=False)
    try:
        assert "said no" in cli("identity", "factor", "add", "webauthn", code=3).err
        assert browser.credentials() == []
    finally:
        browser.close()
