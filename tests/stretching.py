"""Passphrases at the lowest cost that is accepted: tests stretch hundreds, and half a second each shows nothing.

That what is shipped costs more is checked in tests/unit/providers/test_local_passphrase.py; programs that tests start by themselves
stretch as they do for users.
"""

from __future__ import annotations

from hermetic.crypto.kdf import Argon2Parameters

SHIPPED = Argon2Parameters.__init__.__defaults__


def at_lowest_cost() -> None:
    """Let new files of this process have the least memory and passes that `Argon2Parameters` takes."""
    Argon2Parameters.__init__.__defaults__ = (65_536, 2, 1)  # type: ignore[misc]
