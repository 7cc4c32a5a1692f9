"""A software TPM for each test, and a custody home beside it."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from hermetic.ids import id_from_bytes
from hermetic.providers.place import Place
from hermetic.providers.registry import create_root
from tests.interop.tpm.swtpm import SoftTpm

URI = "tpm:sha256:0,2,7"
DOMAIN = id_from_bytes(bytes(range(16)))


class Clock:
    """Milliseconds since boot, which tests move."""

    def __init__(self):
        self.now = 5_000_000

    def __call__(self):
        return self.now


@pytest.fixture
def home(tmp_path):
    place = tmp_path / "home"
    place.mkdir(mode=0o700)
    return place


@pytest.fixture
def tpm(tmp_path):
    soft = SoftTpm(tmp_path / "tpm")
    soft.start()
    yield soft
    soft.stop()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def new_place(home, tpm, clock):
    def make(root_id=None):
        return Place(home, DOMAIN, root_id or id_from_bytes(os.urandom(16)), boot=clock, settings=tpm.settings)

    return make


@pytest.fixture
def provider(new_place):
    return create_root(URI, new_place())


@pytest.fixture
def another(provider):
    """The same root as another process sees it; with settings of its own if some are given."""
    from hermetic.providers.registry import open_provider

    def make(**settings):
        place = replace(provider.place, settings={**provider.place.settings, **settings})
        return open_provider(provider.uri, place)

    return make
