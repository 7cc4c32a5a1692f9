"""How a client of the service keeps what it shows: private key, certificate chain, and the authorities that it believes.

    <config>/<domain id>/identity/      mode 0700
      current -> 3f…                    the set in use; exchanged at once, so that key and certificate always belong together
      3f…/key.pem  chain.pem  authorities.pem     mode 0600
      pending.pem                       a key that waits for its first certificate (`hermetic identity request`)
      renewal.pem                       a key that waits for the answer to a renewal: asked again with it, custody answers the same

The set before the one in use is kept until the next exchange, for who is reading it; older ones are wiped.

A private key that a crash left, under a temporary name or although it is in use already, is wiped by whatever opens the folder next
(`sweep`, on every connection). Keys are written and wiped under the folder's lock only, so that nobody sweeps what another process is
writing: who finds the lock taken leaves the sweeping to who has it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from hermetic.crypto import x509, x509_chain
from hermetic.crypto.secret import Secret
from hermetic.domain import project
from hermetic.domain.home import Home, private_folder
from hermetic.errors import Conflict, HermeticError, IntegrityError, NotAuthenticated, NotFound, StorageError, UsageError
from hermetic.formats.messages.identity import RenewCertificate
from hermetic.providers import private_file
from hermetic.stores.durable import sync_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from hermetic.crypto.x509 import Certificate
    from hermetic.formats.messages.identity import CertificateIssued
    from hermetic.ids import DomainId

FOLDER: Final = "identity"
CURRENT, PENDING, RENEWAL, LOCK = "current", "pending.pem", "renewal.pem", ".lock"
KEY, CHAIN, AUTHORITIES = "key.pem", "chain.pem", "authorities.pem"
LIMIT: Final = 512 * 1024
HINT: Final = "`hermetic identity request NAME`, then `hermetic identity install FILE`"


@dataclass(frozen=True, slots=True)
class Place:
    """The identity folder of this user for a domain."""

    folder: Path
    domain: DomainId

    def uri(self, name: str, kind: str) -> str:
        """Return the URI of a person or a workload. Raises UsageError for a name that cannot stand there."""
        made = f"spiffe://{self.domain}/{kind}/{name}"
        try:
            x509_chain.parts_of(made)
        except NotAuthenticated:
            raise UsageError(f"{name[:60]!r} cannot stand in a certificate", hint="letters, digits, dot, dash, underscore") from None
        return made


def place(start: Path) -> Place:
    """Return where the identity for the project around `start` is kept; nothing is connected to. Raises as `project.load`."""
    found = project.load(project.find_root(start))
    return Place(Home.locate(os.environ).domain_config(found.domain) / FOLDER, found.domain)


@dataclass(frozen=True, slots=True)
class ClientIdentity:
    """Where the set in use lies, each in PEM."""

    chain: Path
    key: Path
    authorities: Path

    @classmethod
    def load(cls, folder: Path) -> ClientIdentity:
        """Return the set in use of an identity folder. Raises NotFound when there is none."""
        current = folder / CURRENT
        if not (current / CHAIN).is_file():
            raise NotFound(f"no certificate in {folder}", hint=HINT)
        return cls(current / CHAIN, current / KEY, current / AUTHORITIES)

    def certificate(self) -> Certificate:
        """Read the certificate. Raises IntegrityError, StorageError."""
        return x509.parse(x509.certificates_in(private_file.read(self.chain, LIMIT))[0])

    def pinned(self) -> tuple[bytes, ...]:
        """Read the authorities that this client believes (DER)."""
        return x509.certificates_in(private_file.read(self.authorities, LIMIT))


def due_ms(found: Certificate) -> int:
    """Return when a certificate should be renewed: half of its time is over.

    It begins before it is made, since clocks differ, which does not count: one for a minute would be due at once, again and again.
    """
    made_ms = found.start_ms + x509.SKEW_MS
    begun_ms = made_ms if made_ms < found.end_ms else found.start_ms  # somebody else's authority may count otherwise
    return begun_ms + (found.end_ms - begun_ms) // 2


def request(folder: Path, uri: str) -> bytes:
    """Make a private key, keep it, and return a signing request in PEM; asked again, the same key is used. Raises StorageError."""
    private_folder(folder)
    with _alone(folder):
        _forget_done(folder)
        return x509.to_pem((_asked(folder / PENDING, uri),), "CERTIFICATE REQUEST")


def install(folder: Path, pem: bytes, domain: str, *, now_ms: int, authorities: bytes | None = None) -> ClientIdentity:
    """Keep a certificate that was issued for the pending key, with its chain, and pin authorities.

    Those are the ones given, else the ones pinned before, else the roots in the same file: compare their fingerprints with what the
    domain's owner says. Raises NotFound without a pending key, UsageError for a certificate of another key or domain,
    NotAuthenticated for one that is not good, FormatError.
    """
    private_folder(folder)
    with _alone(folder):
        if not (folder / PENDING).exists():
            raise NotFound("no private key waits for a certificate here", hint=HINT)
        key = Secret(private_file.read(folder / PENDING, LIMIT))
        leaf, *rest = x509.certificates_in(pem)
        roots = tuple(der for der in rest if x509.parse(der).self_signed)
        chain = (leaf, *(der for der in rest if der not in roots))
        pins = _pins(folder, roots, authorities)
        named = x509.parse(leaf).uris
        if x509.parse(leaf).public != x509.public_of(key):
            raise UsageError("the certificate is for another key than the one that waits here", hint=HINT)
        if len(named) != 1 or x509_chain.parts_of(named[0])[0] != domain:
            raise UsageError("the certificate is for another domain than this project's")
        if authorities is None:
            x509_chain.verify(leaf, [*chain[1:], *pins], pins, at_ms=now_ms)
        else:
            x509_chain.check_leaf(leaf, at_ms=now_ms)
        _exchange(folder, key, chain, pins)
        private_file.wipe(folder / PENDING)
        return ClientIdentity.load(folder)


def renew(folder: Path, ask: Callable[[RenewCertificate], CertificateIssued], *, now_ms: int, early: bool = False) -> bool:
    """Renew the certificate if half of its time is over, or `early`; return whether this process did.

    One process of those that share the folder asks, the others find the new set there. Raises NotFound, and what `ask` raises.
    """
    if not early and now_ms < due_ms(ClientIdentity.load(folder).certificate()):
        return False
    with _alone(folder):
        now = ClientIdentity.load(folder)
        old = now.certificate()
        if not early and now_ms < due_ms(old):
            return False  # another process was first
        _forget_done(folder)
        csr = _asked(folder / RENEWAL, old.uris[0])
        try:
            answer = ask(RenewCertificate(csr))
        except Conflict:
            private_file.wipe(folder / RENEWAL)  # it was for another certificate than the one in use now: the next try makes a key
            raise
        key = Secret(private_file.read(folder / RENEWAL, LIMIT))
        _check_answer(answer, key, old, now_ms)
        _exchange(folder, key, answer.chain, answer.authorities)
        private_file.wipe(folder / RENEWAL)
    return True


def forget_request(folder: Path) -> None:
    """Wipe the key that waits for its first certificate: it will get none. Raises StorageError."""
    with _alone(folder):
        private_file.wipe(folder / PENDING)


def sweep(folder: Path) -> int:
    """Wipe private keys that crashes left, and return how many; none while another process has the folder, which sweeps itself.

    Raises StorageError, IntegrityError.
    """
    if not (_hidden(folder) or any((folder / name).exists() for name in (PENDING, RENEWAL))):
        return 0  # as nearly always: no lock is taken
    descriptor = _locked(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    if descriptor is None:
        return 0
    try:
        return _unhide(folder) + _forget_done(folder)
    finally:
        os.close(descriptor)


def tend(folder: Path, ask: Callable[[RenewCertificate], CertificateIssued], *, now_ms: int) -> bool:
    """Do as `renew`, for a library beside its work: while the certificate is still good, what fails is tried again later."""
    try:
        return renew(folder, ask, now_ms=now_ms)
    except HermeticError:
        if now_ms >= ClientIdentity.load(folder).certificate().end_ms:
            raise
        return False


def fingerprints(ders: Sequence[bytes]) -> list[str]:
    """Return SHA-256 of certificates as people compare them: hexadecimal, in pairs."""
    return [":".join(f"{byte:02X}" for byte in x509.parse(der).fingerprint) for der in ders]


def _asked(path: Path, uri: str) -> bytes:
    """Return a signing request (DER) for the key at `path`, which is made if there is none. The folder is locked."""
    if path.exists():
        return x509.request_again(Secret(private_file.read(path, LIMIT)), uri)
    key, csr = x509.new_request(uri)
    private_file.write(path, bytes(key.view()), replace=False)
    return csr


def _hidden(folder: Path) -> list[Path]:
    """Return the private keys that may lie under temporary names."""
    keys = [folder / PENDING, folder / RENEWAL, *(path / KEY for path in folder.glob("*/") if not path.is_symlink())]
    return [path for path in keys if any(path.parent.glob(f".{path.name}.*"))]


def _unhide(folder: Path) -> int:
    """Wipe what crashes left under temporary names. The folder is locked."""
    return sum(private_file.wipe_leftovers(path) for path in _hidden(folder))


def _forget_done(folder: Path) -> int:
    """Wipe the key of what was done up to its last step, as a crash leaves it: the certificate in use is already for it."""
    waiting = [path for path in (folder / PENDING, folder / RENEWAL) if path.exists()]
    with contextlib.suppress(NotFound):
        used = ClientIdentity.load(folder).certificate().public if waiting else b""
        done = [path for path in waiting if x509.public_of(Secret(private_file.read(path, LIMIT))) == used]
        return sum(private_file.wipe(path) for path in done)
    return 0


def _pins(folder: Path, roots: tuple[bytes, ...], given: bytes | None) -> tuple[bytes, ...]:
    if given is not None:
        return x509.certificates_in(given)
    with contextlib.suppress(NotFound):
        return ClientIdentity.load(folder).pinned()
    if not roots:
        raise UsageError("the file names no authority to believe", hint="--authorities FILE, from `hermetic identity export-trust`")
    return roots


def _check_answer(answer: CertificateIssued, key: Secret, old: Certificate, now_ms: int) -> None:
    """What came is for our key and our name, and leads to what came along; the connection says that it is from custody."""
    made = x509.parse(answer.chain[0]) if answer.chain else None
    if made is None or made.public != x509.public_of(key) or made.uris != old.uris:
        raise IntegrityError("custody gave a certificate for another key or name", hint="nothing was changed")
    x509_chain.verify(made.der, [*answer.chain[1:], *answer.authorities], answer.authorities, at_ms=max(now_ms, made.start_ms))


def _exchange(folder: Path, key: Secret, chain: Sequence[bytes], authorities: Sequence[bytes]) -> None:
    """Put a whole set in the place of the one in use."""
    name = secrets.token_hex(8)
    made = private_folder(folder / name)
    private_file.write(made / KEY, bytes(key.view()), replace=False)
    private_file.write(made / CHAIN, x509.to_pem(chain), replace=False)
    private_file.write(made / AUTHORITIES, x509.to_pem(authorities), replace=False)
    link = folder / f".{CURRENT}.{name}"
    before = os.readlink(folder / CURRENT) if (folder / CURRENT).is_symlink() else ""  # noqa: PTH115 - the name, not a path
    try:
        link.symlink_to(name)
        link.replace(folder / CURRENT)
        sync_folder(folder)
    except OSError as error:
        raise StorageError(f"cannot use {folder}: {error.strerror}") from error
    _tidy(folder, {name, before})


def _tidy(folder: Path, keep: set[str]) -> None:
    """Wipe the keys of older sets, and what crashes left."""
    for item in folder.iterdir():
        if item.is_dir() and not item.is_symlink() and item.name not in keep:
            private_file.wipe(item / KEY)
            shutil.rmtree(item, ignore_errors=True)
        elif item.name.startswith(f".{CURRENT}."):
            item.unlink(missing_ok=True)


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep other processes from changing the folder meanwhile, and wipe what crashes left there."""
    descriptor = _locked(folder, fcntl.LOCK_EX)
    try:
        _unhide(folder)
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _locked(folder: Path, how: int) -> int | None:
    """Return the descriptor that holds the lock, None where another process has it and `how` does not wait. Raises StorageError."""
    try:
        descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise StorageError(f"cannot use {folder}: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, how)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
