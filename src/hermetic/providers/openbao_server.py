"""Where an OpenBao or HashiCorp Vault server is, how it is known to be that one, and a connection to it.

https takes TLS 1.3 and a certificate that `ca` (else the system) vouches for; plain http is for this machine alone, which is
looked at in the address and again at the connection. No proxy is asked, and SSLKEYLOGFILE is not heeded: it would write session keys.
"""

from __future__ import annotations

import http.client
import ipaddress
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from hermetic.errors import ConfigError, KeyServiceUnavailable, NotFound, StorageError
from hermetic.providers import private_file

if TYPE_CHECKING:
    from pathlib import Path

CONNECT_S: Final = 5.0
_PORT: Final = 8200
_KEY_LIMIT: Final = 64 << 10


@dataclass(frozen=True, slots=True)
class Server:
    """Where the server is and how it is known; `certificate` is this client's own (certificate file, key file)."""

    scheme: str
    host: str
    port: int
    ca: Path | None = None
    certificate: tuple[Path, Path] | None = None
    namespace: str = ""

    @property
    def address(self) -> str:
        """The address, for people."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


def parse_address(where: str, text: str) -> tuple[str, str, int]:
    """Return (scheme, host, port) of `https://HOST[:PORT]`. Raises ConfigError, also for plain http to another machine."""
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port or _PORT
    except ValueError:
        parts, host, port = urlsplit(""), "", 0
    plain = parts.path in {"", "/"} and parts.username is None and "?" not in text and "#" not in text
    if parts.scheme not in {"http", "https"} or not host or not plain:
        raise ConfigError(f"{where}: address is not https://HOST:PORT", hint="address: https://bao.example.org:8200")
    if parts.scheme == "http" and not _loopback(host):
        raise ConfigError(f"{where}: plain http is for this machine only", hint=f"address: https://{host}:{port}")
    return parts.scheme, host, port


def connect(server: Server, context: ssl.SSLContext | None) -> http.client.HTTPConnection:
    """Return an open connection; `context` is that of `tls` for https. Raises OSError, KeyServiceUnavailable."""
    connection = (
        http.client.HTTPConnection(server.host, server.port, timeout=CONNECT_S)
        if context is None
        else http.client.HTTPSConnection(server.host, server.port, timeout=CONNECT_S, context=context)
    )
    connection.auto_open = 0
    connection.connect()
    if context is None and not _loopback(connection.sock.getpeername()[0]):
        connection.close()
        raise KeyServiceUnavailable(f"{server.host} is not this machine, and plain http is for this machine only")
    return connection


def tls(server: Server) -> ssl.SSLContext | None:
    """Return what TLS goes by, None for http. Raises KeyServiceUnavailable when certificate files cannot be read, IntegrityError for a
    private key that is open to others."""
    if server.scheme == "http":
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # create_default_context would heed SSLKEYLOGFILE
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    try:
        if server.ca is None:
            context.load_default_certs()
        else:
            context.load_verify_locations(cafile=server.ca)
        if server.certificate is not None:
            private_file.read(server.certificate[1], _KEY_LIMIT)
            context.load_cert_chain(*server.certificate, password=_no_passphrase)
    except (OSError, ValueError, NotFound, StorageError) as error:
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
        raise KeyServiceUnavailable(
            f"certificates for {server.address} cannot be read: {reason}", hint="check the settings `ca`, `cert` and `key`"
        ) from None
    return context


def tls_trouble(server: Server, error: ssl.SSLError) -> KeyServiceUnavailable:
    """Return what to say of a failed handshake."""
    if isinstance(error, ssl.SSLCertVerificationError):
        why, hint = error.verify_message, "the setting `ca` names the certificate that vouches for the server"
    else:
        why, hint = error.reason or "TLS failed", "the server has to speak TLS 1.3, and to accept this client's certificate"
    return KeyServiceUnavailable(f"{server.address} is not trusted: {why}", hint=hint)


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return host == "localhost"


def _no_passphrase() -> str:
    raise ValueError("the key is under a passphrase")
