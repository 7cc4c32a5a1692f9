"""Where notifications go: `notify:` of the custody host's own config.yaml (docs/how-to/notifications.md).

    notify:
      chat:
        webhook: https://HOST/PATH            POST, signed with the key in `key` (whsec_ and base64), which the receiver knows
        key: /etc/hermetic/chat.key
      mail:
        smtp: mail.example.org:587
        tls: starttls                         or `tls`; `none` to a numeric loopback address only
        from: hermetic@example.org
        to: [security@example.org]
        user: hermetic                        with `password:`, a private file
      each: events: [approval.asked]   only these;  names: true   with names of people;  authority: FILE   instead of the system's

Secrets stand in private files of their own. Pure: files are read when something is delivered.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from hermetic.custody.outbox import EVENTS, Wants
from hermetic.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

LIMIT: Final = 16  # targets
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
_ADDRESS: Final = re.compile(r"[^@\s<>,;:\"\\\x00-\x1f\x7f]{1,64}@[A-Za-z0-9.-]{1,255}")
_PLAIN: Final = re.compile(r"[\x21-\x7e]{1,1000}")
_COMMON: Final = {"events", "names", "authority"}
_WEBHOOK: Final = _COMMON | {"webhook", "key"}
_MAIL: Final = _COMMON | {"smtp", "tls", "from", "to", "user", "password"}


@dataclass(frozen=True, slots=True)
class Webhook:
    """A URL that is posted to. `given` are the settings as they stand in the file."""

    wants: Wants
    host: str
    port: int
    path: str
    key: Path
    authority: Path | None
    given: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail server. `tls` is starttls, tls or none."""

    wants: Wants
    host: str
    port: int
    tls: str
    sender: str
    to: tuple[str, ...]
    user: str | None
    password: Path | None
    authority: Path | None
    given: Mapping[str, Any]


Target = Webhook | Mail


def read(value: Any, file: str) -> dict[str, Target]:
    """Return the targets by name. Raises ConfigError."""
    if not isinstance(value, dict) or len(value) > LIMIT:
        raise ConfigError(f"notify maps up to {LIMIT} names to targets", file=file)
    return {name: _target(name, given, file) for name, given in value.items()}


def _target(name: Any, given: Any, file: str) -> Target:
    def wrong(what: str, hint: str | None = None) -> ConfigError:
        return ConfigError(f"notify.{name}{what}", hint=hint, file=file)

    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ConfigError("targets of notify are named in small letters, digits and dashes", file=file)
    if not isinstance(given, dict) or ("webhook" in given) == ("smtp" in given):
        raise wrong(" has either `webhook:` or `smtp:`")
    known = _WEBHOOK if "webhook" in given else _MAIL
    if not set(given) <= known:
        raise wrong(f" takes {', '.join(sorted(known))}")
    wants = _wants(name, given, wrong)
    authority = _file(given, "authority", wrong)
    return _webhook(wants, given, authority, wrong) if "webhook" in given else _mail(wants, given, authority, wrong)


def _wants(name: str, given: dict[str, Any], wrong: Any) -> Wants:
    events, names = given.get("events", sorted(EVENTS)), given.get("names", False)
    if not isinstance(events, list) or not events or not all(isinstance(event, str) and event in EVENTS for event in events):
        raise wrong(".events is a list", f"of {', '.join(sorted(EVENTS))}")
    if not isinstance(names, bool):
        raise wrong(".names is true or false")
    return Wants(name, frozenset(events), names)


def _webhook(wants: Wants, given: dict[str, Any], authority: Path | None, wrong: Any) -> Webhook:
    host, port, path = _https(given["webhook"], wrong)
    key = _file(given, "key", wrong)
    if key is None:
        raise wrong(" needs `key:`, the file with the key that the receiver knows", "`whsec_` and base64 of 24 to 64 random bytes")
    return Webhook(wants, host, port, path, key, authority, given)


def _https(url: Any, wrong: Any) -> tuple[str, int, str]:
    hint = "https://HOST/PATH, without user, password or fragment"
    if not isinstance(url, str) or not _PLAIN.fullmatch(url):
        raise wrong(".webhook is a URL", hint)
    try:
        parts = urlsplit(url)
        port = parts.port or 443
    except ValueError:
        raise wrong(".webhook is a URL", hint) from None
    if parts.scheme != "https" or not parts.hostname or "@" in parts.netloc or parts.fragment:
        raise wrong(".webhook is a URL", hint)
    return parts.hostname, port, (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def _mail(wants: Wants, given: dict[str, Any], authority: Path | None, wrong: Any) -> Mail:
    host, port = _server(given["smtp"], wrong)
    tls = given.get("tls", "starttls")
    if tls not in {"starttls", "tls", "none"}:
        raise wrong(".tls is starttls, tls or none")
    user, password = given.get("user"), _file(given, "password", wrong)
    if (user is None) != (password is None) or not (user is None or (isinstance(user, str) and _PLAIN.fullmatch(user))):
        raise wrong(" has `user:` and `password:` (a private file), or neither")
    if tls == "none" and (not _loopback(host) or user is not None):
        raise wrong(".tls none is for a numeric loopback address, without a password", "tls: starttls")
    sender, to = given.get("from"), given.get("to")
    if not isinstance(to, list) or not to or not all(isinstance(one, str) and _ADDRESS.fullmatch(one) for one in [sender, *to]):
        raise wrong(" needs `from:` and `to: [NAME@HOST]`")
    return Mail(wants, host, port, tls, str(sender), tuple(to), user, password, authority, given)


def _server(value: Any, wrong: Any) -> tuple[str, int]:
    host, _, port = str(value).rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9.:-]{1,255}", host) or not re.fullmatch(r"[0-9]{1,5}", port):
        raise wrong(".smtp is HOST:PORT")
    return host, int(port)


def _file(given: dict[str, Any], name: str, wrong: Any) -> Path | None:
    value = given.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or "\0" in value or not value.isprintable() or not Path(value).is_absolute():
        raise wrong(f".{name} is the absolute path of a file")
    return Path(value)


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
