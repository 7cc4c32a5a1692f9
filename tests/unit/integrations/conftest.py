"""hermetic:// on a custody in memory."""

from __future__ import annotations

import pytest

from hermetic.integrations import process
from hermetic.integrations.filesystem import HermeticFileSystem
from tests.unit.assets.conftest import connection, h, port, store  # noqa: F401 - fixtures


@pytest.fixture
def fs(h, connection, monkeypatch):  # noqa: F811
    """A file system whose connections all lead to the same custody; the policy in force covers features/** and dataset/**."""
    monkeypatch.setattr(process, "connect", lambda start=None: connection)
    monkeypatch.setattr(process, "_known", {})
    HermeticFileSystem.clear_instance_cache()
    yield HermeticFileSystem()
    HermeticFileSystem.clear_instance_cache()
