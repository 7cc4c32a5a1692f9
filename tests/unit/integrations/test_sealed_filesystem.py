"""sealed:: over a disk and over memory, on a real custody."""

from __future__ import annotations

import fsspec
import pytest

from tests.unit.integrations.sealed_domain import domain, ground, h, sealed_template  # noqa: F401 - fixtures

CSV = b"id,age\n1,40\n2,50\n"


@pytest.fixture(autouse=True)
def purpose(monkeypatch):
    monkeypatch.setenv("HERMETIC_PURPOSE", "prepare")


def test_there_and_back(ground, h):  # noqa: F811
    url = f"{ground.url}/a.csv"
    with fsspec.open(url, "wb") as file:
        file.write(CSV)
    with fsspec.open(url, "rb") as file:
        assert file.read() == CSV
    stored = ground.plain.cat_file(f"{ground.base}/a.csv")
    assert stored.startswith(b"HERMETIC")
    assert CSV[:6] not in stored
    assert ground.plain.exists(f"{ground.base}/a.csv.manifest.json")
    assert h.show(ground.name).number == 1
    assert h.open(ground.name).read() == CSV
    assert h.verify(ground.name).objects == 1
