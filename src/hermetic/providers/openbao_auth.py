"""Logging in to OpenBao, and staying logged in.

    auth      what it takes                                         where it lies
    token     a token that somebody (an agent, a person) renews     token_file
    approle   role id, and a secret id if the role wants one        role_id, secret_id_file
    jwt       a signed statement of who this workload is            jwt_file, role
    cert      a TLS client certificate                              cert, key, role if there are several

Secrets are read from files of mode 0600 each time that they are used, so that what an agent writes there counts. The token is kept in
memory only. It is renewed after two thirds of its time, if it can be; when its time is over, there is a new login. A request that is
refused (403) makes the session look whether its token still lives: if not, one new login and the request again; if so, it is denied.

    >>> settings = {"auth": "approle", "role_id": "r", "secret_id_file": "/run/secrets/bao"}
    >>> login_of("config.yaml", settings).method
    'approle'
"""

from __future__ import annotations

import os
import re
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from hermetic.crypto.secret import Secret
from hermetic.errors import ConfigError, IntegrityError, KeyServiceUnavailable, NotFound, StorageError
from hermetic.providers import private_file
from hermetic.providers.place import boot_ms
from hermetic.providers.uses import UseTray

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from hermetic.providers.openbao_http import Answer, Client

NEEDS: Final = {  # method -> (required, allowed besides)
    "token": (("token_file",), ()),
    "approle": (("role_id",), ("secret_id_file", "auth_mount")),
    "jwt": (("role", "jwt_file"), ("auth_mount",)),
    "cert": (("cert", "key"), ("role", "auth_mount")),
}
SECRET_LIMIT: Final = 16 << 10  # bytes of a token, secret id or JWT
_OWN: Final = frozenset(name for required, allowed in NEEDS.values() for name in (*required, *allowed))
_VISIBLE: Final = re.compile(rb"[!-~]+")
SEGMENTS: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*")
_EARLY_MS: Final = 2_000  # a token is not used in its last moments
_WORTH_RENEWING_MS: Final = 15_000


@dataclass(frozen=True, slots=True)
class Login:
    """How to log in; `files` are the secrets by the name under which they are sent."""

    method: str
    mount: str
    fields: Mapping[str, str] = field(default_factory=dict, repr=False)
    files: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Token:
    """A token and its times, in milliseconds since boot; `expires_ms` is None for one without end."""

    value: Secret
    expires_ms: int | None
    renew_ms: int | None
    policies: tuple[str, ...]


def login_of(where: str, settings: Mapping[str, str]) -> Login:
    """Return the login that settings describe. Raises ConfigError for a missing one, and for one that belongs to another method."""
    method = settings.get("auth", "token")
    if method not in NEEDS:
        raise ConfigError(f"{where}: unknown auth {method[:80]!r}", hint=f"auth: {', '.join(NEEDS)}")
    required, allowed = NEEDS[method]
    missing = [name for name in required if name not in settings]
    strange = sorted(name for name in settings if name in _OWN and name not in {*required, *allowed})
    if missing:
        raise ConfigError(f"{where}: {missing[0]} is missing", hint=f"auth {method} takes {', '.join((*required, *allowed))}")
    if strange:
        raise ConfigError(f"{where}: {strange[0]} does not go with auth {method}", hint=f"it takes {', '.join((*required, *allowed))}")
    mount = settings.get("auth_mount", method)
    if not SEGMENTS.fullmatch(mount):
        raise ConfigError(f"{where}: auth_mount is the path of an auth method", hint="auth_mount: approle")
    files = {
        name: absolute(where, f"{name}_file", settings[f"{name}_file"]) for name in ("secret_id", "jwt") if f"{name}_file" in settings
    }
    if method == "token":
        files = {"token": absolute(where, "token_file", settings["token_file"])}
    fields = {
        "name" if method == "cert" and name == "role" else name: settings[name] for name in ("role", "role_id") if name in settings
    }
    return Login(method, mount, fields, files)


def absolute(where: str, name: str, value: str) -> Path:
    """Return the file that a setting names. Raises ConfigError for a relative path."""
    path = Path(value)
    if not path.is_absolute():
        raise ConfigError(f"{where}: {name} is an absolute path")
    return path


class Session:
    """Calls as somebody: logs in when it has to. `uses` are what was answered: its own logins, and what its callers note."""

    def __init__(self, client: Client, login: Login, *, clock: Callable[[], int] = boot_ms) -> None:
        self.client, self._login, self._clock = client, login, clock
        self._token: Token | None = None
        self.uses = UseTray()
        self._lock, self._pid = threading.Lock(), os.getpid()

    def call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Answer:
        """Send a request with a token. An answer of 403 means that this identity may not do it. Raises KeyServiceUnavailable,
        IntegrityError (a secret file that others could have changed)."""
        token = self.token()
        answer = self.client.call(method, path, body, token=_text(token.value))
        if answer.status != 403 or self._lives(token):
            return answer
        return self.client.call(method, path, body, token=_text(self.token(instead_of=token).value))

    def token(self, *, instead_of: Token | None = None) -> Token:
        """Return a token that can be used now, renewed or new if need be; another one than `instead_of`."""
        if os.getpid() != self._pid:  # a thread of the parent may have held the lock at the fork
            self._lock, self._pid = threading.Lock(), os.getpid()
        with self._lock:
            now, token = self._clock(), self._token
            if token is None or token is instead_of or (token.expires_ms is not None and now >= token.expires_ms - _EARLY_MS):
                token = self._new()
            elif token.renew_ms is not None and now >= token.renew_ms:
                token = self._renewed(token)
            self._token = token
            return token

    def _lives(self, token: Token) -> bool:
        """Look whether the server still knows a token; one that may not ask about itself has to be taken as gone."""
        return self.client.call("GET", "auth/token/lookup-self", token=_text(token.value)).status == 200

    def _new(self) -> Token:
        login, secrets = self._login, {name: _read(path) for name, path in self._login.files.items()}
        if login.method == "token":
            return self._described(secrets["token"])
        body = {**login.fields, **{name: _text(secret) for name, secret in secrets.items()}}
        answer = self.client.call("POST", f"auth/{login.mount}/login", body)
        auth = answer.body.get("auth")
        value = auth.get("client_token") if isinstance(auth, dict) else None
        if answer.status != 200 or not isinstance(auth, dict) or not isinstance(value, str) or not value:
            raise KeyServiceUnavailable(
                f"OpenBao refuses the login by {login.method}: {answer.problem or answer.status}",
                hint=f"check role and secret of auth/{login.mount} there; a secret id may be used up, a JWT or certificate over",
            )
        self.uses.note("login", answer.body.get("request_id"))
        return self._dated(Secret(value.encode("ascii", "replace")), auth)

    def _described(self, value: Secret) -> Token:
        """Return a token that was given, with its times if it may ask for them. A dead one shows when it is used."""
        answer = self.client.call("GET", "auth/token/lookup-self", token=_text(value))
        data = answer.body.get("data")
        if answer.status != 200 or not isinstance(data, dict):
            return Token(value, None, None, ())
        return self._dated(value, {**data, "lease_duration": data.get("ttl")})

    def _renewed(self, token: Token) -> Token:
        """Return the token with its new times; one that cannot be renewed goes on to its end."""
        answer = self.client.call("POST", "auth/token/renew-self", {}, token=_text(token.value))
        auth = answer.body.get("auth")
        if answer.status != 200 or not isinstance(auth, dict):
            return Token(token.value, token.expires_ms, None, token.policies)
        return self._dated(token.value, auth)

    def _dated(self, value: Secret, told: Mapping[str, Any]) -> Token:
        seconds, policies = told.get("lease_duration"), told.get("policies")
        named = tuple(item for item in policies if isinstance(item, str)) if isinstance(policies, list) else ()
        if not isinstance(seconds, int) or not 0 < seconds < 1 << 40:
            return Token(value, None, None, named)
        now, lease = self._clock(), seconds * 1000
        renews = told.get("renewable") is True and lease > _WORTH_RENEWING_MS
        return Token(value, now + lease, now + lease * 2 // 3 if renews else None, named)


def _read(path: Path) -> Secret:
    """Return a secret of one line. Raises KeyServiceUnavailable (not there), IntegrityError (open to others, or not a secret)."""
    try:
        raw = private_file.read(path, SECRET_LIMIT).rstrip(b"\r\n")
    except (NotFound, StorageError) as error:
        raise KeyServiceUnavailable(error.message, hint=error.hint or "put the credential for OpenBao there, mode 0600") from None
    if not _VISIBLE.fullmatch(raw):
        raise IntegrityError(f"{path} does not hold one line of visible characters")
    return Secret(raw)


def _text(secret: Secret) -> str:
    return bytes(secret.view()).decode("ascii")
