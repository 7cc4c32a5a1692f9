"""Issuers of tokens that this user trusts: `oidc:` of config.yaml (docs/how-to/log-in-with-oidc.md).

oidc:
  - issuer: https://login.example.org         compared as it stands here
    audience: hermetic                        what a token's `aud` has to be; of people the client's id
    kind: person                              or workload
    principals:                               enrolled before; a token has to have all the claims of one
      - {name: ana, claims: {sub: "248289761001"}}
    maximum_age: 600                          seconds since `iat`; 600 for people, 3600 for workloads by default
    jwks: https://HOST/PATH                   if discovery shall not say where the keys are; or an absolute path
    authority: /etc/hermetic/issuer.pem       instead of the system's, for TLS with the issuer

login:                                        of whoever logs in
  url: https://custody.example.org:8444       where `hermetic serve --login` listens
  issuer: https://login.example.org           and `client`: for people only
  client: hermetic
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from hermetic.access.issuers import PERSON, WORKLOAD, Issuer, Rule
from hermetic.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

LIMIT: Final = 16  # issuers
AGES: Final = {PERSON: 600, WORKLOAD: 3600}
LONGEST_S: Final = 86_400
_KEYS: Final = {"issuer", "audience", "kind", "principals", "maximum_age", "jwks", "authority"}
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_PLAIN: Final = re.compile(r"[\x21-\x7e]{1,1000}")


@dataclass(frozen=True, slots=True)
class Trusted:
    """An issuer, and whom TLS with it believes. `given` are the settings as they stand in the file."""

    issuer: Issuer
    authority: Path | None
    given: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Login:
    """Where this user logs in. `issuer` and `client` are None for workloads, which bring a token."""

    host: str
    port: int
    issuer: str | None
    client: str | None
    authority: Path | None
    given: Mapping[str, Any]


def read(value: Any, file: str) -> tuple[Trusted, ...]:
    """Return the issuers. Raises ConfigError."""
    if not isinstance(value, list) or len(value) > LIMIT:
        raise ConfigError(f"oidc is a list of up to {LIMIT} issuers", file=file)
    found = tuple(_trusted(given, file) for given in value)
    if len({item.issuer.url for item in found}) != len(found):
        raise ConfigError("oidc names an issuer twice", file=file)
    return found


def read_login(value: Any, file: str) -> Login | None:
    """Return what `login:` says, None when it is not there. Raises ConfigError."""
    if value is None:
        return None
    if not isinstance(value, dict) or not set(value) <= {"url", "issuer", "client", "authority"} or "url" not in value:
        raise ConfigError("login takes url, issuer, client, authority", hint="login: {url: https://HOST:PORT}", file=file)
    parts = urlsplit(https(value["url"], "login.url", file))
    if parts.path not in {"", "/"} or parts.query or parts.port is None:
        raise ConfigError("login.url is https://HOST:PORT", file=file)
    issuer, client = value.get("issuer"), value.get("client")
    if (issuer is None) != (client is None) or not (client is None or (isinstance(client, str) and _PLAIN.fullmatch(client))):
        raise ConfigError("login has `issuer:` and `client:`, or neither", file=file)
    if issuer is not None:
        https(issuer, "login.issuer", file)
    authority = _file(value, "login.authority", file)
    return Login(str(parts.hostname), parts.port, issuer, client, authority, value)


def https(url: Any, name: str, file: str | None = None) -> str:
    """Return a URL that begins with https:// and names nobody. Raises ConfigError."""
    wrong = ConfigError(f"{name} is an https:// URL, without user, password or fragment", file=file)
    if not isinstance(url, str) or not _PLAIN.fullmatch(url):
        raise wrong
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - raises for what is no number
    except ValueError:
        raise wrong from None
    if parts.scheme != "https" or not parts.hostname or "@" in parts.netloc or parts.fragment:
        raise wrong
    return url


def _trusted(given: Any, file: str) -> Trusted:
    if not isinstance(given, dict) or not set(given) <= _KEYS or not {"issuer", "audience", "kind", "principals"} <= set(given):
        raise ConfigError(f"an issuer of oidc has issuer, audience, kind, principals, and takes {', '.join(sorted(_KEYS))}", file=file)
    kind, audience = given["kind"], given["audience"]
    if kind not in AGES:
        raise ConfigError("oidc: kind is person or workload", file=file)
    if not isinstance(audience, str) or not _PLAIN.fullmatch(audience):
        raise ConfigError("oidc: audience is a text", file=file)
    age = given.get("maximum_age", AGES[kind])
    if isinstance(age, bool) or not isinstance(age, int) or not 1 <= age <= LONGEST_S:
        raise ConfigError(f"oidc: maximum_age is a number of seconds, up to {LONGEST_S}", file=file)
    jwks = given.get("jwks")
    if jwks is not None and not (isinstance(jwks, str) and jwks.startswith("/") and jwks.isprintable()):
        https(jwks, "oidc: jwks", file)
    issuer = Issuer(https(given["issuer"], "oidc: issuer", file), audience, kind, _rules(given["principals"], file), jwks, age)
    return Trusted(issuer, _file(given, "oidc: authority", file), given)


def _rules(value: Any, file: str) -> tuple[Rule, ...]:
    if not isinstance(value, list) or not value:
        raise ConfigError("oidc: principals is a list", hint="- {name: ana, claims: {sub: VALUE}}", file=file)
    return tuple(_rule(given, file) for given in value)


def _rule(given: Any, file: str) -> Rule:
    if not isinstance(given, dict) or set(given) != {"name", "claims"}:
        raise ConfigError("oidc: a principal has name and claims", hint="- {name: ana, claims: {sub: VALUE}}", file=file)
    name, claims = given["name"], given["claims"]
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ConfigError("oidc: a principal's name is that of an enrolled one", hint="`hermetic identity ls`", file=file)
    if not isinstance(claims, dict) or not claims or not all(_is_claim(*item) for item in claims.items()):
        raise ConfigError(f"oidc: claims of {name} are names, each with one value", hint="text in quotes, true, a number", file=file)
    return Rule(name, dict(claims))


def _is_claim(name: Any, value: Any) -> bool:
    return isinstance(name, str) and bool(name) and isinstance(value, str | int) and value != ""


def _file(given: Mapping[str, Any], name: str, file: str) -> Path | None:
    value = given.get("authority")
    if value is None:
        return None
    if not isinstance(value, str) or not value.isprintable() or not Path(value).is_absolute():
        raise ConfigError(f"{name} is the absolute path of a file", file=file)
    return Path(value)
