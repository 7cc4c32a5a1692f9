"""A vault on loopback that speaks Azure Key Vault's protocol over TLS, and a managed identity, where azure-identity looks for one."""

from __future__ import annotations

import datetime as dt
import ipaddress
import os
import ssl

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from hermetic.ids import DomainId, id_from_bytes
from hermetic.keys.provider import RootId
from hermetic.providers.place import Place
from tests.interop.azure.service import Service
from tests.interop.front import Front


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    """A certificate for 127.0.0.1 that vouches for itself; returns its file and a server's context."""
    folder, key = tmp_path_factory.mktemp("tls"), ec.generate_private_key(ec.SECP256R1())
    name, now = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "vault of a test")]), dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=2))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    public, private = folder / "ca.pem", folder / "key.pem"
    public.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    kinds = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    private.write_bytes(key.private_bytes(*kinds))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(public, private)
    return public, context


@pytest.fixture
def service():
    return Service()


@pytest.fixture
def front(service, certificate, monkeypatch):
    """The vault, and the identity endpoint, which the environment names as that of an App Service does."""
    for name in [name for name in os.environ if name.startswith(("AZURE_", "IDENTITY_", "MSI_"))]:
        monkeypatch.delenv(name)
    with Front(service, tls=certificate[1]) as vault, Front(service.identity) as identity:
        monkeypatch.setenv("IDENTITY_ENDPOINT", f"{identity.url}/msi/token")
        monkeypatch.setenv("IDENTITY_HEADER", "of-the-app")
        vault.identity = identity
        yield vault


@pytest.fixture
def places(tmp_path, front, certificate):
    """Make places of new roots in one custody home."""
    domain = DomainId(id_from_bytes(bytes(range(16))))

    def make(**settings):
        given = {"endpoint": front.url, "ca": str(certificate[0])} | settings
        return Place(tmp_path, domain, RootId(id_from_bytes(os.urandom(16))), settings=given)

    return make


@pytest.fixture
def quick(monkeypatch):
    """Waits and repetitions of a test and not of a network."""
    from hermetic.providers import azurekv_client

    for name, value in {"TRIES": 1, "PAUSE_S": 0.01, "LONGEST_PAUSE_S": 0.02, "READ_S": 0.3}.items():
        monkeypatch.setattr(azurekv_client, name, value)


@pytest.fixture
def project(tmp_path, monkeypatch):
    """An empty project folder, which is the working folder; HERMETIC_HOME is set."""
    for name in ("home", "project"):
        (tmp_path / name).mkdir(mode=0o700)
    monkeypatch.setenv("HERMETIC_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path / "project"
