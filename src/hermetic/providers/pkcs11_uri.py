"""`pkcs11:token=LABEL;object=LABEL`, with `serial=` where two tokens share a label: path attributes of RFC 7512.

>>> parse("pkcs11:token=team%20hsm;object=hermetic")
Pkcs11Uri(token='team hsm', label='hermetic', serial=None)

Values are percent-encoded UTF-8. Attributes that name the same thing otherwise (`id`, `slot-id`, `model`) are refused, so that a URI
has one meaning; what a query part could carry, such as `pin-value`, is refused before this (`domain_file.check_uri`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote_to_bytes

from hermetic.errors import UsageError

_LIMITS: Final = {"token": 32, "object": 64, "serial": 16}  # bytes; PKCS#11 fixes those of token and serial
_HINT: Final = "write pkcs11:token=LABEL;object=LABEL, other signs than letters and digits as %XX"
_BAD_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")


@dataclass(frozen=True, slots=True)
class Pkcs11Uri:
    """A token by its label (and serial number), and an object in it by its label."""

    token: str
    label: str
    serial: str | None = None


def parse(uri: str) -> Pkcs11Uri:
    """Read a URI. Raises UsageError that says what is wrong."""
    found: dict[str, str] = {}
    for part in uri.partition(":")[2].split(";"):
        name, equals, value = part.partition("=")
        if name not in _LIMITS or not equals:
            raise UsageError(f"{uri[:200]}: {name[:40]!r} is no attribute that is known here", hint=_HINT)
        if name in found:
            raise UsageError(f"{uri[:200]}: {name} stands there twice", hint=_HINT)
        found[name] = _decoded(uri, name, value)
    for name in ("token", "object"):
        if name not in found:
            raise UsageError(f"{uri[:200]}: {name} is missing", hint=_HINT)
    return Pkcs11Uri(found["token"], found["object"], found.get("serial"))


def _decoded(uri: str, name: str, value: str) -> str:
    raw = unquote_to_bytes(value)
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        text = ""
    if _BAD_ESCAPE.search(value) or not text or not text.isprintable() or text != text.strip() or len(raw) > _LIMITS[name]:
        raise UsageError(f"{uri[:200]}: {name} is 1 to {_LIMITS[name]} bytes of printable UTF-8 without spaces around", hint=_HINT)
    return text
