"""A key set up once gives the tags that one at a time gives."""

from __future__ import annotations

import hashlib
import hmac
from concurrent.futures import ThreadPoolExecutor

import pytest

from hermetic.crypto.mac import Keyed, hmac_sha256
from hermetic.crypto.secret import Secret
from hermetic.errors import UsageError


@pytest.mark.parametrize("length", [1, 32, 63, 64, 65, 200])
def test_tags_are_those_of_the_standard_library(length):
    key = bytes(range(length))
    keyed = Keyed(Secret(key))
    for size in (0, 1, 55, 64, 1000):
        data = hashlib.shake_128(b"%d" % size).digest(size)
        assert keyed.tag(data) == hmac.digest(key, data, "sha256") == hmac_sha256(key, data)


def test_threads_share_it():
    secret = Secret.random(32)
    keyed, texts = Keyed(secret), [b"%d" % number for number in range(2000)]
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(keyed.tag, texts)) == [hmac_sha256(secret, text) for text in texts]


def test_it_outlives_the_secret_and_shows_nothing():
    secret = Secret(b"k" * 32)
    keyed = Keyed(secret)
    secret.wipe()
    assert keyed.tag(b"x") == hmac.digest(b"k" * 32, b"x", "sha256")
    assert repr(keyed) == "<Keyed withheld>"
    with pytest.raises(UsageError):
        Keyed(secret)
