"""`hermetic identity login` as people and workloads run it: the command, a real listener, a real issuer, a page on the loopback."""

from __future__ import annotations

import json
import ssl
import threading
import urllib.request
from types import SimpleNamespace

import pytest

from hermetic.cli import identity_client, identity_login
from hermetic.cli.main import run as command
from hermetic.crypto import x509
from hermetic.domain import config, identity_files, logging_in
from hermetic.domain.https_port import HttpsPort
from hermetic.domain.identity_files import ClientIdentity
from hermetic.errors import Denied, NotAuthenticated
from hermetic.formats.messages.greeting import Hello
from hermetic.formats.messages.identity import ExportTrust
from tests.unit.server.test_login import made, of_ci  # noqa: F401 - the fixture


@pytest.fixture
def client(made, tmp_path, monkeypatch):  # noqa: F811
    """A user of another machine: the project, a config folder of their own, and custody's authorities in a file."""
    project = tmp_path / "project"
    project.mkdir(mode=0o700)
    (project / "hermetic.yaml").write_bytes((made.world.world.project / "hermetic.yaml").read_bytes())
    monkeypatch.chdir(project)
    monkeypatch.setenv("HERMETIC_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("HERMETIC_URL", raising=False)
    place = identity_files.place(project)
    place.folder.parent.mkdir(parents=True, mode=0o700)
    for folder in (tmp_path / "home", *list((tmp_path / "home").rglob("*"))):
        folder.chmod(0o700)
    login = {"url": f"https://localhost:{made.server.address[1]}", "issuer": made.people.url, "client": "hermetic"}
    text = json.dumps({"login": login | {"authority": str(made.people.authority)}})
    (place.folder.parent / config.CONFIG_FILE).write_text(text)
    (place.folder.parent / config.CONFIG_FILE).chmod(0o600)
    trust = tmp_path / "custody.pem"
    trust.write_bytes(x509.to_pem(made.world.plain.ask(ExportTrust()).certificates))
    return place, trust


def browse(made, monkeypatch):  # noqa: F811
    """A browser that goes where it is sent."""
    context = ssl.create_default_context(cafile=str(made.people.authority))
    threads = []

    def go(url):
        thread = threading.Thread(target=lambda: urllib.request.urlopen(url, context=context, timeout=20).read())
        thread.start()
        threads.append(thread)

    monkeypatch.setattr(identity_login.webbrowser, "open", go)
    return threads


def run(*words):
    return command(["identity", "login", *map(str, words)])


def test_a_person_logs_in_in_the_browser_and_works(made, client, monkeypatch, capsys):  # noqa: F811
    place, trust = client
    threads = browse(made, monkeypatch)
    assert run("ben", "--authorities", trust, "--json") == 0
    for thread in threads:
        thread.join(20)
    said = json.loads(capsys.readouterr().out)
    assert said["principal"] == place.uri("ben", "person")
    found = ClientIdentity.load(place.folder)
    first = found.certificate().fingerprint
    port = HttpsPort(made.world.place, made.world.world.domain, found)
    assert port.ask(Hello()).domain == made.world.world.domain
    port.close()
    assert run("ben") == 0, "the authorities are pinned now"
    assert ClientIdentity.load(place.folder).certificate().fingerprint != first
    for thread in threads:
        thread.join(20)


def test_a_workload_brings_a_token_in_a_file(made, client, tmp_path, capsys):  # noqa: F811
    place, trust = client
    file = tmp_path / "token"
    file.write_text(of_ci(made) + "\n")
    assert run("ci", "--token-file", file) != 0
    assert "--authorities" in capsys.readouterr().err, "nobody is believed before they were named"
    assert run("ci", "--token-file", file, "--authorities", trust) == 0
    first = ClientIdentity.load(place.folder).certificate()
    assert run("ci", "--token-file", file) == 3, "the same token for another key"
    assert "used before" in capsys.readouterr().err
    file.write_text(of_ci(made))
    assert run("ci", "--token-file", file) == 0
    assert ClientIdentity.load(place.folder).certificate().fingerprint != first.fingerprint


def test_an_answer_that_got_lost_is_got_again(made, client, monkeypatch):  # noqa: F811
    place, trust = client
    login = config.load(place.folder.parent).login
    entrance = logging_in.Entrance(place, login, place.uri("ci", "workload"), trust.read_bytes())
    token, now_ms = of_ci(made), made.world.plain.custodian.clock()
    with monkeypatch.context() as patch:
        patch.setattr(logging_in.identity_files, "install", lambda *_, **__: (_ for _ in ()).throw(Denied("the wire was cut")))
        with pytest.raises(Denied, match="wire"):
            logging_in.log_in(entrance, lambda _public: token, now_ms=now_ms)
    found = logging_in.log_in(entrance, lambda _public: token, now_ms=now_ms)
    assert found.certificate().uris == (place.uri("ci", "workload"),)


@pytest.mark.parametrize("back", [{"state": "other"}, {"iss": "https://evil.example"}])
def test_an_answer_to_another_login_is_refused(made, client, monkeypatch, capsys, back):  # noqa: F811
    _, trust = client
    threads = browse(made, monkeypatch)
    monkeypatch.setattr(made.people, "back", back)
    assert run("ben", "--authorities", trust) == 3
    assert "another login" in capsys.readouterr().err
    for thread in threads:
        thread.join(20)


def test_whoever_is_not_believed_gets_no_token(made, client, tmp_path, capsys):  # noqa: F811
    _, trust = client
    trust.write_bytes(made.work.authority.read_bytes())
    file = tmp_path / "token"
    file.write_text(of_ci(made))
    assert run("ci", "--token-file", file, "--authorities", trust) == 3
    assert "believe" in capsys.readouterr().err
    file.chmod(0o666)
    assert run("ci", "--token-file", file, "--authorities", trust) == 3


def agent(*words):
    return command(["identity", "agent", "--once", *map(str, words)])


def test_an_agent_logs_in_again_once_the_token_was_exchanged(made, client, tmp_path, monkeypatch, capsys):  # noqa: F811
    place, trust = client
    file = tmp_path / "token"
    file.write_text(of_ci(made))
    assert run("ci", "--token-file", file, "--authorities", trust) == 0
    first = ClientIdentity.load(place.folder).certificate()
    assert agent("--token-file", file) == 0
    assert ClientIdentity.load(place.folder).certificate() == first, "it is not time yet"
    monkeypatch.setattr(identity_client, "_now_ms", lambda: identity_files.due_ms(first))
    tokens = logging_in.Exchanged(file)
    with pytest.raises(NotAuthenticated, match="used before"):
        tokens.log_in(place, now_ms=identity_files.due_ms(first))
    assert not tokens.log_in(place, now_ms=identity_files.due_ms(first)), "custody is not asked about the same one again"
    capsys.readouterr()
    assert agent("--token-file", file) == 0, "the certificate is good still"
    assert "not renewed" in capsys.readouterr().err
    with monkeypatch.context() as patch:
        patch.setattr(identity_client, "_now_ms", lambda: first.end_ms)
        assert agent("--token-file", file) == 3
    file.write_text(of_ci(made))
    assert agent("--token-file", file) == 0
    assert ClientIdentity.load(place.folder).certificate().fingerprint != first.fingerprint


def test_an_agent_waits_for_a_token_that_is_late(made, client, tmp_path, monkeypatch):  # noqa: F811
    place, trust = client
    file = tmp_path / "token"
    file.write_text(of_ci(made))
    assert run("ci", "--token-file", file, "--authorities", trust) == 0
    first = ClientIdentity.load(place.folder).certificate()
    monkeypatch.setattr(identity_client, "_now_ms", lambda: first.end_ms)
    warned = []
    out = SimpleNamespace(warn=warned.append)
    tokens = logging_in.Exchanged(file)
    for _ in range(2):
        assert identity_client._tended(out, place, tokens, patient=True) == identity_client.TRY_AGAIN_S
    assert "used before" in warned[0]
    assert "the one of before" in warned[1]
