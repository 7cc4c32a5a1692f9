"""Where a service sends its metrics: `telemetry:` of the custody host's own config.yaml (docs/how-to/watch-the-service.md).

    telemetry:
      otlp: https://HOST:4318/v1/metrics      OTLP over HTTP; http:// to a numeric loopback address only
      headers: /etc/hermetic/otlp.headers     lines of `name: value`, such as an access token, in a private file
      every: 60                               seconds

Without it nothing is sent anywhere.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from hermetic.errors import ConfigError
from hermetic.providers import private_file

if TYPE_CHECKING:
    from collections.abc import Mapping

EVERY_S: Final = 60
LIMIT: Final = 16_384
_HEADER: Final = re.compile(r"[A-Za-z0-9-]{1,64}")
_PLAIN: Final = re.compile(r"[\x21-\x7e]{1,1000}")


@dataclass(frozen=True, slots=True)
class Telemetry:
    """An OTLP endpoint. `given` are the settings as they stand in the file."""

    endpoint: str
    headers: Path | None
    every_s: int
    given: Mapping[str, Any]


def read(value: Any, file: str) -> Telemetry | None:
    """Return what `telemetry:` says, None when it is not there. Raises ConfigError."""
    if value is None:
        return None
    if not isinstance(value, dict) or not set(value) <= {"otlp", "headers", "every"} or "otlp" not in value:
        raise ConfigError("telemetry takes otlp, headers, every", hint="telemetry: {otlp: https://HOST:4318/v1/metrics}", file=file)
    headers, every = value.get("headers"), value.get("every", EVERY_S)
    if headers is not None and (not isinstance(headers, str) or not headers.isprintable() or not Path(headers).is_absolute()):
        raise ConfigError("telemetry.headers is the absolute path of a private file", file=file)
    if isinstance(every, bool) or not isinstance(every, int) or not 5 <= every <= 86_400:
        raise ConfigError("telemetry.every is a number of seconds, from 5 to 86400", file=file)
    return Telemetry(_endpoint(value["otlp"], file), None if headers is None else Path(headers), every, value)


def _endpoint(url: Any, file: str) -> str:
    wrong = ConfigError("telemetry.otlp is an https:// URL", hint="http:// goes to a numeric loopback address only", file=file)
    if not isinstance(url, str) or not _PLAIN.fullmatch(url):
        raise wrong
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - raises for what is no number
    except ValueError:
        raise wrong from None
    if not parts.hostname or "@" in parts.netloc or parts.fragment or parts.query:
        raise wrong
    if parts.scheme == "https" or (parts.scheme == "http" and _loopback(parts.hostname)):
        return url
    raise wrong


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def headers_of(settings: Telemetry) -> dict[str, str]:
    """Return what the private file of headers says. Raises NotFound, IntegrityError, ConfigError, StorageError."""
    if settings.headers is None:
        return {}
    lines = private_file.read(settings.headers, LIMIT).decode("utf-8", "replace").splitlines()
    found = {}
    for line in filter(None, map(str.strip, lines)):
        name, colon, value = line.partition(":")
        if not colon or not _HEADER.fullmatch(name) or not value.strip().isprintable() or not value.isascii():
            raise ConfigError("a line is no `name: value`", file=str(settings.headers))
        found[name] = value.strip()
    return found
