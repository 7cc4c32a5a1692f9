"""The state that custody works with: database, keys, providers, log, policy in force. One per process and domain."""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from hermetic.custody.handles import HandleTable
from hermetic.custody.outbox import Outbox
from hermetic.custody.pacing import Pace
from hermetic.custody.rewrap_helper import Helpers
from hermetic.custody.uses import UseBook
from hermetic.errors import Conflict, HermeticError
from hermetic.ids import DomainId, Enforcement  # noqa: TC001 - a value class's fields
from hermetic.keys import secret_keys

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from hermetic.access.tokens import TokenDesk
    from hermetic.audit.log import Log
    from hermetic.crypto.sign import Signer
    from hermetic.custody.inforce import PolicyCache
    from hermetic.db.columns import RowKeys
    from hermetic.db.engine import Database
    from hermetic.db.rows import ReadSession
    from hermetic.keys.derived import DomainKeys
    from hermetic.keys.domain_file import DomainFile
    from hermetic.keys.provider import Provider, RootId
    from hermetic.keys.roots import Anchors


@dataclass(frozen=True, slots=True)
class ManifestSigner:
    """The key that signs manifests, by id."""

    key_id: str
    key: Signer


class RootHome(Protocol):
    """Where a domain's roots are kept track of, outside of the database; composition gives custody one (`domain.root_home`).

    `put` and `remove` are called inside a unit of work only, so that one process at a time changes the home.
    """

    def file(self) -> DomainFile:
        """Read domain.json. Raises IntegrityError, StorageError."""

    def put(self, file: DomainFile) -> None:
        """Replace domain.json, durably and at once."""

    def provider(self, uri: str, root_id: RootId) -> Provider:
        """Return the provider of a root: one that is in use, or else a new one. Raises Unsupported, ConfigError, UsageError."""

    def regions(self, uri: str) -> tuple[str, ...]:
        """Return where a root lies; () where nobody said. Raises ConfigError where what was said contradicts the URI."""

    def remove(self, uri: str, root_id: RootId) -> str:
        """Wipe what this machine keeps of a root; say in a few words what became of it. Can be repeated."""


def steady_clock(wall: Callable[[], int], boot: Callable[[], int]) -> Callable[[], int]:
    """Return a clock that is set once, from `wall`, and runs by `boot` (milliseconds since boot) from then on."""
    offset = wall() - boot()
    return lambda: offset + boot()


@dataclass(slots=True)
class Custodian:
    """Everything that handlers need.

    `clock` is the wall clock (Unix milliseconds), which people set and which expiry and records go by. `steady` began as the wall
    clock and then runs by the time since boot: the longest life of a lease goes by it.
    """

    domain: DomainId
    generation: int
    database: Database
    keys: DomainKeys
    row_keys: RowKeys
    anchors: Anchors
    log: Log
    signer: ManifestSigner
    policy: PolicyCache
    clock: Callable[[], int]
    enforcement: Enforcement
    steady: Callable[[], int]
    roots: RootHome | None = None
    handles: HandleTable = field(default_factory=HandleTable)
    uses: UseBook = field(default_factory=UseBook)
    outbox: Outbox = field(default_factory=Outbox)
    helpers: Helpers = field(default_factory=Helpers)
    pace: Pace = field(default_factory=Pace)
    tokens: TokenDesk | None = None  # composition gives one where config.yaml trusts issuers
    outdated: Callable[[], str] | None = None  # composition's: what config.yaml says otherwise than when this process began
    commits: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _unscrubbed: list[bytes] = field(default_factory=list, repr=False)

    def committed(self) -> None:
        """Count a durable unit; the port looks at the count to know whether the backup is behind."""
        with self._lock:
            self.commits += 1

    def signer_in(self, session: ReadSession) -> ManifestSigner:
        """Return the key that signs manifests as a transaction sees it: another process may have changed it. Raises as `signer`."""
        active = secret_keys.active(session, secret_keys.MANIFEST_SIGNING)
        if active.key_id != self.signer.key_id:
            self.signer = ManifestSigner(active.key_id, secret_keys.signer(session, self.anchors, active.key_id))
        return self.signer

    def is_scrubbed(self) -> bool:
        """Whether everything that `scrub` was given is gone from the files."""
        return not self._unscrubbed

    def scrub(self, gone: Iterable[bytes]) -> None:
        """Make sure that destroyed wraps are nowhere in the database's files; what a reader holds up is tried again at the next call.

        The rows are overwritten already, so nothing here opens anything any more; this is about copies of the files.
        """
        self._unscrubbed.extend(gone)
        if self._unscrubbed:
            with contextlib.suppress(Conflict):
                self.database.scrub(self._unscrubbed)
                self._unscrubbed.clear()

    def close(self) -> None:
        """Wipe keys that nobody collected and let go of the database."""
        self.handles.wipe()
        self.helpers.close()
        with contextlib.suppress(HermeticError):  # what is left waits in free pages, overwritten by later commits
            self.scrub(())
        self.database.close()
