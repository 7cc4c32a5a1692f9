"""Moving the key of manifests into a token and out again, and what pins make of that.

Where a token is and which file holds its PIN stands in config.yaml of whoever runs custody, under its URI, before custody is asked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermetic.domain import config, project
from hermetic.domain.home import Home, private_folder
from hermetic.domain.pinned import PINS_FILE, PinKeeper
from hermetic.errors import NotFound, UsageError
from hermetic.formats.binary_text import from_base64url
from hermetic.ids import check_id
from hermetic.keys.domain_file import check_uri
from hermetic.providers.signing_tokens import SigningTokens

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from hermetic.domain.connect import Connection
    from hermetic.formats.messages.signing import RotateSigningKey, SigningKeyChanged


def rotate(connection: Connection, request: RotateSigningKey, *, settings: Mapping[str, str] | None = None) -> SigningKeyChanged:
    """Rotate a signing key. `settings` are the token's, kept in config.yaml; only where custody runs in this process.

    The new key is pinned here also when the one before could not sign for it: who asks for that knows it. Raises UsageError,
    ConfigError, Conflict, PolicyDenied, Locked, KeyServiceUnavailable, IntegrityError, StorageError, Unsupported.
    """
    if settings:
        if ":" not in request.home:
            raise UsageError("settings are those of a token", hint="--in pkcs11:token=LABEL;object=LABEL says which")
        _keep(connection, check_uri(request.home), settings)
    done = connection.ask(request)
    if done.unsigned:
        connection.pins.trust(done.key.key, done.key.public)
    return done


def _keep(connection: Connection, uri: str, settings: Mapping[str, str]) -> None:
    """Keep a token's settings in config.yaml, unless they cannot be right. Custody reads it there: it has to run in this process."""
    _, domain = connection.roots, connection.project.domain
    SigningTokens(connection.home.domain_data(domain), domain, lambda: {uri: settings}).check(uri)
    config.add_provider(private_folder(connection.home.domain_config(domain)), uri, settings)


def trust(start: Path, home: Home, *, key: str, public: str) -> str:
    """Pin a key of manifests that a person vouches for, without asking custody, whose word this is not; return the domain.

    Raises NotFound (nothing is pinned here yet), SignatureError (another key by that id is), FormatError.
    """
    domain = project.load(project.find_root(start)).domain
    pins = PinKeeper(home.domain_config(domain) / PINS_FILE, domain)
    if pins.first_use:
        raise NotFound("nothing is pinned here yet", hint="the first command that connects takes the keys as they are: compare those")
    pins.trust(check_id(key), from_base64url(public, length=32))
    return domain
