"""A real domain whose project is the working directory, and a table with the marker in it."""

from __future__ import annotations

import pytest

from tests.unit.assets.real import domain, domain_template, real  # noqa: F401 - fixtures


@pytest.fixture
def place(traces, domain):  # noqa: F811
    """The project folder, entered after `traces` has chosen where to look."""
    return domain


@pytest.fixture
def columns(traces):
    return {"id": list(range(3000)), "group": [n % 3 for n in range(3000)], "note": [traces.text] * 3000}
