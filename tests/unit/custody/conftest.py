"""A real domain, embedded and behind each transport."""

from __future__ import annotations

import pytest

from tests.backends import BACKENDS, behind
from tests.world import World


@pytest.fixture
def world(tmp_path):
    made = World.make(tmp_path / "world")
    yield made
    made.close()


@pytest.fixture
def world_with_backup(tmp_path):
    made = World.make(tmp_path / "world", backup=True)
    yield made
    made.close()


@pytest.fixture(params=BACKENDS)
def port(request, world, tmp_path):
    """Custody, embedded and behind each transport."""
    with behind(request.param, world.port(), tmp_path) as found:
        yield found
