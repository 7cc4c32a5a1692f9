"""The how-tos that need this environment, run in it."""

from __future__ import annotations

import pytest

from tests.docs.conftest import folder, home  # noqa: F401 - fixtures
from tests.docs.pages import ROOT, Step, check, run, steps

DOMAIN = Step("hermetic init --root local:insecure-file --project clinic", 0)


@pytest.mark.parametrize("name", ["mlflow"])
def test_how_to(name, folder, home, monkeypatch):  # noqa: F811
    for variable in ("MLFLOW_DISABLE_TELEMETRY", "DO_NOT_TRACK"):
        monkeypatch.setenv(variable, "true")
    page = ROOT / "docs" / "how-to" / f"{name}.md"
    check(page, run([DOMAIN, *steps(page)], folder, home))
