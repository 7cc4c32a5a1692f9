"""A real `mlflow server`, started once in a real domain that the tests share; every test has an experiment of its own.

The server stores artifacts of its own in a folder apart (`mlflow-artifacts:`), which is the plain way that controls take: a client
downloads from there into its temporary folder. Its database holds parameters and names in plaintext, and is not searched.
"""

from __future__ import annotations

import os
import re
import secrets
import signal
import subprocess
import sys
import threading
from pathlib import Path
from queue import Empty, Queue
from types import SimpleNamespace

import mlflow
import pytest

import hermetic
from hermetic.domain import config, project
from hermetic.domain.create import create_domain
from hermetic.formats.messages.policy import ApplyPolicy
from hermetic.integrations import process
from tests.interop.traces import Traces

_START = 300  # seconds that a server may take: it makes its tables first
_LISTENS = re.compile(r"running on (http://127\.0\.0\.1:[1-9][0-9]*)")
_QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", "GIT_PYTHON_REFRESH": "quiet"}
RULES = """\
rules:
  - {path: mlruns/**, kind: model, class: confidential, name: runs}
  - {path: restricted/**, kind: model, class: restricted, name: cases}
  - {path: mlflow/**, store: lake, kind: model, class: confidential, name: lake-runs}
"""


def pytest_collection_modifyitems(items):
    """What these libraries warn about in each other is not ours."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings("ignore"))


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    """`home` and `project` of a domain that all tests share, since the server lives in it; `lake` is a bucket."""
    folder = tmp_path_factory.mktemp("mlflow-domain")
    for name in ("home", "project"):
        (folder / name).mkdir(mode=0o700)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HERMETIC_HOME", str(folder / "home"))
        create_domain(folder / "project", provider_uri="local:insecure-file", project_name="clinic")
        path = folder / "project" / "hermetic.yaml"
        text = path.read_text().replace("rules: []\n", RULES)
        path.write_text(text.replace("\nstores:\n", "\nstores:\n  lake: {kind: named}\n", 1))
        with hermetic.connect(folder / "project") as h:
            h.connection.ask(ApplyPolicy(project.load(folder / "project").bundle().to_bytes()))
    (settings,) = (folder / "home" / "config").iterdir()
    config.save(settings, config.UserConfig(locations={"lake": "s3://bucket"}))
    return SimpleNamespace(root=folder, home=folder / "home", project=folder / "project")


@pytest.fixture(scope="session")
def server(world, tmp_path_factory):
    """The address of `mlflow server`, which runs inside the project; stopped by its process group."""
    folder = tmp_path_factory.mktemp("mlflow-server")
    (folder / "temporary").mkdir()
    environment = {
        **os.environ, **_QUIET, "HERMETIC_HOME": str(world.home), "HOME": str(folder), "PYTHONUNBUFFERED": "1",
        "TMPDIR": str(folder / "temporary"),
    }  # fmt: skip
    command = [Path(sys.prefix) / "bin" / "mlflow", "server", "--host", "127.0.0.1", "--port", "0", "--workers", "1",
               "--backend-store-uri", f"sqlite:///{folder}/tracking.db", "--artifacts-destination", folder / "plain"]  # fmt: skip
    running = subprocess.Popen(
        command,
        cwd=world.project,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    said: Queue[str] = Queue()
    reader = threading.Thread(target=lambda: [said.put(line) for line in running.stdout])
    reader.start()
    try:
        yield SimpleNamespace(url=_address(said), folder=folder, said=said)
    finally:
        os.killpg(running.pid, signal.SIGTERM)
        running.wait(_START)
        reader.join()
        running.stdout.close()


def _address(said):
    told = ""
    while True:
        try:
            line = said.get(timeout=_START)
        except Empty:
            pytest.fail(f"the server does not say where it listens: {told}")
        told += line
        if found := _LISTENS.search(line):
            return found[1]


@pytest.fixture
def traces(isolated_environment, tmp_path, world, monkeypatch):
    """As the one of all interop tests, with the domain's folders searched too, and the project as the working folder."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.chdir(world.project)
    return Traces((isolated_environment, tmp_path, world.root))


@pytest.fixture
def client(world, server, traces, monkeypatch):
    """MLflow in this process, with its server and the domain; purpose train."""
    for name, value in {**_QUIET, "HERMETIC_HOME": str(world.home), "HERMETIC_PURPOSE": "train"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(process, "_known", {})
    mlflow.set_tracking_uri(server.url)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.url)
    yield mlflow.MlflowClient()
    while mlflow.active_run():
        mlflow.end_run()
    for found in process._known.values():
        found.close()


@pytest.fixture
def experiment(client, world):
    """Make an experiment whose artifacts are sealed below a folder of the project, and make it the current one."""

    def make(under="mlruns"):
        name = f"{under}-{secrets.token_hex(4)}"
        mlflow.set_experiment(
            experiment_id=mlflow.create_experiment(name, artifact_location=f"hermetic+file://{world.project}/{under}/{name}")
        )
        return SimpleNamespace(name=name, folder=world.project / under / name)

    return make


@pytest.fixture
def plain_experiment(client):
    """The same with artifacts that the server takes and stores as they are."""

    def make():
        name = f"plain-{secrets.token_hex(4)}"
        mlflow.set_experiment(experiment_id=mlflow.create_experiment(name))
        return name

    return make


@pytest.fixture
def h(client, world):
    with hermetic.connect(world.project) as made:
        yield made
