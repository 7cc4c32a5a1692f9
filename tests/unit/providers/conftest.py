import os

import pytest

from hermetic.crypto.kdf import Argon2Parameters
from hermetic.crypto.secret import Secret
from hermetic.ids import id_from_bytes
from hermetic.providers import kernel_keyring
from hermetic.providers.place import Asked, Place

CHEAP = Argon2Parameters(memory_kib=65_536, iterations=2, lanes=1)
PASSPHRASE = b"correct horse battery staple"


def ask(text=PASSPHRASE):
    return lambda: Secret(text)


def asked(text=PASSPHRASE, **more):
    return Asked(ask(text), CHEAP, **more)


class Clock:
    """A wall clock and a boot clock that tests move."""

    def __init__(self):
        self.wall_ms, self.boot_ms = 1_800_000_000_000, 50_000_000

    def advance(self, ms):
        self.wall_ms += ms
        self.boot_ms += ms


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def places(tmp_path, clock):
    """Make places in one custody home; whatever they leave in the kernel keyring is taken out."""
    made = []

    def make():
        root = id_from_bytes(os.urandom(16))
        place = Place(tmp_path, _DOMAIN, root, lambda: clock.wall_ms, lambda: clock.boot_ms)
        made.append(place)
        return place

    yield make
    for place in made:
        kernel_keyring.remove(place)


@pytest.fixture
def place(places):
    return places()


_DOMAIN = id_from_bytes(bytes(range(16)))
