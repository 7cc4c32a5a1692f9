"""The how-to, run against a server of its own, as its administrator and as its user."""

from __future__ import annotations

import pytest

from tests.docs.conftest import folder, home  # noqa: F401 - fixtures
from tests.docs.pages import ROOT, check, run, steps
from tests.interop import baoserver


@pytest.mark.parametrize("name", ["root-in-openbao"])
def test_how_to(name, folder, home, tmp_path, monkeypatch):  # noqa: F811
    (folder / "patients.parquet").write_bytes(b"PAR1 not really PAR1")
    page = ROOT / "docs" / "how-to" / f"{name}.md"
    server = tmp_path / "bao"
    server.mkdir()
    with baoserver.running(server) as bao:
        for variable, value in (("BAO_ADDR", bao.address), ("BAO_CACERT", str(bao.ca)), ("BAO_TOKEN", bao.token)):
            monkeypatch.setenv(variable, value)
        check(page, run(steps(page), folder, home))
