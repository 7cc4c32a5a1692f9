"""A backup copy opened before anything is written anywhere (spec/backup.md section 5, steps 1 to 3).

Two kinds of key open a copy, and after them everything is one way: the recovery passphrase, which opens the wrap of a local root that
lies beside the copy; and the private key of a recovery root, from shares or escrow, to which the domain secret in domain.json is
sealed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from hermetic.crypto.hpke import PrivateKey
from hermetic.crypto.secret import Secret
from hermetic.domain import vouching
from hermetic.domain.backup import Copies
from hermetic.domain.vouching import Vouching
from hermetic.errors import FormatError, InvalidName, NotFound, StorageError, UsageError, WrongKey
from hermetic.ids import DomainId, check_id
from hermetic.keys import domain_file
from hermetic.keys.derived import DomainKeys
from hermetic.keys.domain_file import DomainFile
from hermetic.keys.passphrase_wrap import LIMIT as WRAP_LIMIT
from hermetic.keys.passphrase_wrap import recovery_unwrap
from hermetic.keys.recovery_root import LIMIT as ROOT_LIMIT
from hermetic.keys.recovery_root import holder_of
from hermetic.providers import recovery
from hermetic.providers.local_memory import MemoryRoot
from hermetic.providers.place import Place
from hermetic.stores.local import LocalStore

if TYPE_CHECKING:
    from pathlib import Path

    from hermetic.domain.backup import Index
    from hermetic.keys.domain_file import DomainRoot
    from hermetic.keys.passphrase_wrap import WrapSubject
    from hermetic.keys.provider import Provider
    from hermetic.keys.recovery_root import RecoveryRootFile

CopyKey: TypeAlias = Secret | PrivateKey
"""A recovery passphrase, or the private key of a recovery root."""

WRAPS = "recovery-"
TYPED = "passphrase"


@dataclass(frozen=True, slots=True)
class Recovered:
    """An opened copy, not yet anywhere. `root` is a provider in memory, opened by `how` (passphrase, shares, escrow); `skipped` newer
    indexes; `public` the recovery roots whose public halves lie in the copy: new keys can go on to be wrapped under them;
    `vouched` who says that it is of this domain (`vouching`)."""

    domain: DomainId
    file: DomainFile
    root: Provider
    how: str
    keys: DomainKeys
    copies: Copies
    index: Index
    skipped: int
    public: dict[DomainRoot, RecoveryRootFile]
    vouched: str


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


def recover(place: Path, domain: DomainId, key: CopyKey, *, older: bool = False, known: Vouching | None = None) -> Recovered:
    """Open the newest copy; with `older` the newest that opens, if an index was damaged. `known` is what is known of the domain.

    Raises NotFound (nothing there that such a key opens), WrongKey, FormatError, IntegrityError (damaged, of another domain, or
    nothing vouches that it is of this one), StorageError.
    """
    store = LocalStore(place / domain)
    file = DomainFile.decode(store.read_bytes(domain_file.NAME, limit=domain_file.LIMIT))
    if file.domain != domain:
        raise FormatError("domain.json of the copy is of another domain", hint="the copies were mixed up or changed")
    public = _public(store, file)
    # 1. The key opens a root of the domain. 2. The root opens the domain secret.
    if isinstance(key, PrivateKey):
        provider, how = _by_private_key(place, file, key, public)
    else:
        provider, how = _by_passphrase(store, place, file, key), TYPED
    keys = DomainKeys.from_secret(file.open({provider.root_id: provider}))
    file_of = next((found for root, found in public.items() if root.root_id == provider.root_id), None)
    vouched = vouching.require(known or Vouching(), domain, keys, (key, file_of))
    # 3. The newest index, or the newest that opens.
    copies = Copies(store, keys.backup)
    index, skipped = copies.newest(older=older)
    return Recovered(domain, file, provider, how, keys, copies, index, skipped, public, vouched)


def opens_with(place: Path, domain: DomainId) -> list[str]:
    """Say in words what opens the copy of a domain besides its own roots. Raises as `recover`."""
    store = LocalStore(place / domain)
    file = DomainFile.decode(store.read_bytes(domain_file.NAME, limit=domain_file.LIMIT))
    words = ["a recovery passphrase"] if any(True for _ in store.list(WRAPS)) else []
    return [*words, *(found.opens_with() for found in _public(store, file).values())]


def _public(store: LocalStore, file: DomainFile) -> dict[DomainRoot, RecoveryRootFile]:
    """Return the recovery roots whose public half is in the copy and is theirs; one that was changed there is left out."""
    found: dict[DomainRoot, RecoveryRootFile] = {}
    for root in file.roots:
        if holder_of(root.provider) is None:
            continue
        try:
            found[root] = recovery.read(store.read_bytes(recovery.name_of(root.root_id), limit=ROOT_LIMIT), root.provider)
        except (NotFound, FormatError):
            continue
    return found


def _by_private_key(
    place: Path, file: DomainFile, key: PrivateKey, public: dict[DomainRoot, RecoveryRootFile]
) -> tuple[Provider, str]:
    """Open the recovery root whose key this is: a domain may have several. Raises NotFound, WrongKey."""
    held = [(root, holder) for root in file.roots if (holder := holder_of(root.provider)) is not None]
    if not held:
        raise NotFound(
            "this copy has no recovery root: neither shares nor an escrow key open it", hint="hermetic restore --from PLACE"
        )
    for root, holder in held:
        provider = recovery.RecoveryRoot(root.provider, Place(place, file.domain, root.root_id), key)
        try:
            file.open({root.root_id: provider}).wipe()
        except WrongKey:
            continue
        return provider, holder
    known = "; ".join(found.opens_with() for found in public.values()) or "other shares, or another escrow key"
    raise WrongKey(
        "this recovery key opens no root of the copy: it is of another domain, or was replaced", hint=f"the copy takes {known}"
    )


def _by_passphrase(store: LocalStore, place: Path, file: DomainFile, passphrase: Secret) -> Provider:
    subject, root = _root(store, file, passphrase)
    uri = next(item.provider for item in file.roots if item.root_id == subject.root)
    return MemoryRoot(uri, Place(place, file.domain, subject.root), root)


def _root(store: LocalStore, file: DomainFile, passphrase: Secret) -> tuple[WrapSubject, Secret]:
    """Open the recovery wrap of some root: a domain may have several, under passphrases of their own.

    Wraps of roots that domain.json no longer has are passed over: a crash may leave one, and it opens nothing of this copy.
    """
    known = {f"{WRAPS}{item.root_id}.json" for item in file.roots}
    wraps = [name for name, _ in store.list(WRAPS)]
    current = [name for name in wraps if name in known]
    if wraps and not current:
        raise FormatError("the recovery wrap is of another domain or root", hint="the copies were mixed up or changed")
    for name in current:
        try:
            subject, root = recovery_unwrap(store.read_bytes(name, limit=WRAP_LIMIT), passphrase)
        except WrongKey:
            if name == current[-1]:
                raise
            continue
        if (subject.domain, subject.holds, f"{WRAPS}{subject.root}.json") != (file.domain, "root", name):
            raise FormatError("the recovery wrap is of another domain or root", hint="the copies were mixed up or changed")
        return subject, root
    raise NotFound("this copy has no recovery wrap", hint="it opens only with the root itself: put root-*.json back instead")
