"""Many data keys moved from one version of a KEK to another, each opened, compared and wrapped anew.

The ciphers are set up once, and there is one buffer for what is inside, wiped at the end. What holds for one wrap (`wrap`) must hold
here: the old wrap opens under its own context only, the check value is compared before anything is wrapped, and
neither the secret nor the check value changes. Contexts come as bytes (`DataKeyContext.encode`), since building a million values
takes longer than the cryptography.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from hermetic.crypto import aead, mac
from hermetic.crypto.kdf import expand_into
from hermetic.errors import FormatError, IntegrityError, WrongKey
from hermetic.keys.wrap import KEY, LABEL, MARKER, PAYLOAD, WRAPPED, KekContext

if TYPE_CHECKING:
    from collections.abc import Callable

    from hermetic.crypto.secret import Secret
    from hermetic.ids import DataKeyId, DomainId, Environment

_START = len(MARKER)


def context_for(domain: DomainId, environment: Environment) -> Callable[[str, str, str], bytes]:
    """Return what writes the context of a data key from its asset, version and data-key id, as `DataKeyContext.encode` does.

    Ids come from authenticated rows. A place that is none fails at the check value.
    """
    middle, last = f'","domain":"{domain}","environment":"{environment.value}","version":"', '"}'

    def context(asset: str, version: str, data_key: str) -> bytes:
        return f'{{"asset":"{asset}","data_key":"{data_key}{middle}{version}{last}'.encode("ascii")

    return context


class Rewrapper:
    """Moves wraps from `old` to `new`, each a KEK and its context; both of one environment. Use it in a `with`, in one thread."""

    def __init__(self, old: tuple[Secret, KekContext], new: tuple[Secret, KekContext]) -> None:
        if old[1].environment is not new[1].environment:
            raise IntegrityError("data keys do not move between environments", hint="`hermetic promote` re-encrypts")
        self._opens, self._seals = aead.Box(old[0]), aead.Box(new[0])
        self._from, self._bound = old[1], (old[1].around(), new[1].around())
        self._inside, self._both = bytearray(PAYLOAD), bytearray(PAYLOAD)
        self._secret = memoryview(self._inside)[:KEY]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._inside[:] = self._both[:] = bytes(PAYLOAD)

    def move(self, data_key: DataKeyId, wrapped: bytes, context: bytes) -> bytes:
        """Return the wrap under the new KEK. Raises FormatError, WrongKey, IntegrityError, as `wrap.unwrap_data_key`."""
        if len(wrapped) != WRAPPED or not wrapped.startswith(MARKER):
            raise FormatError("not a wrapped data key of version 1: wrong length or marker")
        inside, both, name = self._inside, self._both, data_key.encode("ascii")
        (before, after), (new_before, new_after) = self._bound
        try:
            self._opens.open_into(wrapped[_START:], before + name + after, inside)
        except WrongKey:
            raise WrongKey(
                f"data key {data_key} does not unwrap under version {self._from.number} of KEK {self._from.kek_id}",
                hint="the row was changed or belongs to another KEK: `hermetic log verify`, then restore it from a backup",
            ) from None
        expand_into(self._secret, LABEL + mac.sha384(context), both)
        mac.check(both[KEY:], inside[KEY:], "the check value of the data key")
        return MARKER + self._seals.seal(inside, new_before + name + new_after)
