"""What PKCS#11 return values mean here. Numbers are those of PKCS#11 v3.1, section 5.1 (`CKR_…`)."""

from __future__ import annotations

from typing import Final

from hermetic.errors import HermeticError, KeyServiceUnavailable, Locked, Unsupported

GENERAL_ERROR: Final = 0x05
PIN_REFUSED: Final = frozenset({0xA0, 0xA1, 0xA2})  # INCORRECT, INVALID, LEN_RANGE: each may have cost a try
PIN_EXPIRED: Final = 0xA3
PIN_LOCKED: Final = 0xA4
ALREADY_LOGGED_IN: Final = frozenset({0x100, 0x104})  # as this user, or as another one
ALREADY_INITIALIZED: Final = 0x191
MECHANISM_INVALID: Final = 0x70

# The session, the slot or the token went away, or the module says only that something did: worth one try with everything opened anew.
GONE: Final = frozenset({0x03, 0x05, 0x06, 0x30, 0x32, 0xB0, 0xB1, 0xB3, 0xE0, 0xE1, 0x101, 0x190})
# What a token says to a ciphertext that does not open.
DOES_NOT_OPEN: Final = frozenset({0x20, 0x21, 0x35, 0x40, 0x41, 0xC0, 0xC1, 0x110, 0x112})
# What some say to that, and also when something else is wrong; SoftHSM says GENERAL_ERROR.
PERHAPS_DOES_NOT_OPEN: Final = frozenset({0x05, 0x06, 0x07, 0x30})
# What tokens say to C_WrapKey of a key that is to stay inside, or by a key or mechanism that does not wrap.
KEPT_INSIDE: Final = frozenset({0x11, 0x60, 0x62, 0x63, 0x68, 0x69, 0x6A, 0x70, 0x71, 0x113, 0x114, 0x115})
_NOT_OFFERED: Final = frozenset({0x54, 0x62, 0x68, 0x70, 0x71, 0x140})
_KEY_GONE: Final = frozenset({0x60, 0x82})


class Gone(Exception):
    """Something went away; `error` is what to raise if it does not come back with a new session."""

    def __init__(self, error: HermeticError) -> None:
        super().__init__(error.message)
        self.error = error


def meaning(value: int, name: str, token: str) -> HermeticError:
    """Return the error for a return value; `name` is the library's text for it."""
    if value in PIN_REFUSED or value in {PIN_EXPIRED, PIN_LOCKED}:
        return Locked(f"token {token}: {name}", hint="see the token's own tool for how its PIN stands")
    if value in _NOT_OFFERED:
        return Unsupported(f"token {token} cannot do that: {name}", hint="it has to offer AES-GCM or AES key wrap with padding")
    if value in _KEY_GONE:
        return KeyServiceUnavailable(f"token {token}: the key went away while it was used ({name})", hint="try again")
    return KeyServiceUnavailable(f"token {token} cannot be used: {name}", hint="is it plugged in, and its service running?")
