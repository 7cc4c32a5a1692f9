"""A folder and a home for the pages, and the table that they say you have."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def folder(isolated_environment: Path) -> Path:
    """Return the folder in which a page's reader works."""
    place = isolated_environment / "reader" / "clinic"
    place.mkdir(parents=True)
    return place


@pytest.fixture
def home(isolated_environment: Path) -> Path:
    """Return a HERMETIC_HOME, not made yet."""
    return isolated_environment / "hermetic-home"


@pytest.fixture
def patients(folder: Path) -> None:
    """Write the tutorial's table, patients.parquet."""
    import numpy as np
    import pandas as pd

    random = np.random.default_rng(1)
    age = random.integers(20, 90, 400)
    pressure = (90 + 0.6 * age + random.normal(0, 6, 400)).round()
    names = [f"Patient {number:03d}" for number in range(400)]
    pd.DataFrame({"name": names, "age": age, "pressure": pressure}).to_parquet(folder / "patients.parquet", index=False)
