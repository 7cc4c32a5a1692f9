"""A service of the stage's domain on loopback, for the attacks on it: a real listener, people with certificates, and raw connections.

    with service(stage, "ana", "eve") as made:
        made.call("eve", "/v1/hello", HELLO)

Certificates have to be in date for OpenSSL too, so that nothing here moves a clock.
"""

from __future__ import annotations

import contextlib
import http.client
import secrets
import socket
import ssl
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from _stage import Broken

from hermetic.crypto import x509
from hermetic.domain.custody_place import ServicePlace
from hermetic.domain.https_identity import present
from hermetic.domain.https_port import HttpsPort
from hermetic.domain.identity_files import ClientIdentity
from hermetic.domain.service import ServiceCustody
from hermetic.formats import codec
from hermetic.formats.messages.greeting import Hello
from hermetic.formats.messages.identity import CreateAuthority, EnrolIdentity, IssueCertificate
from hermetic.formats.messages.versions import OpenVersions
from hermetic.ids import Purpose, id_from_bytes
from hermetic.server.http_limits import Limits
from hermetic.server.http_server import HttpsServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from _stage import Stage

    from hermetic.domain.local import LocalPort

HOST = "localhost"
HELLO = codec.encode(Hello())
PROOF = "Hermetic-Recipient-Proof"


@dataclass
class Service:
    """A running service; `plain` asks as whoever administers the domain."""

    stage: Stage
    domain: str
    plain: LocalPort
    server: HttpsServer

    @property
    def place(self) -> ServicePlace:
        return ServicePlace(HOST, self.server.address[1])

    def enrol(self, name: str, role: str = "ml-engineer") -> ClientIdentity:
        self.plain.ask(EnrolIdentity(name, "person", (role,), "works here"))
        return self.certify(name)

    def certify(self, name: str, folder: str = "") -> ClientIdentity:
        """Give somebody another certificate, in a folder of their own."""
        uri = f"spiffe://{self.domain}/person/{name}"
        key, csr = x509.new_request(uri)
        issued = self.plain.ask(IssueCertificate(uri, csr, 3600, "works here"))
        return write(self.stage.base / "people" / (folder or name), issued.chain, key, issued.authorities)

    def paths(self, name: str) -> ClientIdentity:
        return paths_in(self.stage.base / "people" / name)

    def port(self, name: str, place: ServicePlace | None = None) -> HttpsPort:
        return HttpsPort(place or self.place, self.domain, self.paths(name))

    def call(self, name: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, object]:
        """One request on a connection of its own, headers with _ for -; returns status and message."""
        return self.call_as(self.paths(name), path, body, **headers)

    def call_as(self, paths: ClientIdentity, path: str, body: bytes = b"", **headers: str) -> tuple[int, object]:
        link = http.client.HTTPSConnection(HOST, self.server.address[1], timeout=20, context=present(paths).context)
        given = {"Content-Type": "application/json"} | {key.replace("_", "-"): value for key, value in headers.items()}
        with contextlib.closing(link):
            link.request("POST", path, body, given)
            answer = link.getresponse()
            return answer.status, codec.decode(answer.read())

    def channel(self, paths: ClientIdentity | None, **versions: ssl.TLSVersion) -> ssl.SSLSocket:
        """A TLS connection for raw bytes, that believes any service."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        for name, value in versions.items():
            setattr(context, name, value)
        if paths is not None:
            context.load_cert_chain(paths.chain, paths.key)
        peer = socket.create_connection(self.server.address, timeout=20)
        try:
            return context.wrap_socket(peer, server_hostname=HOST)
        except BaseException:
            peer.close()
            raise


def opening(recipient: bytes, request: str = "") -> OpenVersions:
    """A request for the key of the stage's version."""
    return OpenVersions(request or fresh(), ("dataset/patients",), Purpose.PREPARE, recipient=recipient)


def fresh() -> str:
    return id_from_bytes(secrets.token_bytes(16))


def paths_in(folder: Path) -> ClientIdentity:
    return ClientIdentity(folder / "chain.pem", folder / "key.pem", folder / "authorities.pem")


def write(folder: Path, chain, key, authorities) -> ClientIdentity:
    """Put what a client needs into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    found = paths_in(folder)
    found.chain.write_bytes(x509.to_pem(chain))
    found.key.write_bytes(bytes(key.view()))
    found.key.chmod(0o600)
    found.authorities.write_bytes(x509.to_pem(authorities))
    return found


@contextlib.contextmanager
def service(stage: Stage, *people: str, **limits: float) -> Iterator[Service]:
    """A domain with one sealed version, served over HTTPS; `people` are ml-engineers. Ends with it still answering the first."""
    stage.create().seal()
    with stage.connect() as h:
        plain = h.connection.port
        plain.ask(CreateAuthority("the service begins"))
        with HttpsServer(ServiceCustody(plain), ("127.0.0.1", 0), names=(HOST,), limits=Limits(stop_s=3.0, **limits)) as server:
            made, ready = Service(stage, stage.domain, plain, server), threading.Event()
            thread = threading.Thread(target=server.serve, args=(ready.set,))
            thread.start()
            try:
                if not ready.wait(20):
                    raise Broken("the service does not begin")
                for name in people:
                    made.enrol(name)
                yield made
                stage.honest("the service still answers", made.call(people[0], "/v1/hello", HELLO)[0], 200)
            finally:
                server.close()
                thread.join()
