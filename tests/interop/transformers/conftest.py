"""A domain whose folder we stand in, purpose train, and nothing attached afterwards."""

from __future__ import annotations

import pytest

from hermetic.integrations import process
from tests.unit.assets.real import domain, domain_template, real  # noqa: F401 - fixtures


@pytest.fixture(autouse=True)
def surroundings(real, traces, domain, monkeypatch):  # noqa: F811
    monkeypatch.setenv("HERMETIC_PURPOSE", "train")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.chdir(domain)
    yield
    for found in list(process._known.values()):
        found.close()
    process._known.clear()
