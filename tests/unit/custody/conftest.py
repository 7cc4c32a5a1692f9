"""A real domain, embedded and behind each transport."""

from __future__ import annotations

import pytest

from tests.backends import BACKENDS, EMBEDDED, behind
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


def pytest_generate_tests(metafunc):
    """A port behind each transport, but for tests marked `embedded_only`, which reach into the process that custody works in."""
    if "port" in metafunc.fixturenames and "port" not in vars(metafunc.module):
        only = metafunc.definition.get_closest_marker("embedded_only") is not None
        metafunc.parametrize("port", [EMBEDDED] if only else BACKENDS, indirect=True)


@pytest.fixture
def port(request, world, tmp_path):
    """Custody, embedded or behind a transport."""
    with behind(request.param, world.port(), tmp_path) as found:
        yield found
