"""What every file under a passphrase shares: Argon2id's costs as a document, and the passphrase stretched under them. Pure.

Costs have a floor and a ceiling, which hold on reading too (`kdf.Argon2Parameters`); passphrases are bytes, exactly as given. Callers
derive a key for their own use from what comes back, so that no file's key opens another kind of file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hermetic.crypto.kdf import Argon2Parameters, argon2id
from hermetic.errors import KeyServiceUnavailable, UsageError
from hermetic.formats import canonical
from hermetic.formats.fields import Fields

if TYPE_CHECKING:
    from hermetic.crypto.secret import Secret

MAXIMUM: Final = 1024  # bytes of a passphrase


def costs_to_json(costs: Argon2Parameters) -> dict[str, canonical.JsonValue]:
    """Return the costs as the field `argon2id` holds them."""
    return {"iterations": costs.iterations, "lanes": costs.lanes, "memory_kib": costs.memory_kib}


def costs_from_json(value: canonical.Json) -> Argon2Parameters:
    """Read them back. Raises FormatError, also for costs out of range."""
    costs = Fields(value, "argon2id", {"iterations", "lanes", "memory_kib"})
    memory, iterations, lanes = (
        costs.integer(name, minimum=1, maximum=canonical.MAX_INTEGER) for name in ("memory_kib", "iterations", "lanes")
    )
    return Argon2Parameters(memory, iterations, lanes)


def stretched(passphrase: Secret, costs: Argon2Parameters, salt: bytes) -> Secret:
    """Return 32 bytes to derive a key from. Raises UsageError for the passphrase, KeyServiceUnavailable for too little memory."""
    if not 0 < len(passphrase) <= MAXIMUM:
        raise UsageError(f"a passphrase has 1 to {MAXIMUM} bytes")
    try:
        return argon2id(passphrase, salt, costs)
    except MemoryError:
        raise KeyServiceUnavailable(
            f"Argon2id needs {costs.memory_kib // 1024} MiB of memory, which this machine does not give",
            hint="free memory, or open it on a larger machine and change the passphrase with lower costs",
        ) from None
