"""A folder and a home for the pages, and the table that they say you have."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hermetic.errors import HermeticError
from hermetic.providers import kernel_keyring
from hermetic.providers.place import Place
from tests import warm
from tests.docs import pages

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.docs.pages import Step


@pytest.fixture(scope="session", autouse=True)
def _warm() -> Iterator[None]:
    """Spare pages the start-up of each command."""
    base = Path(tempfile.mkdtemp(prefix="hermetic-docs-"))
    with warm.running(base / "w") as shims:
        pages.WARM.append(str(shims))
        yield
        pages.WARM.clear()
    shutil.rmtree(base)


@pytest.fixture
def folder(isolated_environment: Path) -> Path:
    """Return the folder in which a page's reader works."""
    place = isolated_environment / "reader" / "clinic"
    place.mkdir(parents=True)
    return place


@pytest.fixture
def home(isolated_environment: Path) -> Iterator[Path]:
    """Yield a HERMETIC_HOME, not made yet; what a page left unlocked is locked afterwards: the kernel is everybody's."""
    yield isolated_environment / "hermetic-home"
    with contextlib.suppress(HermeticError):  # a machine without it
        for root in kernel_keyring.unlocked():
            if any(isolated_environment.rglob(root.domain)):
                kernel_keyring.remove(Place(isolated_environment, root.domain, root.root_id))


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


@pytest.fixture
def server() -> Callable[[list[Step]], list[Step]]:
    """Return what lets the commands of a page reach a PostgreSQL server of this machine where the page says db.example.org."""
    from tests import postgres

    place = str(postgres.shared().tcp(postgres.shared().database())).removeprefix("postgresql://custody@")
    return lambda steps: [replace(step, command=step.command.replace("db.example.org/hermetic", place)) for step in steps]


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[list[Step]], list[Step]]]:
    """Yield what lets the commands of a page reach a bucket of this machine where the page says s3.example.org."""
    from tests.unit.stores.s3_endpoint import Endpoint

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "of-nobody")
    with Endpoint() as endpoint:
        here = f"'{endpoint.url}'"
        yield lambda steps: [replace(step, command=step.command.replace("https://s3.example.org", here)) for step in steps]
        assert any(asked.does == "put" for asked in endpoint.asked)
