"""What `status` and `map` know besides custody's facts: project files, this user's pins, the machine, a scan if asked for."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from hermetic.assets.naming import document_in_force
from hermetic.assets.session import Session
from hermetic.assets.staging import object_key
from hermetic.domain import project as projects
from hermetic.domain import unlocking
from hermetic.domain.config import CONFIG_FILE
from hermetic.domain.home import Home
from hermetic.domain.pinned import PINS_FILE
from hermetic.errors import HermeticError, StorageError, Unsupported
from hermetic.evidence.machine import swap_areas
from hermetic.evidence.surroundings import Anchoring, PlainFile, Surroundings
from hermetic.formats.messages.catalogue import ShowVersion
from hermetic.formats.messages.versions import RecogniseDigests
from hermetic.policy.model import StoreKind

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hermetic.cli.out import Out
    from hermetic.domain.connect import Connection
    from hermetic.formats.messages.catalogue import AssetRow
    from hermetic.formats.messages.domain import Facts


def never_pinned() -> bool:
    """Tell whether this user has no pins of the project's domain yet; to be asked before connecting, which makes them."""
    found = projects.load(projects.find_root(Path.cwd()))
    return not (Home.locate(os.environ).domain_config(found.domain) / PINS_FILE).exists()


class Own(NamedTuple):
    """What is this user's: until when the root is open (Unix milliseconds; None: no end, or elsewhere), and their settings."""

    until_ms: int | None
    settings: Path


def own(connection: Connection) -> Own:
    """Look at the root's session and at the settings' place."""
    until_ms = None if connection.apart else unlocking.root_state(connection.home, connection.project).until_ms
    return Own(until_ms, connection.home.domain_config(connection.project.domain) / CONFIG_FILE)


def look(connection: Connection, out: Out, scanned: Sequence[Path], facts: Facts, *, first_use: bool = False) -> Surroundings:
    """Collect the surroundings of a connection; `scanned` are folders to look for plaintext in. Raises NotFound for a missing one."""
    project = connection.project
    missing = tuple(_missing(connection, out, facts))
    others = tuple(row for row in missing if _is_anothers(connection, row))
    return Surroundings(
        root=str(project.root),
        document=document_in_force(Session(connection)),
        edited_policy=project.bundle().digest(),
        anchoring=Anchoring(pinned_size=connection.pins.size, first_use=first_use),
        swap=swap_areas(),
        plain_files=_plain_files(connection, out, scanned) if scanned else None,
        scanned=tuple(str(path) for path in scanned),
        missing=tuple(row.name for row in missing if row not in others),
        others=tuple(row.name for row in others),
        environment=connection.environment,
        apart=connection.apart,
    )


def _missing(connection: Connection, out: Out, facts: Facts) -> Iterator[AssetRow]:
    """Yield the assets whose objects are gone. A store that gives no answer is told once, and what lies there is not missing."""
    silent: set[str] = set()
    for row in facts.assets:
        if not row.version or row.store in silent:
            continue
        try:
            if not _is_there(connection, row):
                yield row
        except (StorageError, Unsupported) as error:
            silent.add(row.store)
            out.warn(f"nobody could look whether the store {row.store!r} has its objects: {error.message}")


def _is_there(connection: Connection, row: AssetRow) -> bool:
    """Whether the store has the first object of the asset's latest version. What cannot be asked here is not missing.

    So it is with stores that this machine does not know, and with plain locations, which may need credentials that nobody gave us.
    """
    store = connection.stores.get(row.store)
    return row.place is not None or store is None or store.exists(object_key(row.version, 0))


def _is_anothers(connection: Connection, row: AssetRow) -> bool:
    """Whether somebody else sealed the latest version into a folder of their own clone. Of what custody does not tell, nobody did."""
    rules = connection.project.document.stores.get(row.store)
    if not connection.apart or rules is None or rules.kind is not StoreKind.LOCAL:
        return False
    with suppress(HermeticError):
        writer = connection.ask(ShowVersion(f"{row.name}@{row.latest}", row.environment)).writer
        return writer != connection.welcome.principal
    return False


def _plain_files(connection: Connection, out: Out, scanned: Sequence[Path]) -> tuple[PlainFile, ...]:
    """Scan, and let custody recognise copies of known assets; the stores' own folders hold ciphertext and are no plaintext."""
    from hermetic.gate.scan import scan  # noqa: PLC0415 - most calls do not scan

    def recognise(digests: Sequence[bytes]) -> Sequence[str]:
        return connection.ask(RecogniseDigests(tuple(digests))).refs

    with out.progress("scanning") as advance:
        found = scan(scanned, now_ms=time.time_ns() // 1_000_000, recognise=recognise, progress=lambda _path: advance(1))
    here = Path.cwd()
    files = [PlainFile(_short(file.path, here), file.format, file.size, file.copy_of or None) for file in found.plaintext]
    return tuple(files)


def _short(path: str, here: Path) -> str:
    """Write a path relative to the working folder where it lies below."""
    absolute = Path(os.path.abspath(path))  # noqa: PTH100 - resolve() would follow links that the scan did not
    return str(absolute.relative_to(here)) if absolute.is_relative_to(here) else str(absolute)
