"""Unlocking and locking roots, whatever their backend; and moving a root by its recovery wrap.

unlock(provider, ask, seconds)    for every process of this user (kernel keyring)
unlock_here(provider, ask)        for this process only
lock(provider)                    at once, also for processes that run
export_root(provider, …)          the root of this machine under a recovery passphrase, for a backup
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermetic.errors import Unsupported, UsageError
from hermetic.keys.passphrase_wrap import WrapSubject, recovery_wrap
from hermetic.providers.local_root import LocalRoot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from hermetic.crypto.kdf import Argon2Parameters
    from hermetic.crypto.secret import Secret
    from hermetic.keys.provider import Provider
    from hermetic.providers.kernel_keyring import UnlockedRoot
    from hermetic.providers.local_passphrase import PassphraseRoot


def unlock(provider: Provider, ask: Callable[[], Secret], seconds: int) -> UnlockedRoot:
    """Open a root for `seconds`. Raises WrongKey for a wrong passphrase, UsageError for a root that no passphrase opens, Unsupported
    where there is no kernel keyring."""
    return _passphrase_root(provider).unlock(ask, seconds)


def unlock_here(provider: Provider, ask: Callable[[], Secret]) -> None:
    """Open a root for this process. Raises as `unlock`."""
    _passphrase_root(provider).unlock_here(ask)


def with_passphrase(providers: Iterable[Provider]) -> list[PassphraseRoot]:
    """Return the roots that a passphrase opens, in the order given."""
    from hermetic.providers.local_passphrase import PassphraseRoot  # noqa: PLC0415 - loads ctypes only when somebody unlocks

    return [provider for provider in providers if isinstance(provider, PassphraseRoot)]


def leaves_machine(provider: Provider) -> bool:
    """Whether the root can be taken out under a recovery passphrase (`export_root`)."""
    return isinstance(provider, LocalRoot)


def lock(provider: Provider) -> bool:
    """Take a root away; returns whether it was open. False for roots that are never locked."""
    method = getattr(provider, "lock", None)
    return bool(method()) if method is not None else False


def export_root(provider: Provider, passphrase: Secret, parameters: Argon2Parameters | None = None) -> bytes:
    """Return the root of a local provider under a recovery passphrase; `create_root` with `Asked(root=…)` brings it back.

    Raises Unsupported for a provider that keeps its root to itself, Locked, KeyServiceUnavailable.
    """
    if not isinstance(provider, LocalRoot):
        raise Unsupported(f"the root of {provider.uri} cannot leave its provider", hint="add a recovery root instead")
    subject = WrapSubject(provider.place.domain, provider.root_id, "root", "recovery")
    return recovery_wrap(provider.load_root(), passphrase, subject, parameters)


def _passphrase_root(provider: Provider) -> PassphraseRoot:
    for found in with_passphrase([provider]):
        return found
    raise UsageError(f"{provider.uri} is not unlocked with a passphrase")
