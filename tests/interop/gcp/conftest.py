"""A service on loopback that speaks Cloud KMS's protocol, and a service account that it knows, where Google's library looks."""

from __future__ import annotations

import os

import pytest

from hermetic.ids import DomainId, id_from_bytes
from hermetic.keys.provider import RootId
from hermetic.providers.place import Place
from tests.interop.front import Front
from tests.interop.gcp.service import Service


@pytest.fixture(scope="session")
def known_service():
    return Service()


@pytest.fixture
def service(known_service):
    known_service.keys.clear()
    known_service.denied.clear()
    return known_service


@pytest.fixture
def front(service, tmp_path, monkeypatch):
    """The server; credentials for it are in the environment."""
    for name in [name for name in os.environ if name.startswith(("GOOGLE_", "CLOUDSDK_", "GCE_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(service.account_file(tmp_path / "account.json")))
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    for name, value in {"HTTPS_PROXY": "http://127.0.0.1:9", "NO_PROXY": "127.0.0.1"}.items():
        monkeypatch.setenv(name, value)  # Google's library looks up by itself, at Google, where an account may be used
    with Front(service) as running:
        yield running


@pytest.fixture
def places(tmp_path, front):
    """Make places of new roots in one custody home."""
    domain = DomainId(id_from_bytes(bytes(range(16))))

    def make(**settings):
        return Place(tmp_path, domain, RootId(id_from_bytes(os.urandom(16))), settings={"endpoint": front.url} | settings)

    return make


@pytest.fixture
def quick(monkeypatch):
    """Waits and repetitions of a test and not of a network."""
    from hermetic.providers import gcpkms

    monkeypatch.setattr(gcpkms, "DEADLINE_S", 1.0)
    monkeypatch.setattr(gcpkms, "READ_S", 0.3)


@pytest.fixture
def project(tmp_path, monkeypatch):
    """An empty project folder, which is the working folder; HERMETIC_HOME is set."""
    for name in ("home", "project"):
        (tmp_path / name).mkdir(mode=0o700)
    monkeypatch.setenv("HERMETIC_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path / "project"
