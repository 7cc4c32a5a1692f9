"""docs/reference says what the program says."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "reference.py"


@pytest.fixture(scope="module")
def reference():
    spec = importlib.util.spec_from_file_location("reference", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["errors.md", "port.md", "cli.md", "providers.md", "openapi.json"])
def test_page_is_current(reference, name):
    page = reference.TARGET / name
    assert page.is_file(), "run make docs"
    assert page.read_text() == reference.PAGES[name](), "run make docs"
