"""Tokens of a provider that is not ours: oidc-provider (npm), over real HTTPS.

A person's pages are followed as a browser would: log in, agree, come back to the loopback. A workload gets an access token, a JWT.
"""

from __future__ import annotations

import base64
import http.cookiejar
import json
import re
import shutil
import ssl
import subprocess
import urllib.parse
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import pytest

from hermetic.crypto import x509
from hermetic.domain import identity_files, logging_in, oidc_fetch, oidc_settings
from hermetic.domain.identity_files import Place
from hermetic.domain.login_service import LoginCustody
from hermetic.errors import NotAuthenticated
from hermetic.formats.messages.greeting import Hello
from hermetic.formats.messages.identity import EnrolIdentity, ExportTrust
from tests.unit.server import https_world as hw
from tests.unit.server.oidc_issuer import certificate
from tests.unit.server.test_login import listening

HERE = Path(__file__).parent
NODE = HERE.parents[2] / ".environments" / "oidc" / "node"
LIBRARY = NODE / "node_modules" / "oidc-provider" / "lib" / "index.js"


@pytest.fixture(scope="module")
def library():
    """The provider, as its lock file says."""
    assert shutil.which("node"), "sudo apt-get install nodejs npm"
    assert shutil.which("npm"), "sudo apt-get install nodejs npm"
    NODE.mkdir(parents=True, exist_ok=True)
    if not LIBRARY.exists() or (NODE / "package-lock.json").read_bytes() != (HERE / "package-lock.json").read_bytes():
        for name in ("package.json", "package-lock.json"):
            shutil.copy(HERE / name, NODE / name)
        subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=NODE, check=True, capture_output=True)
    return LIBRARY


@pytest.fixture(scope="module")
def provider(library, tmp_path_factory):
    """A running provider: (address, authority)."""
    chain, key = certificate(tmp_path_factory.mktemp("provider"))
    command = ["node", str(HERE / "provider.mjs"), str(chain), str(key), str(library)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        line = process.stdout.readline().strip()
        assert line.startswith("https://"), line
        yield SimpleNamespace(url=line, authority=chain)
        process.stdin.close()
        process.wait(20)


@pytest.fixture(scope="module")
def made(provider, tmp_path_factory):
    folder = tmp_path_factory.mktemp("oidc")
    world = hw.make(folder / "world")
    world.plain.ask(EnrolIdentity("ben", "person", ("ml-engineer",), "test"))
    world.plain.ask(EnrolIdentity("ci", "workload", ("service",), "test"))
    with listening(LoginCustody(world.plain, world.custody)) as server, world.running():
        yield SimpleNamespace(world=world, server=server, folder=folder)
    world.close()


def trusting(made, provider, kind, audience, rule):
    said = {"issuer": provider.url, "audience": audience, "kind": kind, "principals": [rule], "authority": str(provider.authority)}
    made.world.plain.custodian.tokens = oidc_fetch.desk(oidc_settings.read([said], "config.yaml"))


def entrance(made, provider, name, kind, client="hermetic"):
    url = f"https://localhost:{made.server.address[1]}"
    login = oidc_settings.read_login(
        {"url": url, "issuer": provider.url, "client": client, "authority": str(provider.authority)}, "config.yaml"
    )
    place = Place(made.folder / name / client, made.world.world.domain)
    place.folder.parent.mkdir(exist_ok=True)
    trust = x509.to_pem(made.world.plain.ask(ExportTrust()).certificates)
    return logging_in.Entrance(place, login, place.uri(name, kind), trust)


class Stop(urllib.request.HTTPRedirectHandler):
    """Follows redirects as far as the loopback."""

    def redirect_request(self, request, answer, code, message, headers, there):
        if there.startswith("http://127.0.0.1"):
            raise Back(there)
        return super().redirect_request(request, answer, code, message, headers, there)


class Back(Exception):
    pass


class Person:
    """A browser with somebody in front of it, who logs in and agrees."""

    redirect = "http://127.0.0.1:45678/callback"

    def __init__(self, provider, name):
        context = ssl.create_default_context(cafile=str(provider.authority))
        jar = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
        self._opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=context), jar, Stop())
        self._name, self._base, self.pages = name, provider.url, []

    def answer(self, url):
        try:
            page = self._open(url)
            for _ in range(4):
                action = re.search(r'action="([^"]+)"', page)[1]
                prompt = re.search(r'name="prompt" value="(\w+)"', page)[1]
                self.pages.append(prompt)
                form = {"prompt": prompt, "login": self._name, "password": "anything"}
                page = self._open(urllib.parse.urljoin(self._base, action), urllib.parse.urlencode(form).encode())
        except Back as back:
            return urllib.parse.urlsplit(str(back)).query
        raise AssertionError(page)

    def _open(self, url, form=None):
        with self._opener.open(url, form, timeout=20) as answer:
            return answer.read().decode()


@pytest.mark.parametrize("algorithm", ["ES256", "EdDSA", "RS256"])
def test_a_person_logs_in(made, provider, algorithm):
    client = f"hermetic-{algorithm}"
    trusting(made, provider, "person", client, {"name": "ben", "claims": {"sub": "ben@login"}})
    person, door = Person(provider, "ben@login"), entrance(made, provider, "ben", "person", client)
    found = logging_in.log_in(door, logging_in.browser_token(door.login, person), now_ms=hw.now())
    assert person.pages == ["login", "consent"]
    assert found.certificate().uris == (door.uri,)
    port = hw.HttpsPort(made.world.place, made.world.world.domain, found)
    assert port.ask(Hello()).domain == made.world.world.domain
    port.close()


def test_somebody_else_does_not(made, provider):
    trusting(made, provider, "person", "hermetic-ES256", {"name": "ben", "claims": {"sub": "ben@login"}})
    door = entrance(made, provider, "ben", "person", "hermetic-ES256")
    with pytest.raises(NotAuthenticated, match="nobody"):
        logging_in.log_in(door, logging_in.browser_token(door.login, Person(provider, "eve@login")), now_ms=hw.now())
    trusting(made, provider, "person", "hermetic-RS256", {"name": "ben", "claims": {"sub": "ben@login"}})
    with pytest.raises(NotAuthenticated, match="somebody else"):
        logging_in.log_in(door, logging_in.browser_token(door.login, Person(provider, "ben@login")), now_ms=hw.now())


def test_a_workload_brings_an_access_token(made, provider):
    trusting(made, provider, "workload", "hermetic-work", {"name": "ci", "claims": {"sub": "ci", "client_id": "ci"}})
    secret = base64.b64encode(b"ci:a+secret+of+the+test").decode()
    context = ssl.create_default_context(cafile=str(provider.authority))
    asked = urllib.request.Request(f"{provider.url}/token", b"grant_type=client_credentials", {"Authorization": f"Basic {secret}"})
    with urllib.request.urlopen(asked, context=context, timeout=20) as answer:
        token = json.load(answer)["access_token"]
    door = entrance(made, provider, "ci", "workload")
    found = logging_in.log_in(door, lambda _public: token, now_ms=hw.now())
    assert found.certificate().uris == (door.uri,)
    identity_files.request(door.place.folder, door.uri)
    with pytest.raises(NotAuthenticated, match="used before"):
        logging_in.log_in(door, lambda _public: token, now_ms=hw.now())
