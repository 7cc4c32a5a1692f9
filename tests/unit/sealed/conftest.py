"""An empty file to write to."""

from __future__ import annotations

import pytest


@pytest.fixture
def fd(tmp_path):
    """A descriptor of an empty file."""
    with (tmp_path / "out").open("xb+") as out:
        yield out.fileno()
