"""Wiping a secret that somebody works with: the bytes go when the last view goes, never under anybody's hands."""

from __future__ import annotations

import pytest

from hermetic.crypto.secret import Secret
from hermetic.errors import UsageError


def test_a_view_that_is_lent_stays_what_it_was():
    secret = Secret(b"k" * 32)
    lent = secret.view()
    secret.wipe()
    assert bytes(lent) == b"k" * 32
    with pytest.raises(UsageError, match="wiped"):
        secret.view()
    assert len(secret) == 0


def test_the_bytes_are_overwritten_when_the_last_view_goes():
    secret = Secret(b"k" * 32)
    held = secret._data
    lent = secret.view()
    secret.wipe()
    lent.release()
    del lent
    assert bytes(held) == b"k" * 32  # this test holds them
    held.__del__()
    assert bytes(held) == bytes(32)
