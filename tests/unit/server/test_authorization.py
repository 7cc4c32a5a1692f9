"""The authorization matrix: what each role gets of every request, in every environment, is what table and page say."""

from __future__ import annotations

from pathlib import Path

import pytest

from hermetic.custody.dispatch import HANDLERS
from hermetic.policy import defaults
from tests import authorization

PAGE = Path(__file__).resolve().parents[3] / "docs" / "reference" / "authorization.md"


@pytest.fixture(scope="module")
def matrix(tmp_path_factory):
    made = authorization.Matrix(tmp_path_factory.mktemp("matrix") / "world")
    yield made
    made.close()


def test_somebody_has_decided_about_every_request():
    assert {name.partition(" ")[0] for name in authorization.REQUESTS} == set(HANDLERS)
    assert set(authorization.OF) == set(authorization.REQUESTS)
    shipped = defaults.default_bundle("a" * 26, "p").document_text()
    assert all(f"  {role}:" in shipped for role in authorization.ROLES[:-1])


def test_everybody_gets_what_the_table_says(matrix):
    """One test, so that one domain does for all; the page is compared with the same answers."""
    found = {name: matrix.row(name) for name in authorization.REQUESTS}
    assert {name: row for name, row in found.items() if row != authorization.expected(name)} == {}
    page = PAGE.read_text(encoding="utf-8")
    assert [name for name, row in found.items() if authorization.line(name, row) not in page] == []
