"""Servers that speak the protocol of AWS KMS on loopback: moto (whole protocol, no key states) and ministack (key states, Regions)."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from hermetic.ids import DomainId, id_from_bytes
from hermetic.keys.provider import RootId
from hermetic.providers.place import Place
from tests.interop import s3server
from tests.interop.front import Front, forward

REGION = "eu-west-1"


def client(endpoint, region=REGION):
    """boto3's own client, to administer keys."""
    import boto3

    return boto3.session.Session().client("kms", endpoint_url=endpoint, region_name=region)


@contextmanager
def _serving(name, words, folder, **more):
    program = Path(sys.prefix) / "bin" / name
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONUNBUFFERED": "1", **more}
    with s3server._running([str(program), *words], environment, folder) as (_, port):
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(scope="session")
def servers(tmp_path_factory):
    """Addresses by name; credentials are in the environment while they run."""
    settings = {"BIND_HOST": "127.0.0.1", "IOT_MTLS_ENABLED": "0", "SERVICES": "kms", "GATEWAY_PORT": "0"}
    with (
        s3server.credentials(),
        _serving("moto_server", ["-H", "127.0.0.1", "-p", "0"], tmp_path_factory.mktemp("moto")) as moto,
        _serving("ministack", [], tmp_path_factory.mktemp("ministack"), **settings) as ministack,
    ):
        yield {"moto": moto, "ministack": ministack}


@pytest.fixture
def moto(servers):
    return servers["moto"]


@pytest.fixture
def ministack(servers):
    return servers["ministack"]


@pytest.fixture
def places(tmp_path):
    """Make places of new roots in one custody home."""
    domain = DomainId(id_from_bytes(bytes(range(16))))

    def make(**settings):
        return Place(tmp_path, domain, RootId(id_from_bytes(os.urandom(16))), settings=settings)

    return make


@pytest.fixture
def front(moto):
    """A server in between, that can be told to fail."""
    with Front(forward(moto)) as between:
        yield between


@pytest.fixture
def quick(monkeypatch):
    """Waits and repetitions of a test and not of a network."""
    from hermetic.providers import awskms

    monkeypatch.setattr(awskms, "ATTEMPTS", 2)
    monkeypatch.setattr(awskms, "READ_S", 0.3)


@pytest.fixture
def project(tmp_path, monkeypatch):
    """An empty project folder, which is the working folder; HERMETIC_HOME is set."""
    for name in ("home", "project"):
        (tmp_path / name).mkdir(mode=0o700)
    monkeypatch.setenv("HERMETIC_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path / "project"
