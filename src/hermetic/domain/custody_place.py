"""Where custody is, when it is not in this process: what HERMETIC_URL says, and the way there.

unix:/run/hermetic/custody.sock      another user of this machine
https://custody.example:8443         another machine, by a name or an address that its certificate names
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from hermetic.errors import HermeticError, NotFound, UsageError
from hermetic.keys import domain_file

if TYPE_CHECKING:
    from hermetic.domain.port import Port
    from hermetic.ids import DomainId

URL: Final = "HERMETIC_URL"
PORT: Final = 8443
_HTTPS_HINT: Final = f"{URL}=https://HOST:PORT"


@dataclass(frozen=True, slots=True)
class ServicePlace:
    """Where the service is."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"https://{host}:{self.port}"


def place_of(url: str) -> Path | ServicePlace | None:
    """Return where HERMETIC_URL says custody is, None where custody is this process. Raises UsageError."""
    if not url:
        return None
    scheme, _, rest = url.partition(":")  # never shown: who mistypes may have put anything there
    if scheme == "https":
        return _service(url)
    if scheme != "unix":
        raise UsageError(f"{URL} is neither unix:PATH nor https://HOST:PORT", hint=f"correct {URL}, or unset it")
    path = Path(rest)
    if not path.is_absolute():
        raise UsageError(f"{URL} names no absolute path", hint=f"{URL}=unix:/run/hermetic/custody.sock")
    return path


def _service(url: str) -> ServicePlace:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise UsageError(f"{URL} is no address: {error}", hint=_HTTPS_HINT) from None
    if not host or parts.username is not None or parts.path not in {"", "/"} or parts.query or parts.fragment:
        raise UsageError(f"{URL} names host and port, and nothing else", hint=_HTTPS_HINT)
    return ServicePlace(host, PORT if port is None else port)


def check_here(data: Path, domain: DomainId, settings: Path) -> None:
    """Raise NotFound for who has a certificate for custody elsewhere, and none here: HERMETIC_URL was forgotten."""
    from hermetic.domain import identity_files  # noqa: PLC0415 - see dial

    shown = settings / identity_files.FOLDER / identity_files.CURRENT
    if os.path.lexists(shown) and not os.path.lexists(data / domain_file.NAME):
        raise NotFound(
            f"{URL} is not set, and this user has no custody of domain {domain}, but a certificate to show to custody elsewhere",
            hint=f"export {URL}=https://HOST:PORT, the address that whoever runs custody gave you",
        )


def dial(place: Path | ServicePlace, domain: DomainId, settings: Path) -> Port:
    """Return the port to custody at `place`; `settings` is this user's folder for the domain.

    Raises NotFound for a service where there is no certificate to show.
    """
    if isinstance(place, ServicePlace):
        from hermetic.domain import identity_files  # noqa: PLC0415 - who has custody here needs none of it
        from hermetic.domain.https_port import HttpsPort  # noqa: PLC0415

        folder = settings / identity_files.FOLDER
        paths = identity_files.ClientIdentity.load(folder)
        with suppress(HermeticError):  # a folder mounted read-only, say: the certificate in it is as good
            identity_files.sweep(folder)
        return HttpsPort(place, domain, paths, folder=folder)
    from hermetic.domain.unix_port import UnixPort  # noqa: PLC0415

    return UnixPort(place, domain)
