"""A domain with sealed objects, a backup, and a recovery passphrase."""

from __future__ import annotations

import pytest

from hermetic.assets.workspace import Workspace
from tests.world import World

CONTENT = {
    "dataset/patients": b"name,age\nana,44\n" * 2000,
    "dataset/shops": b"shop\n1\n",
    "model/risk": bytes(range(256)) * 1000,
}


@pytest.fixture
def world(tmp_path):
    made = World.make(tmp_path / "world", backup=True)
    with made.connect() as connection:
        h = Workspace(connection)
        h.seal(CONTENT["dataset/patients"], name="dataset/patients", data_class="restricted", member="a.csv")
        h.seal(CONTENT["dataset/shops"], name="dataset/shops", data_class="internal", member="b.csv")
        h.seal(b"older", name="model/risk", data_class="confidential", member="w.bin")
        h.seal(CONTENT["model/risk"], name="model/risk", data_class="confidential", member="w.bin")
    yield made
    made.close()


def contents(connection):
    """The plaintext of the newest version of everything."""
    h = Workspace(connection)
    found = {}
    for row in h.list():
        with h.open(row.name, purpose="recover") as file:
            found[row.name] = file.read()
    return found
