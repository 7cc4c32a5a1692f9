"""The how-to that needs a token, run on SoftHSM."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.docs.conftest import folder, home  # noqa: F401 - fixtures
from tests.docs.pages import ROOT, check, run, steps

NAME = "root-in-an-hsm"


def test_how_to(hsm, folder, isolated_environment):  # noqa: F811
    words = ["--init-token", "--free", "--label", "team", "--so-pin", "12345678", "--pin", hsm.pin]
    subprocess.run(["softhsm2-util", *words], check=True, capture_output=True)
    pin = Path(isolated_environment, "pin")
    pin.touch(mode=0o600)
    pin.write_text(hsm.pin + "\n")
    (folder / "patients.parquet").write_bytes(b"PAR1" + bytes(5000) + b"PAR1")
    page = ROOT / "docs" / "how-to" / f"{NAME}.md"
    check(page, run(steps(page), folder, isolated_environment / "hermetic-home"))
