"""A backup copy opened with its recovery passphrase, before anything is written anywhere (spec/backup.md section 5, steps 1 to 3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hermetic.domain.backup import Copies
from hermetic.errors import FormatError, InvalidName, NotFound, StorageError, UsageError, WrongKey
from hermetic.ids import DomainId, check_id
from hermetic.keys import domain_file
from hermetic.keys.derived import DomainKeys
from hermetic.keys.domain_file import DomainFile
from hermetic.keys.passphrase_wrap import LIMIT as WRAP_LIMIT
from hermetic.keys.passphrase_wrap import recovery_unwrap
from hermetic.providers.local_memory import MemoryRoot
from hermetic.providers.place import Place
from hermetic.stores.local import LocalStore

if TYPE_CHECKING:
    from pathlib import Path

    from hermetic.crypto.secret import Secret
    from hermetic.domain.backup import Index
    from hermetic.keys.passphrase_wrap import WrapSubject

WRAPS = "recovery-"


@dataclass(frozen=True, slots=True)
class Recovered:
    """A copy opened with the recovery passphrase, not yet anywhere. `root` is a provider in memory; `skipped` newer indexes."""

    domain: DomainId
    file: DomainFile
    root: MemoryRoot
    keys: DomainKeys
    copies: Copies
    index: Index
    skipped: int


def find_domain(place: Path, wanted: DomainId | None = None) -> DomainId:
    """Return the domain whose copy lies in `place`. Raises NotFound, UsageError when there are several, StorageError."""
    try:
        names = sorted(entry.name for entry in place.iterdir() if entry.is_dir())
        domains = [name for name in names if _is_id(name) and (place / name / domain_file.NAME).is_file()]
    except OSError as error:
        raise StorageError(f"cannot read {place}: {error.strerror}", hint="is the disk mounted?") from error
    if wanted is not None and wanted in domains:
        return wanted
    if wanted is not None or not domains:
        raise NotFound(f"{place} holds no copy of {'this domain' if wanted else 'a domain'}", hint="is this the backup place?")
    if len(domains) > 1:
        raise UsageError(
            f"{place} holds copies of {len(domains)} domains", hint=f"run it in the project of one of {', '.join(domains)}"
        )
    return DomainId(domains[0])


def _is_id(text: str) -> bool:
    try:
        check_id(text)
    except InvalidName:
        return False
    return True


def recover(place: Path, domain: DomainId, passphrase: Secret, *, older: bool = False) -> Recovered:
    """Open the newest copy; with `older` the newest that opens, if an index was damaged.

    Raises NotFound (no recovery wrap), WrongKey, FormatError, IntegrityError, StorageError.
    """
    store = LocalStore(place / domain)
    # 1. The passphrase opens the root.
    subject, root = _root(store, domain, passphrase)
    # 2. The root opens the domain secret.
    file = DomainFile.decode(store.read_bytes(domain_file.NAME, limit=domain_file.LIMIT))
    if file.domain != domain or subject.root not in {item.root_id for item in file.roots}:
        raise FormatError("domain.json of the copy is of another domain or root", hint="the copies were mixed up or changed")
    provider = MemoryRoot("local:memory", Place(place, domain, subject.root), root)
    keys = DomainKeys.from_secret(file.open({subject.root: provider}))
    # 3. The newest index, or the newest that opens.
    copies = Copies(store, keys.backup)
    index, skipped = copies.newest(older=older)
    return Recovered(domain, file, provider, keys, copies, index, skipped)


def _root(store: LocalStore, domain: DomainId, passphrase: Secret) -> tuple[WrapSubject, Secret]:
    """Open the recovery wrap of some root: a domain may have several, under passphrases of their own."""
    wraps = [name for name, _ in store.list(WRAPS)]
    if not wraps:
        raise NotFound("this copy has no recovery wrap", hint="it opens only with the root itself: put root-*.json back instead")
    for name in wraps:
        try:
            subject, root = recovery_unwrap(store.read_bytes(name, limit=WRAP_LIMIT), passphrase)
        except WrongKey:
            if name == wraps[-1]:
                raise
            continue
        if (subject.domain, subject.holds, f"{WRAPS}{subject.root}.json") != (domain, "root", name):
            raise FormatError("the recovery wrap is of another domain or root", hint="the copies were mixed up or changed")
        return subject, root
    raise NotFound("this copy has no recovery wrap")
