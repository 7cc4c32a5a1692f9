"""Where the root of a restored domain is kept from then on (spec/backup.md section 5, step 5)."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from hermetic.catalog.values import fresh_id
from hermetic.crypto.secret import Secret
from hermetic.errors import Conflict, Unsupported, UsageError
from hermetic.keys import roots
from hermetic.keys.provider import RootId
from hermetic.providers import recovery, registry, unlock
from hermetic.providers.local_memory import MemoryRoot
from hermetic.providers.local_root import ROOT, LocalRoot
from hermetic.providers.place import Asked, Place
from hermetic.steps import reached

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from hermetic.db.engine import Database
    from hermetic.domain.recovering import Recovered
    from hermetic.keys.provider import Provider

UNLOCK_S = 8 * 3600
DEFAULT_ROOT = "local:passphrase"


def kept_before(database: Database, recovered: Recovered) -> str:
    """Return the kind of the root that opened the copy, as its row says: nothing authenticates what domain.json says there."""
    with database.read(recovered.keys.row_keys()) as session:
        uri = roots.get(session, recovered.root.root_id).provider_uri
    return uri if uri.startswith("local:") else DEFAULT_ROOT


def keep_root(recovered: Recovered, folder: Path, uri: str, ask: Callable[..., Secret] | None, *, goes_on: bool) -> Provider:
    """Have a provider of this home keep a root; return it, open for this process.

    The root that came with the passphrase stays the same if it goes on; one that an interrupted restore left there is taken if it is
    that one. A recovery root cannot be kept, and one that was retired or is compromised must not be: there is a new root instead.
    """
    if uri == DEFAULT_ROOT and ask is None:
        raise UsageError(
            f"the root is kept under a passphrase of its own ({uri}), and nobody can be asked for one",
            hint="use a terminal or --passphrase-file FILE; --root URI keeps the root in another way",
        )
    for entry, file in recovered.public.items():
        recovery.put(folder, entry.root_id, file)
    if goes_on and isinstance(recovered.root, LocalRoot):
        brought, root_id = recovered.root.load_root(), recovered.root.root_id
    else:
        brought, root_id = Secret.random(ROOT), RootId(fresh_id())
    place = Place(folder, recovered.domain, root_id)
    asked = Asked(ask=ask, root=brought if uri.startswith("local:") else None)
    try:
        provider = registry.create_root(uri, place, asked)
    except Conflict:
        provider = registry.open_provider(uri, place)
        recovered.file.open({provider.root_id: provider})
    reached("restore.root.created")
    if uri == DEFAULT_ROOT and ask is not None:
        with contextlib.suppress(Unsupported):  # no kernel keyring here: commands ask for the passphrase
            unlock.unlock(provider, ask, UNLOCK_S)
    return MemoryRoot(uri, place, brought) if uri.startswith("local:") else provider
