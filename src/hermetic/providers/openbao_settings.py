"""What config.yaml says of an `openbao:` root: where the server is, and how this machine logs in. Never a secret."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from hermetic.errors import ConfigError
from hermetic.providers import settings
from hermetic.providers.openbao_auth import NEEDS, SEGMENTS, absolute, login_of
from hermetic.providers.openbao_server import Server, parse_address

if TYPE_CHECKING:
    from hermetic.providers.openbao_auth import Login
    from hermetic.providers.place import Place

KNOWN: Final = {
    "address": "https://HOST:PORT of the server; else BAO_ADDR or VAULT_ADDR",
    "ca": "file of the certificate that vouches for the server",
    "namespace": "where the engine and the login are",
    "auth": f"{', '.join(NEEDS)}; token unless said",
    "token_file": "file (mode 0600) of the token",
    "auth_mount": "path of the auth method, unless it is called as the method",
    "role": "of auth jwt and cert",
    "role_id": "of auth approle",
    "secret_id_file": "file (mode 0600) of the secret id of auth approle",
    "jwt_file": "file (mode 0600) of the JWT",
    "cert": "file of the client certificate",
    "key": "file (mode 0600) of its private key",
}


def server(uri: str, place: Place) -> Server:
    """Return where the server is and how it is known. Raises ConfigError."""
    where, said = _where(uri), settings.read(uri, place, KNOWN)
    address = said.get("address") or os.environ.get("BAO_ADDR") or os.environ.get("VAULT_ADDR")
    if not address:
        raise ConfigError(f"{where}: address is missing", hint=f"address: {KNOWN['address']}")
    scheme, host, port = parse_address(where, address)
    namespace = said.get("namespace", "").strip("/")
    if namespace and not SEGMENTS.fullmatch(namespace):
        raise ConfigError(f"{where}: namespace is a path of names", hint="namespace: team/prod")
    tls = {name: absolute(where, name, said[name]) for name in ("ca", "cert", "key") if name in said}
    if tls and scheme == "http":
        raise ConfigError(f"{where}: {min(tls)} does not go with plain http", hint=f"address: https://{host}:{port}")
    certificate = (tls["cert"], tls["key"]) if {"cert", "key"} <= set(tls) else None
    return Server(scheme, host, port, tls.get("ca"), certificate, namespace)


def login(uri: str, place: Place) -> Login:
    """Return how to log in. Raises ConfigError."""
    return login_of(_where(uri), settings.read(uri, place, KNOWN))


def _where(uri: str) -> str:
    return f"config.yaml, providers, {uri}"
