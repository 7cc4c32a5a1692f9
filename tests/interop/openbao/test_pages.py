"""The how-to, run against a server of its own, as its administrator and as its user."""

from __future__ import annotations

import pytest

from tests.docs.conftest import folder, home  # noqa: F401 - fixtures
from tests.docs.pages import ROOT, Step, check, run, steps
from tests.interop import baoserver

INIT = "hermetic init --root openbao:transit/hermetic --root-setting address=$BAO_ADDR --root-setting ca=$BAO_CACERT"
ROOTED = [  # what root-in-openbao.md comes to, with a token
    "bao secrets enable transit",
    "bao write -f transit/keys/hermetic type=aes256-gcm96 derived=true",
    "printf '%s' \"$POLICY\" | bao policy write hermetic -",
    "(umask 077; bao token create -policy=hermetic -field=token > $HOME/token)",
    f"{INIT} --root-setting token_file=$HOME/token",
    "hermetic seal patients.parquet --as dataset/patients --class restricted",
]
BEFORE = {"root-in-openbao": [], "keep-keys-in-the-provider": [], "reconcile-the-log": ROOTED}


@pytest.mark.parametrize("name", ["root-in-openbao", "keep-keys-in-the-provider", "reconcile-the-log"])
def test_how_to(name, folder, home, tmp_path, monkeypatch):  # noqa: F811
    (folder / "patients.parquet").write_bytes(b"PAR1 not really PAR1")
    page = ROOT / "docs" / "how-to" / f"{name}.md"
    server = tmp_path / "bao"
    server.mkdir()
    with baoserver.running(server) as bao:
        for variable, value in (("BAO_ADDR", bao.address), ("BAO_CACERT", str(bao.ca)), ("BAO_TOKEN", bao.token)):
            monkeypatch.setenv(variable, value)
        monkeypatch.setenv("AUDIT", str(bao.audit))
        monkeypatch.setenv("POLICY", baoserver.root_policy("hermetic"))
        check(page, run([*(Step(command, 0) for command in BEFORE[name]), *steps(page)], folder, home))
