"""Many data keys moved from one version of a KEK to another, each opened, compared and wrapped anew.

What `wrap.rewrap_data_key` does one at a time, with the ciphers set up once and one buffer for what is inside, wiped at the end. The
same must hold (`wrap`): the old wrap opens under its own context only, the check value is compared before anything is wrapped, and
neither the secret nor the check value changes. Contexts come as bytes (`DataKeyContext.encode`), since building a million values
takes longer than the cryptography.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from hermetic.crypto import aead, mac
from hermetic.crypto.kdf import hkdf_expand_sha384
from hermetic.crypto.secret import Secret
from hermetic.errors import FormatError, IntegrityError, WrongKey
from hermetic.keys.wrap import KEY, LABEL, MARKER, PAYLOAD, WRAPPED, KekContext

if TYPE_CHECKING:
    from hermetic.ids import DataKeyId

_START = len(MARKER)


class Rewrapper:
    """Moves wraps from `old` to `new`, each a KEK and its context; both of one environment. Use it in a `with`, in one thread."""

    def __init__(self, old: tuple[Secret, KekContext], new: tuple[Secret, KekContext]) -> None:
        if old[1].environment is not new[1].environment:
            raise IntegrityError("data keys do not move between environments", hint="`hermetic promote` re-encrypts")
        self._opens, self._seals = aead.Box(old[0]), aead.Box(new[0])
        self._from, self._to = old[1], new[1]
        self._inside = bytearray(PAYLOAD)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._inside[:] = bytes(PAYLOAD)

    def move(self, data_key: DataKeyId, wrapped: bytes, context: bytes) -> bytes:
        """Return the wrap under the new KEK. Raises FormatError, WrongKey, IntegrityError, as `wrap.unwrap_data_key`."""
        if len(wrapped) != WRAPPED or not wrapped.startswith(MARKER):
            raise FormatError("not a wrapped data key of version 1: wrong length or marker")
        inside = self._inside
        try:
            self._opens.open_into(wrapped[_START:], self._from.associated_data(data_key), inside)
        except WrongKey:
            raise WrongKey(
                f"data key {data_key} does not unwrap under version {self._from.number} of KEK {self._from.kek_id}",
                hint="the row was changed or belongs to another KEK: `hermetic log verify`, then restore it from a backup",
            ) from None
        both = hkdf_expand_sha384(Secret(memoryview(inside)[:KEY]), LABEL + mac.sha384(context), PAYLOAD)
        mac.check(bytes(both.view()[KEY:]), bytes(inside[KEY:]), "the check value of the data key")
        return MARKER + self._seals.seal(inside, self._to.associated_data(data_key))
