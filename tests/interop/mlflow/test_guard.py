"""A server whose database somebody has changed: plain locations are refused before anything is sent or loaded."""

from __future__ import annotations

import subprocess
import sys

from hermetic.integrations.mlflow import keep_in_memory
from tests.interop.mlflow.work import logged

ASKED = """
import sys, mlflow
from hermetic.errors import UsageError
from hermetic.integrations.mlflow import keep_in_memory, refuse_plain_artifacts

sealed, plain, model, folder, text = sys.argv[1:]
keep_in_memory()
refuse_plain_artifacts()
refuse_plain_artifacts()
print(mlflow.sklearn.load_model(model).predict([[0.0]])[0] == text)
for uri in (f"file://{folder}/model", f"{folder}/model", "s3://bucket/model", "http://127.0.0.1:9/model"):
    try:
        mlflow.pyfunc.load_model(uri)
    except UsageError as error:
        print("refused", "plain location" in str(error))
for name in (plain, sealed):
    mlflow.set_experiment(name)
    with mlflow.start_run():
        try:
            mlflow.log_text(text, "a.txt")
            print("logged", name == sealed)
        except UsageError as error:
            print("refused", "plain location" in str(error))
"""


def test_plain_locations_are_refused(traces, experiment, plain_experiment, tmp_path, server):
    made = experiment()
    with keep_in_memory():
        info = logged(traces)
    (tmp_path / "model").mkdir()
    arguments = [made.name, plain_experiment(), info.model_uri, tmp_path, traces.text]
    done = subprocess.run([sys.executable, "-c", ASKED, *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = [line for line in done.stdout.splitlines() if not line.startswith(("\U0001f3c3", "\U0001f9ea"))]
    assert told == ["True", *["refused True"] * 5, "logged True"]
    assert traces.found() == []
    stored = [path for path in (server.folder / "plain").rglob("a.txt") if traces.raw in path.read_bytes()]
    assert stored == []
