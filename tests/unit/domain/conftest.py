"""A real domain, plain and through the codec."""

from __future__ import annotations

import pytest

from hermetic.testing.codec_port import CodecPort
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


@pytest.fixture(params=["plain", "codec"])
def port(request, world):
    """The embedded port, as it is and with every message through the codec."""
    plain = world.port()
    return CodecPort(plain) if request.param == "codec" else plain
