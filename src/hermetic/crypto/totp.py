"""One-time codes by time (RFC 6238), as every authenticator app makes them: HMAC-SHA-1, six digits, thirty seconds. Extra `mfa`.

    counter    seconds since 1970, divided by 30
    code       HOTP(secret, counter), RFC 4226

A code says nothing about what it is for and can be read over a shoulder, so it refreshes a session and never approves anything.
Which counters are still good is the caller's to know: `counter_of` takes the last one used and accepts later ones only.
"""

from __future__ import annotations

import base64
import hmac
from typing import TYPE_CHECKING, Any, Final

from hermetic.crypto.secret import Secret
from hermetic.errors import Denied, Unsupported

if TYPE_CHECKING:
    from types import ModuleType

SECRET: Final = 20  # bytes, as RFC 4226 recommends
DIGITS: Final = 6
STEP_MS: Final = 30_000
WINDOW: Final = 1  # steps that a clock may be off, either way
ISSUER: Final = "Hermetic"


def generate() -> Secret:
    """Return a new secret."""
    _pyotp()
    return Secret.random(SECRET)


def spelled(secret: Secret) -> str:
    """Return a secret as people type it into an app: base32, 32 characters."""
    return base64.b32encode(secret.view()).decode("ascii")


def uri(secret: Secret, account: str) -> str:
    """Return the otpauth URI of a secret, which apps read from a picture."""
    made: Any = _pyotp().TOTP(spelled(secret), digits=DIGITS, interval=STEP_MS // 1000)
    return str(made.provisioning_uri(name=account, issuer_name=ISSUER))


def counter_of(secret: Secret, code: str, *, now_ms: int, used: int) -> int:
    """Return the counter whose code this is. Raises Denied for a code that is wrong, too old, or not later than the one `used`.

    All counters of the window are tried, whichever fits, so that the time taken tells nothing.
    """
    made: Any = _pyotp().TOTP(spelled(secret), digits=DIGITS, interval=STEP_MS // 1000)
    now, typed = now_ms // STEP_MS, code.encode("utf-8", "replace")
    fits = [at for at in range(max(now - WINDOW, 0), now + WINDOW + 1) if hmac.compare_digest(made.generate_otp(at).encode(), typed)]
    if not fits:
        raise Denied("this code is not one of now", hint="type the code that the app shows; compare the clocks of both machines")
    if fits[-1] <= used:
        raise Denied("this code was used already, or one after it", hint="wait for the next code: every code counts once")
    return fits[-1]


def _pyotp() -> ModuleType:
    try:
        import pyotp  # noqa: PLC0415 - an extra
    except ImportError:
        raise Unsupported("pyotp is not installed", hint="pip install '.[mfa]'") from None
    return pyotp
