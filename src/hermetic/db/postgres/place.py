"""Where a PostgreSQL server is: postgresql://[user@]host[:port]/database?…, never with a password in it.

    postgresql://custody@db.example.org/hermetic?sslrootcert=/etc/ssl/db-ca.pem     TLS with the host's name checked (verify-full)
    postgresql:///hermetic?host=/run/postgresql                                     a Unix socket
    postgresql://custody@db1.example.org,db2.example.org:5433/hermetic              whichever of them takes writes, primary or standby

Passwords are libpq's business: ~/.pgpass or PGPASSFILE, or a client certificate. Everything else that says where to connect and whom
to trust stands in the URL: what libpq would take from the environment besides is overridden, or refused by name.
"""

from __future__ import annotations

import ipaddress
import os
import pwd
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlencode, urlsplit

from hermetic.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

SCHEME: Final = "postgresql"
PORT: Final = 5432
VERIFIED: Final = "verify-full"
NO_PASSWORD: Final = "put it into ~/.pgpass or the file that PGPASSFILE names (mode 0600), or use a client certificate"  # noqa: S105 - a hint
_FILES: Final = frozenset({"sslrootcert", "sslcert", "sslkey", "sslcrl", "passfile"})
_ALLOWED: Final = _FILES | {"host", "port", "user", "sslmode", "connect_timeout"}
_MODES: Final = frozenset({"disable", "allow", "prefer", "require", "verify-ca", VERIFIED})
_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.$-]{0,62}")
_HOST: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,252})")
_ELSEWHERE: Final = {  # would lead elsewhere, or change whom we trust, and cannot be overridden by a parameter
    "PGHOSTADDR": "name the host in the URL",
    "PGSERVICE": "name host and database in the URL",
    "PGPASSWORD": NO_PASSWORD,
    "PGSSLROOTCERT": "sslrootcert=FILE in the URL",
    "PGSSLCRL": "sslcrl=FILE in the URL",
    "PGSSLCRLDIR": "sslcrl=FILE in the URL",
}


@dataclass(frozen=True, slots=True)
class PostgresPlace:
    """One database on one server. `host` is a name, an address, or the folder of a Unix socket; `others` are its standbys."""

    host: str
    port: int
    name: str
    user: str | None = None
    settings: tuple[tuple[str, str], ...] = ()
    others: tuple[tuple[str, int], ...] = ()

    @classmethod
    def parse(cls, url: str) -> PostgresPlace:
        """Read a URL. Raises UsageError; the message never repeats what may be a password."""
        parts, others = _first_host(_split(url))
        given = _settings(parts.query)
        host = given.pop("host", "") or parts.hostname or ""
        place = cls(
            host=_checked_host(host, both=bool(parts.hostname) and host != parts.hostname),
            port=_port(parts, given.pop("port", "")),
            name=_checked(unquote(parts.path.removeprefix("/")), "a database: postgresql://HOST/DATABASE"),
            user=_user(parts, given.pop("user", "")),
            settings=tuple(sorted(given.items())),
            others=others,
        )
        if others and (place.host.startswith("/") or len({place.hosts[0], *others}) <= len(others)):
            raise UsageError("several hosts of a database are names or addresses, each once")
        place.check_tls()
        return place

    @property
    def hosts(self) -> tuple[tuple[str, int], ...]:
        """Every host and its port, in the order in which they are tried."""
        return ((self.host, self.port), *self.others)

    @property
    def local(self) -> bool:
        """Whether the way to the server never leaves this machine."""
        return all(_is_local(host) for host, _ in self.hosts)

    def check_tls(self) -> None:
        """Refuse a way to another machine that others could read or answer on. Raises UsageError."""
        mode = dict(self.settings).get("sslmode")
        if mode is not None and mode not in _MODES:
            raise UsageError(f"sslmode is one of {', '.join(sorted(_MODES))}")
        if not self.local and mode not in {None, VERIFIED}:
            raise UsageError(
                f"the way to {self.host} needs TLS with the server's name checked, not sslmode={mode}",
                hint=f"leave sslmode out, which means {VERIFIED}, and give sslrootcert=FILE if the authority is your own",
            )

    def __str__(self) -> str:
        """Return the URL."""
        user = f"{quote(self.user, safe='')}@" if self.user else ""
        folder = self.host.startswith("/")
        where = "" if folder else ",".join(_written(*each) for each in self.hosts)
        query = [*self.settings, *((("host", self.host),) if folder else ())]
        if folder and self.port != PORT:
            query.append(("port", str(self.port)))
        return f"{SCHEME}://{user}{where}/{quote(self.name, safe='')}" + (f"?{urlencode(sorted(query), safe='/')}" if query else "")

    def conninfo(self) -> str:
        """Return what libpq is told: all that decides where it goes, so that it takes nothing else from its environment."""
        given: dict[str, str | int] = {
            "host": ",".join(host for host, _ in self.hosts),
            "port": ",".join(str(port) for _, port in self.hosts),
            "dbname": self.name,
            "user": self.user or pwd.getpwuid(os.geteuid()).pw_name,
            "sslmode": "prefer" if self.local else VERIFIED,
            "ssl_min_protocol_version": "TLSv1.2",
            "gssencmode": "disable",
            "channel_binding": "prefer",
            "target_session_attrs": "read-write",  # never a standby
            "client_encoding": "UTF8",
            "application_name": "hermetic",
            "options": " ",  # nothing: libpq would take PGOPTIONS
            "connect_timeout": 10,
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 4,
            "tcp_user_timeout": 30_000,
        }
        return " ".join(f"{name}={_quoted(str(value))}" for name, value in {**given, **dict(self.settings)}.items())


def _is_local(host: str) -> bool:
    if host.startswith("/") or host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _written(host: str, port: int) -> str:
    return (f"[{host}]" if ":" in host else host) + (f":{port}" if port != PORT else "")


def _quoted(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def check_environment(environment: Mapping[str, str]) -> None:
    """Refuse variables of libpq that would silently lead elsewhere. Raises ConfigError."""
    for name, instead in _ELSEWHERE.items():
        if environment.get(name):
            raise ConfigError(f"{name} is set, and would change where the database is", hint=f"unset it; {instead}")


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        password = parts.password is not None
    except ValueError:
        raise UsageError("the place of a database is postgresql://HOST/DATABASE") from None
    if parts.scheme != SCHEME or parts.fragment or any(character.isspace() or not character.isprintable() for character in url):
        raise UsageError("the place of a database is postgresql://HOST/DATABASE, or postgresql:///DATABASE?host=/FOLDER")
    if password:
        raise UsageError("the place of a database never holds a password", hint=NO_PASSWORD)
    return parts


def _first_host(parts: SplitResult) -> tuple[SplitResult, tuple[tuple[str, int], ...]]:
    """Return the URL with its first host only, and the others. Raises UsageError."""
    user, at, where = parts.netloc.rpartition("@")
    first, *others = where.split(",")
    try:
        split = [urlsplit(f"//{each}") for each in others]
    except ValueError:
        raise UsageError("the place of a database is postgresql://HOST[:PORT],HOST[:PORT]/DATABASE") from None
    found = tuple((_checked_host(one.hostname or "", both=False), _port(one, "")) for one in split)
    return parts._replace(netloc=f"{user}{at}{first}"), found


def _settings(query: str) -> dict[str, str]:
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
    except ValueError:
        raise UsageError("what follows ? in the place of a database is NAME=VALUE&NAME=VALUE") from None
    given = dict(pairs)
    if "password" in given or "sslpassword" in given:
        raise UsageError("the place of a database never holds a password", hint=NO_PASSWORD)
    unknown = sorted(set(given) - _ALLOWED)
    if unknown or len(given) != len(pairs):
        raise UsageError(
            f"the place of a database has {unknown[0] if unknown else 'a setting twice'}",
            hint=f"each once, of {', '.join(sorted(_ALLOWED))}",
        )
    for name in _FILES & set(given):
        if not given[name].startswith("/") and (name, given[name]) != ("sslrootcert", "system"):
            raise UsageError(f"{name} is an absolute path")
    if not given.get("connect_timeout", "10").isdecimal():
        raise UsageError("connect_timeout is a number of seconds")
    return given


def _checked_host(host: str, *, both: bool) -> str:
    if both:
        raise UsageError("the place of a database names one host")
    if host.startswith("/"):
        return host
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        pass
    if not _HOST.fullmatch(host):
        raise UsageError(
            "the place of a database names one host",
            hint="postgresql://HOST/DATABASE, or postgresql:///DATABASE?host=/run/postgresql for a Unix socket",
        )
    return host


def _port(parts: SplitResult, given: str) -> int:
    try:
        port = int(given) if given else parts.port or PORT
    except ValueError:
        port = 0
    if not 0 < port < 65_536 or (given and parts.port):
        raise UsageError("the port of a database is a number up to 65535")
    return port


def _user(parts: SplitResult, given: str) -> str | None:
    user = given or unquote(parts.username or "")
    return _checked(user, "a user of the database") if user else None


def _checked(name: str, what: str) -> str:
    if not _NAME.fullmatch(name):
        raise UsageError(f"the place of a database names {what}")
    return name
