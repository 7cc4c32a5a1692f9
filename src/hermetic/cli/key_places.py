"""Keys that live in a provider alone: how commands about recovery name what will not come back."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from hermetic.cli.words import count
from hermetic.domain.listing import every
from hermetic.errors import Denied
from hermetic.formats.messages.keys import ListKeys
from hermetic.ids import KeyState

if TYPE_CHECKING:
    from hermetic.cli.out import Out
    from hermetic.domain.connect import Connection
    from hermetic.formats.messages.keys import KeyRow

ALONE = "keys-live-here-alone"  # what custody remarks about a root
_SHOWN = 5  # assets in a warning


def homes(row: KeyRow) -> dict[str, int]:
    """Return the roots that versions of a key live in alone, and how many data keys open there."""
    found: dict[str, int] = {}
    for version in row.versions:
        if version.home and version.state != KeyState.DESTROYED:
            found[version.home] = found.get(version.home, 0) + version.data_keys
    return found


def warn(out: Out, connection: Connection, *, of: str = "") -> None:
    """Name what opens through one provider alone, `of` one URI or any. Whoever may not list keys is told nothing."""
    with contextlib.suppress(Denied):
        for row in every(connection.ask, ListKeys(), "keys"):
            for home, keys in homes(row).items():
                if keys and of in {"", home}:
                    names = ", ".join(row.assets[:_SHOWN]) + (", …" if len(row.assets) > _SHOWN else "")
                    opens = f"{count(keys, 'data key')} of {names} open through {home} alone"
                    out.warn(f"{opens}: no share, escrow or backup brings them back")
