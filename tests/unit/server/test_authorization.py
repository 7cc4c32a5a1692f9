"""The authorization matrix: what each role gets of every request, in every environment, is what table and page say."""

from __future__ import annotations

from pathlib import Path

import pytest

from hermetic.custody.dispatch import HANDLERS
from hermetic.ids import Enforcement, Environment
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


def test_custody_apart_on_one_machine_decides_as_a_service_does(matrix):
    """The page is asked as a service is; nothing shipped tells the two levels apart."""
    for text in defaults.cedar_texts().values():
        assert not any(f'Enforcement::"{level}"' in text for level in (Enforcement.SEPARATED, Enforcement.SERVICE))
    asked = [(name, role) for name in authorization.LEVELS_DIFFER for role in authorization.ROLES]
    found = {each: matrix.ask(*each, Environment.STAGING, Enforcement.SEPARATED) for each in asked}
    assert found == {(name, role): authorization.expected(name)[role][1] for name, role in asked}


def test_the_owner_of_a_cooperative_domain_works_and_one_apart_does_not(matrix):
    for name in ("begin-version", "open-versions for prepare", "rotate-key"):
        assert authorization.expected(name)["domain-owner"][0] == authorization.NO
        assert matrix.ask(name, "domain-owner", Environment.DEVELOPMENT, Enforcement.COOPERATIVE) == authorization.YES
