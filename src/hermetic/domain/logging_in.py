"""Log in with a token of an issuer: a key made here, and the certificate that custody gives for both.

A workload brings a token in a file. A person gets one in the browser: authorization code with PKCE, the answer by way of a page on the
loopback (RFC 8252, 9700); the nonce is the digest of the key, so that the token is no good for another one. The token stays in memory.

Custody's listener is believed by the authorities that are pinned here, as any connection to custody.
"""

from __future__ import annotations

import hmac
import http.client
import secrets
import ssl
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import parse_qs, urlencode, urlsplit

from hermetic.access.issuers import DISCOVERY, strict_json
from hermetic.access.tokens import LIMIT, key_nonce
from hermetic.crypto import x509
from hermetic.crypto.mac import sha256
from hermetic.domain import config, identity_files, oidc_fetch, oidc_settings
from hermetic.domain.refusals import error_of
from hermetic.domain.remote import decoded
from hermetic.errors import (
    ConfigError,
    Conflict,
    Denied,
    FormatError,
    HermeticError,
    KeyServiceUnavailable,
    NotFound,
    StorageError,
)
from hermetic.formats import codec
from hermetic.formats.binary_text import to_base64url
from hermetic.formats.messages.base import Refusal
from hermetic.formats.messages.identity import CertificateIssued, ExchangeToken

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from hermetic.domain.identity_files import ClientIdentity, Place
    from hermetic.domain.oidc_settings import Login

DIAL_S: Final = 10.0
ANSWER_LIMIT: Final = 256 * 1024
FIRST: Final = "--authorities FILE, from `hermetic identity export-trust`"


class Browser(Protocol):
    """Where a person says yes. Composition is a door's business."""

    @property
    def redirect(self) -> str:
        """The address on the loopback that the issuer sends the browser back to."""

    def answer(self, url: str) -> str:
        """Show a page of the issuer, and return the query that the browser came back with. Raises HermeticError."""


@dataclass(frozen=True, slots=True)
class Entrance:
    """Where to log in, as whom, and whom to believe there: PEM, None for the authorities that are pinned already."""

    place: Place
    login: Login
    uri: str
    authorities: bytes | None


def log_in(entrance: Entrance, token: Callable[[bytes], str], *, now_ms: int) -> ClientIdentity:
    """Get a certificate for a key made here; `token` gives the token for a public key. Raises HermeticError.

    Asked again after an answer that got lost, with the same token, the certificate is the same.
    """
    folder = entrance.place.folder
    pins = _pins(folder, entrance.authorities)
    csr = x509.request_in(identity_files.request(folder, entrance.uri))
    said = ExchangeToken(token(x509.parse_request(csr).public), csr)
    try:
        made = _exchange(entrance.login, pins, said)
    except Conflict:  # the key had a certificate that never got here
        identity_files.forget_request(folder)
        raise
    roots = x509.to_pem(made.authorities)
    return identity_files.install(folder, x509.to_pem(made.chain), entrance.place.domain, now_ms=now_ms, authorities=roots)


def settings_of(place: Place) -> Login:
    """Return what the user's own config.yaml says of logging in. Raises ConfigError."""
    found = config.load(place.folder.parent).login
    if found is None:
        file = place.folder.parent / config.CONFIG_FILE
        raise ConfigError(f"{file} does not say where to log in", hint="a line there (mode 0600): `login: {url: https://HOST:PORT}`")
    return found


class Exchanged:
    """A token in a file that something else exchanges, as the kubelet does. Each is brought once: it is good once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._brought = b""

    def log_in(self, place: Place, *, now_ms: int) -> bool:
        """Get a certificate for whom the one in use names, if the file has another token than before; return whether it has.

        One that custody refuses is not brought again, one that it could not be asked about is. Raises HermeticError.
        """
        token = token_in(self.path)
        digest = sha256(token.encode("ascii"))
        if hmac.compare_digest(digest, self._brought):
            return False
        uri = identity_files.ClientIdentity.load(place.folder).certificate().uris[0]
        try:
            log_in(Entrance(place, settings_of(place), uri, None), lambda _public: token, now_ms=now_ms)
        except (KeyServiceUnavailable, StorageError):
            raise
        except HermeticError:
            self._brought = digest
            raise
        self._brought = digest
        return True


def token_in(path: Path) -> str:
    """Return the token in a file, which may be a link, as in a Kubernetes pod. Raises StorageError, Denied, FormatError."""
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(path.stat().st_mode)
            raw = file.read(LIMIT + 2)
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror}") from None
    if mode & 0o002:
        raise Denied(f"{path} can be written by everybody", hint=f"chmod o-w {path}")
    try:
        return raw.decode("ascii").strip()
    except UnicodeDecodeError:
        raise FormatError(f"{path} holds no token") from None


def browser_token(login: Login, browser: Browser) -> Callable[[bytes], str]:
    """Return what gets a person's token for a public key. Raises ConfigError."""
    if login.issuer is None or login.client is None:
        raise ConfigError("config.yaml names no issuer to log in with", hint="login: {url: …, issuer: https://HOST, client: NAME}")
    issuer, client = login.issuer, login.client

    def ask(public: bytes) -> str:
        said = _discovered(issuer, login.authority)
        state, verifier = to_base64url(secrets.token_bytes(32)), to_base64url(secrets.token_bytes(32))
        query = {
            "response_type": "code",
            "client_id": client,
            "redirect_uri": browser.redirect,
            "scope": "openid",
            "state": state,
            "nonce": key_nonce(public),
            "code_challenge": to_base64url(sha256(verifier.encode("ascii"))),
            "code_challenge_method": "S256",
        }
        page = oidc_settings.https(said.get("authorization_endpoint"), "authorization_endpoint")
        code = _code(browser.answer(f"{page}{'&' if urlsplit(page).query else '?'}{urlencode(query)}"), state, issuer)
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": browser.redirect,
            "client_id": client,
            "code_verifier": verifier,
        }
        place = oidc_settings.https(said.get("token_endpoint"), "token_endpoint")
        token = _json(oidc_fetch.exchange(place, login.authority, urlencode(form).encode("ascii"))).get("id_token")
        if not isinstance(token, str):
            raise Denied("the issuer gave no ID token", hint="does the client have the scope `openid`?")
        return token

    return ask


def _discovered(issuer: str, authority: Path | None) -> dict[str, Any]:
    said = _json(oidc_fetch.exchange(issuer.rstrip("/") + DISCOVERY, authority))
    if said.get("issuer") != issuer:
        raise Denied("what is published there is of another issuer", hint="write `issuer:` in config.yaml as the issuer does")
    return said


def _json(raw: bytes) -> dict[str, Any]:
    try:
        return strict_json(raw)
    except ValueError:
        raise FormatError("the issuer's answer is no JSON object") from None


def _code(query: str, state: str, issuer: str) -> str:
    """Return the code that the browser came back with. Raises Denied for an answer to another question."""
    try:
        found = parse_qs(query, keep_blank_values=True, max_num_fields=20)
    except ValueError:
        raise Denied("the browser came back with too much") from None
    if any(len(values) != 1 for values in found.values()):
        raise Denied("the browser came back with something twice")
    said = {name: values[0] for name, values in found.items()}
    if not hmac.compare_digest(said.get("state", "").encode(), state.encode()) or said.get("iss", issuer) != issuer:
        raise Denied("the browser came back from another login", hint="close the page, and run the command again")
    if "code" not in said:
        raise Denied(f"the issuer said no ({ascii(said.get('error', ''))[1:60]})", hint="run the command again")
    return said["code"]


def _pins(folder: Path, given: bytes | None) -> tuple[bytes, ...]:
    if given is not None:
        return x509.certificates_in(given)
    try:
        return identity_files.ClientIdentity.load(folder).pinned()
    except NotFound:
        raise NotFound("no authority of custody's is believed here yet", hint=FIRST) from None


def _exchange(login: Login, pins: tuple[bytes, ...], said: ExchangeToken) -> CertificateIssued:
    where = f"https://{login.host}:{login.port}"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.load_verify_locations(cadata=b"".join(pins))
    connection = http.client.HTTPSConnection(login.host, login.port, timeout=DIAL_S, context=context)
    try:
        connection.request("POST", f"/v1/{codec.name_of(ExchangeToken)}", codec.encode(said), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        body = answer.read(ANSWER_LIMIT)
    except ssl.SSLCertVerificationError as error:
        hint = "ask who runs custody; do not go on before you know"
        raise Denied(f"what answers at {where} has no certificate that you believe: {error.verify_message}", hint=hint) from None
    except (OSError, http.client.HTTPException) as error:
        raise KeyServiceUnavailable(f"custody at {where} gave no answer ({type(error).__name__})", hint="try again") from None
    finally:
        connection.close()
    if answer.headers.get_content_type() != "application/json":
        raise KeyServiceUnavailable(f"what answers at {where} is not custody (HTTP {answer.status})")
    found = decoded(body)
    if isinstance(found, Refusal):
        raise error_of(found)
    if not isinstance(found, CertificateIssued):
        raise FormatError("custody answered with another message")
    return found
