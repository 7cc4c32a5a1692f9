"""A domain with an authority, a service of it on loopback, and clients with certificates; everything real.

    with service(tmp_path) as made:
        made.port("ana").ask(Hello())

Certificates have to be in date for OpenSSL too, so that the clock is the machine's.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import threading
import time
from dataclasses import dataclass, field

from hermetic.crypto import x509
from hermetic.domain.custody_place import ServicePlace
from hermetic.domain.https_identity import present
from hermetic.domain.https_port import HttpsPort
from hermetic.domain.identity_files import ClientIdentity
from hermetic.domain.service import ServiceCustody
from hermetic.formats.messages.identity import CreateAuthority, EnrolIdentity, IssueCertificate, RevokeCredential
from hermetic.server.http_limits import Limits
from hermetic.server.http_server import HttpsServer
from tests import world as w

HOST = "localhost"


def now():
    return int(time.time() * 1000)


@dataclass
class Service:
    """A running service. `plain` is the embedded port of whoever administers the domain."""

    world: w.World
    plain: object
    custody: ServiceCustody
    server: HttpsServer = None
    ports: list = field(default_factory=list)

    @property
    def place(self):
        return ServicePlace(HOST, self.server.address[1])

    def enrol(self, name, *, kind="person", roles=("ml-engineer",), seconds=3600):
        """Make somebody known and give them a certificate; return where it lies."""
        self.plain.ask(EnrolIdentity(name, kind, roles, "test"))
        return self.certify(name, kind=kind, seconds=seconds)

    def certify(self, name, *, kind="person", seconds=3600, folder=None):
        uri = f"spiffe://{self.world.domain}/{kind}/{name}"
        key, csr = x509.new_request(uri)
        issued = self.plain.ask(IssueCertificate(uri, csr, seconds, "test"))
        return write(folder or self.world.root / "identity" / name, issued.chain, key, issued.authorities)

    def revoke(self, name):
        return self.plain.ask(RevokeCredential(name, "test"))

    def paths(self, name):
        return paths_in(self.world.root / "identity" / name)

    def port(self, name, place=None):
        made = HttpsPort(place or self.place, self.world.domain, self.paths(name))
        self.ports.append(made)
        return made

    @contextlib.contextmanager
    def running(self, *, custody=None, names=(HOST, "127.0.0.1"), **limits):
        with HttpsServer(
            custody or self.custody, ("127.0.0.1", 0), names=names, limits=Limits(**({"stop_s": 3.0} | limits))
        ) as server:
            before, self.server = self.server, server
            ready = threading.Event()
            thread = threading.Thread(target=server.serve, args=(ready.set,))
            thread.start()
            assert ready.wait(20)
            try:
                yield self
            finally:
                server.close()
                thread.join(30)
                self.server = before
                assert not thread.is_alive()

    def close(self):
        for port in self.ports:
            port.close()
        self.world.close()


def paths_in(folder):
    return ClientIdentity(folder / "chain.pem", folder / "key.pem", folder / "authorities.pem")


def write(folder, chain, key, authorities):
    folder.mkdir(parents=True, exist_ok=True)
    found = paths_in(folder)
    found.chain.write_bytes(x509.to_pem(chain))
    found.key.write_bytes(bytes(key.view()))
    found.key.chmod(0o600)
    found.authorities.write_bytes(x509.to_pem(authorities))
    return found


def make(root):
    world = w.World.make(root)
    plain = world.port(clock=now)
    plain.ask(CreateAuthority("test"))
    return Service(world, plain, ServiceCustody(plain))


def channel(made, name=None, *, maximum=None, paths=None):
    """A TLS connection for raw bytes; without a name it shows no certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if maximum is not None:
        context.maximum_version = maximum
    shown = paths or (None if name is None else made.paths(name))
    if shown is not None:
        context.load_cert_chain(shown.chain, shown.key)
    peer = socket.create_connection(made.server.address, timeout=20)
    try:
        return context.wrap_socket(peer, server_hostname=HOST)
    except BaseException:
        peer.close()
        raise


def said(peer):
    """Everything that comes until the other side hangs up."""
    found = b""
    while piece := peer.recv(65536):
        found += piece
    return found


def call(made, name, path, body=b"", *, method="POST", headers=None):
    """One request on a connection of its own; returns (status, headers, body)."""
    connection = http.client.HTTPSConnection(HOST, made.server.address[1], timeout=20, context=present(made.paths(name)).context)
    with contextlib.closing(connection):
        connection.request(method, path, body, {"Content-Type": "application/json"} | (headers or {}))
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()


class Stub:
    """Custody that answers with what a function gives; everything else is the real one's."""

    def __init__(self, real, ask):
        self._real, self.ask = real, ask

    def __getattr__(self, name):
        return getattr(self._real, name)
