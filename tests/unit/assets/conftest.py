"""A workspace on a custody in memory."""

from __future__ import annotations

import importlib.util
import sys
import types

import pytest

from tests.unit.assets import fake

if importlib.util.find_spec("hermetic.domain.connect") is None:
    stub = types.ModuleType("hermetic.domain.connect")
    stub.connect = None
    sys.modules["hermetic.domain.connect"] = stub

from hermetic.assets import checking, session, workspace


@pytest.fixture
def connection(tmp_path):
    return fake.FakeConnection(tmp_path)


@pytest.fixture
def h(connection, monkeypatch):
    monkeypatch.setattr(session, "verify_released", fake.verify_released)
    monkeypatch.setattr(checking, "verify_details", fake.verify_released)
    with workspace.Workspace(connection) as made:
        yield made


@pytest.fixture
def port(connection):
    return connection.port


@pytest.fixture
def store(connection):
    return connection.stores["sealed"]
