"""The how-to that needs a TPM, run on swtpm: its device is replaced by the program's address."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from hermetic.errors import HermeticError
from hermetic.providers import kernel_keyring
from tests.docs.conftest import folder, home  # noqa: F401 - fixtures
from tests.docs.pages import ROOT, check, run, steps

NAME = "root-in-a-tpm"


def test_how_to(tpm, folder, isolated_environment, monkeypatch):  # noqa: F811
    try:
        kernel_keyring.unlocked()
    except HermeticError:
        pytest.skip("the kernel keyring is not available here")
    monkeypatch.setenv("TPM2TOOLS_TCTI", tpm.tcti)
    (folder / "patients.parquet").write_bytes(b"PAR1" + bytes(5000) + b"PAR1")
    page = ROOT / "docs" / "how-to" / f"{NAME}.md"
    custody = isolated_environment / "hermetic-home"
    try:
        check(page, run([reached(step, tpm.tcti) for step in steps(page)], folder, custody))
    finally:  # the kernel keyring is the user's own
        environment = {**os.environ, "HERMETIC_HOME": str(custody)}
        subprocess.run([Path(sys.prefix, "bin", "hermetic"), "lock"], cwd=folder, env=environment, check=False, capture_output=True)


def reached(step, tcti):
    """Say where the TPM is, in the commands that make a root."""
    command = step.command.replace("init --root tpm:", f"init --root-setting tcti={tcti} --root tpm:")
    return replace(step, command=command.replace("root add tpm:", f"root add --setting tcti={tcti} tpm:"))
