"""Setting, or changing, the recovery passphrase of a domain that is in use: the root's wrap in the backup place is written anew.

The passphrase never goes through the port, and custody never learns it; that it was set is on record before it counts. The old wrap is
replaced, so the old passphrase opens the place no more. Copies of the old wrap that somebody kept still open with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermetic.domain.backing import put_recovery
from hermetic.errors import Locked, Unsupported, UsageError
from hermetic.formats.messages.domain import RecordRecovery
from hermetic.formats.messages.roots import ListRoots
from hermetic.ids import KeyState
from hermetic.providers.unlock import export_root, leaves_machine, unlock_here
from hermetic.steps import reached
from hermetic.stores.local import LocalStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from hermetic.crypto.secret import Secret
    from hermetic.domain.connect import Connection
    from hermetic.keys.provider import Provider


def set_recovery(connection: Connection, passphrase: Secret, *, ask: Callable[..., Secret] | None = None) -> str:
    """Wrap the root under `passphrase` into the backup place; returns the root's id. `ask` unlocks a locked root.

    Raises UsageError without a backup place, PolicyDenied, Locked, Unsupported (the root cannot leave its provider), StorageError.
    """
    place, domain = connection.config.backup_place, connection.project.domain
    if place is None:
        raise UsageError("this domain has no backup place", hint="name one in config.yaml: `backup: {place: DIR}`")
    provider = _exportable(connection)
    try:
        wrap = export_root(provider, passphrase)
    except Locked:
        if ask is None:
            raise
        unlock_here(provider, ask)
        wrap = export_root(provider, passphrase)
    connection.ask(RecordRecovery(provider.root_id))
    put_recovery(LocalStore(place / domain), provider.root_id, wrap)
    reached("backup.recovery.written")
    return provider.root_id


def _exportable(connection: Connection) -> Provider:
    """Return an active root that this machine keeps itself. Raises Unsupported when every one is in a device or a service."""
    active = {row.root for row in connection.ask(ListRoots()).roots if row.state == KeyState.ACTIVE}
    here = [provider for root_id, provider in connection.roots.current().items() if root_id in active]
    for provider in here:
        if leaves_machine(provider):
            return provider
    if not here:
        raise Unsupported("no active root is at hand", hint="`hermetic key providers` says why")
    raise Unsupported(f"the root of {here[0].uri} cannot leave its provider", hint="add a recovery root instead")
