"""What every verb of the workspace needs: the connection, and which purpose and run a call belongs to.

Purpose: argument, else the current run, else `connect(purpose=)`, else HERMETIC_PURPOSE, else None, which leaves it to custody: the
class's default for opening, `ingest` for sealing.
"""

from __future__ import annotations

import os
import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from hermetic.assets.current import current_run
from hermetic.domain.config import CONFIG_FILE
from hermetic.domain.listing import list_assets
from hermetic.domain.verify import verify_released
from hermetic.errors import NotFound, UsageError
from hermetic.ids import AssetName, DataClass, Environment, Purpose, RunId, check_id, id_from_bytes
from hermetic.stores.local import LocalStore

if TYPE_CHECKING:
    import enum
    from pathlib import Path

    from hermetic.domain.connect import Connection
    from hermetic.formats.manifest import Manifest
    from hermetic.formats.messages.base import Request
    from hermetic.formats.messages.catalogue import AssetRow
    from hermetic.formats.messages.versions import Released
    from hermetic.stores.base import Store

Answer = TypeVar("Answer")
Word = TypeVar("Word", bound="enum.StrEnum")
VARIABLE = "HERMETIC_PURPOSE"


@dataclass(frozen=True, slots=True)
class Session:
    """A connection to a domain, and the purpose its owner declared for it."""

    connection: Connection
    purpose: Purpose | None = None

    @property
    def domain(self) -> str:
        """The domain's id."""
        return self.connection.welcome.domain

    def ask(self, request: Request[Answer]) -> Answer:
        """Send a request to custody."""
        return self.connection.ask(request)

    def listed(self, pattern: str | None = None) -> tuple[AssetRow, ...]:
        """Return the assets that names mean here, whose names match: those of the environment that is worked in, one for a name."""
        works = self.connection.environment
        rows = list_assets(self.ask, pattern, works)
        if works is not None or len({row.environment for row in rows}) < 2:
            return rows
        from hermetic.assets.naming import placed  # noqa: PLC0415 - names need sessions

        return tuple(row for row in rows if row.environment is placed(self, AssetName.parse(row.name)))

    def run_for(self, run: str | None) -> str | None:
        """Return the run that a call belongs to: the one given, else the current one."""
        return RunId(check_id(run)) if run is not None else current_run(self.domain)

    def purpose_for(self, purpose: Purpose | str | None, run: str | None) -> Purpose | None:
        """Return what to declare; None inside a run, whose purpose custody knows."""
        if purpose is not None:
            return word(Purpose, purpose)
        if run is not None:
            return None
        if self.purpose is not None:
            return self.purpose
        text = os.environ.get(VARIABLE)
        return word(Purpose, text) if text else None

    def verified(self, released: Released) -> Manifest:
        """Return the manifest of a released version once signature, openings, ids and number hold. Raises IntegrityError's tree."""
        return verify_released(released, self.connection.pins)

    def store(self, name: str) -> Store:
        """Return a store by name. Raises NotFound."""
        try:
            return self.connection.stores[name]
        except KeyError:
            settings = self.connection.home.domain_config(self.connection.project.domain) / CONFIG_FILE
            raise NotFound(
                f"this machine does not know the store {name!r}",
                hint=f"say where it lies, in {settings} (mode 0600): `stores: {{{name}: {{folder: /PATH}}}}`",
            ) from None

    def closed_folders(self) -> tuple[Path, ...]:
        """Return the folders whose content is never sealed nor written over: local stores, custody's home."""
        stores = tuple(store.root for store in self.connection.stores.values() if isinstance(store, LocalStore))
        return (*stores, self.connection.home.data, self.connection.home.config)


def word(words: type[Word], text: str) -> Word:
    """Return `text` as one of `words`. Raises UsageError that lists them."""
    try:
        return words(text)
    except ValueError:
        named = {Purpose: "purpose", DataClass: "data class", Environment: "environment"}.get(words, words.__name__.lower())
        raise UsageError(f"{text!r} is not a {named}", hint="write one of: " + ", ".join(words)) from None


def fresh_id() -> str:
    """Return 128 random bits as an id."""
    return id_from_bytes(secrets.token_bytes(16))


def now_ms() -> int:
    """Return Unix time in milliseconds."""
    return time.time_ns() // 1_000_000
