"""A real domain for tests: made once a session, copied for each test that asks for it."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

import hermetic
from hermetic.domain import project
from hermetic.domain.create import create_domain
from hermetic.formats.messages.policy import ApplyPolicy

RULES = """\
rules:
  - {path: data/*.csv, kind: dataset, class: confidential, owner: ana}
  - {asset: features/**, class: internal}
  - {asset: model/**, class: internal}
"""


@pytest.fixture(scope="session")
def domain_template(tmp_path_factory):
    """Return a folder with `home` and `project`."""
    folder = tmp_path_factory.mktemp("domain")
    for name in ("home", "project"):
        (folder / name).mkdir(mode=0o700)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HERMETIC_HOME", str(folder / "home"))
        create_domain(folder / "project", provider_uri="local:insecure-file", project_name="clinic")
        text = (folder / "project" / "hermetic.yaml").read_text()
        (folder / "project" / "hermetic.yaml").write_text(text.replace("rules: []\n", RULES))
        with hermetic.connect(folder / "project") as h:
            h.connection.ask(ApplyPolicy(project.load(folder / "project").bundle().to_bytes()))
    return folder


@pytest.fixture
def domain(domain_template, tmp_path, monkeypatch):
    """Return the project folder of a fresh domain; it is the working folder, and HERMETIC_HOME is set."""
    shutil.copytree(domain_template, tmp_path / "domain")
    monkeypatch.setenv("HERMETIC_HOME", str(tmp_path / "domain" / "home"))
    monkeypatch.chdir(tmp_path / "domain" / "project")
    return tmp_path / "domain" / "project"


@pytest.fixture
def real(domain):
    """Return a workspace on that domain."""
    with hermetic.connect() as h:
        yield h


def python(code, *arguments, **more):
    """Start a Python process on `code` and return it."""
    return subprocess.Popen([sys.executable, "-c", code, *map(str, arguments)], **more)
