"""A real domain with rules for plain locations: in the project's folder, and in the place `lake`, which is in memory."""

from __future__ import annotations

import secrets
import shutil
from contextlib import contextmanager
from types import SimpleNamespace

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

import hermetic
from hermetic.assets import locations
from hermetic.domain import config, project
from hermetic.domain.create import create_domain
from hermetic.formats.messages.policy import ApplyPolicy
from hermetic.integrations import process
from hermetic.integrations.sealed_filesystem import SealedFileSystem

SUITES = 24  # assets for fsspec's own tests, in turn: what is on record about one slows it down


def _suites():
    lines = "".join(f"  - {{path: data/suite{n}/**, kind: dataset, class: internal, name: suite{n}}}\n" for n in range(SUITES))
    return lines + "".join(
        f"  - {{path: suite{n}/**, store: lake, kind: dataset, class: internal, name: lake-suite{n}}}\n" for n in range(SUITES)
    )


RULES = """\
rules:
  - {path: data/out/**, kind: dataset, class: confidential, name: out}
  - {path: data/other/**, kind: dataset, class: internal, name: other}
  - {path: each/*, kind: features, class: internal}
  - {path: out/**, store: lake, kind: dataset, class: confidential, name: lake-out}
  - {path: other/**, store: lake, kind: dataset, class: internal, name: lake-other}
  - {asset: features/**, class: internal}
"""


@pytest.fixture(scope="session")
def sealed_template(tmp_path_factory):
    """A folder with `home` and `project`."""
    folder = tmp_path_factory.mktemp("sealed-domain")
    for name in ("home", "project"):
        (folder / name).mkdir(mode=0o700)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HERMETIC_HOME", str(folder / "home"))
        create_domain(folder / "project", provider_uri="local:insecure-file", project_name="clinic")
        path = folder / "project" / "hermetic.yaml"
        text = path.read_text().replace("rules: []\n", RULES + _suites())
        assert "\nstores:\n" in text
        path.write_text(text.replace("\nstores:\n", "\nstores:\n  lake: {kind: named}\n", 1))
        with hermetic.connect(folder / "project") as h:
            h.connection.ask(ApplyPolicy(project.load(folder / "project").bundle().to_bytes()))
    return folder


@contextmanager
def copied(template, folder, *, bucket=None):
    """A fresh domain in `folder`; `lake` is a folder in memory, or a new prefix in `bucket`."""
    shutil.copytree(template, folder)
    lake = f"lake-{secrets.token_hex(6)}"
    if bucket is not None:
        yield _settled(folder, f"s3://{bucket}/{lake}", f"{bucket}/{lake}")
        return
    yield _settled(folder, f"memory://{lake}", f"/{lake}")
    memory = MemoryFileSystem()
    if memory.exists(f"/{lake}"):
        memory.rm(f"/{lake}", recursive=True)


def _settled(folder, url, lake):
    (settings,) = (folder / "home" / "config").iterdir()
    config.save(settings, config.UserConfig(locations={"lake": url}))
    return SimpleNamespace(project=folder / "project", home=folder / "home", lake=lake, settings=settings)


def entered(domain, monkeypatch):
    """Make a domain's project the working folder, and set HERMETIC_HOME."""
    monkeypatch.setenv("HERMETIC_HOME", str(domain.home))
    monkeypatch.chdir(domain.project)


@contextmanager
def fresh_process():
    """Nothing is connected at the beginning, and everything closed at the end."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(process, "_known", {})
        patch.setattr(locations, "_used", {})
        SealedFileSystem.clear_instance_cache()
        yield
        for found in process._known.values():
            found.close()
        SealedFileSystem.clear_instance_cache()


@pytest.fixture
def domain(sealed_template, tmp_path, monkeypatch):
    """The project folder of a fresh domain; it is the working folder."""
    with copied(sealed_template, tmp_path / "domain") as made, fresh_process():
        entered(made, monkeypatch)
        yield made


@pytest.fixture
def h(domain):
    """A workspace on it."""
    with hermetic.connect() as made:
        yield made


@pytest.fixture(params=["file", "memory"])
def ground(request, domain):
    """Where locations are, and folders of two assets there."""
    return ground_in(domain, request.param)


def ground_in(domain, protocol, name="out", **options):
    """`fs` over `plain`, with `base` and `other` for folders of two assets, and `url` to write them by."""
    local = protocol == "file"
    root = domain.project / "data" if local else domain.lake
    return SimpleNamespace(
        fs=fsspec.filesystem("sealed", target_protocol=protocol, target_options=options),
        plain=fsspec.filesystem(protocol, **options),
        base=f"{root}/{name}",
        other=f"{root}/other",
        url=f"sealed::{protocol}://{root}/{name}",
        name=f"dataset/{name}" if local else f"dataset/lake-{name}",
    )
