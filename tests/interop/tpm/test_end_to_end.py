"""A domain whose root is sealed by a TPM: read by another process while the machine is as it was, and not afterwards."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import hermetic
from hermetic.domain.create import create_domain
from hermetic.errors import KeyServiceUnavailable

HERMETIC = str(Path(sys.prefix) / "bin" / "hermetic")
URI = "tpm:sha256:7"


def command(*words, code=0):
    done = subprocess.run([HERMETIC, *words], capture_output=True, check=False, stdin=subprocess.DEVNULL)
    assert done.returncode == code, done.stderr.decode()
    return done


@pytest.fixture
def project(tmp_path, monkeypatch):
    for name in ("custody", "project"):
        (tmp_path / name).mkdir(mode=0o700)
    monkeypatch.setenv("HERMETIC_HOME", str(tmp_path / "custody"))
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path / "project"


def test_sealed_here_and_read_by_another_process(project, tpm):
    create_domain(project, provider_uri=URI, project_name="clinic", settings=tpm.settings)
    data = os.urandom(300_000)
    with hermetic.connect() as h:
        h.seal(data, name="dataset/patients", data_class="restricted", owner="ana")
    assert command("cat", "dataset/patients", "--purpose", "prepare").stdout == data
    tpm.extend(7)
    refused = command("cat", "dataset/patients", "--purpose", "prepare", code=6).stderr
    assert b"changed: 7 (Secure Boot: its state and keys)" in refused
    assert b"hint: " in refused
    with pytest.raises(KeyServiceUnavailable):
        hermetic.connect()
    tpm.stop()
    assert b"TPM cannot be used" in command("cat", "dataset/patients", "--purpose", "prepare", code=6).stderr
    tpm.start()
    assert command("cat", "dataset/patients", "--purpose", "prepare").stdout == data


def test_a_copy_of_everything_opens_nothing_on_another_machine(project, tpm, tmp_path):
    from tests.interop.tpm.swtpm import SoftTpm

    create_domain(project, provider_uri=URI, project_name="clinic", settings=tpm.settings)
    other = SoftTpm(tmp_path / "other")
    other.start()
    try:
        (config,) = (tmp_path / "custody").rglob("config.yaml")
        config.write_text(config.read_text().replace(str(tpm.port), str(other.port)))
        assert b"this TPM did not seal root" in command("ls", code=6).stderr
    finally:
        other.stop()


def test_by_the_command_line_alone(project, tpm):
    command("init", "--root", URI, "--project", "clinic", "--root-setting", f"tcti={tpm.tcti}")
    (project / "x.csv").write_bytes(b"id,age\n1,44\n")
    command("seal", "x.csv", "--as", "dataset/x", "--class", "restricted")
    assert command("cat", "dataset/x", "--purpose", "prepare").stdout == b"id,age\n1,44\n"
