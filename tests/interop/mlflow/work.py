"""What these tests log with MLflow: things that hold the marker."""

from __future__ import annotations

import mlflow
from sklearn.dummy import DummyClassifier

ROWS = [[0.0], [1.0]]


def trained(traces):
    """A model that predicts the marker, and so holds it."""
    return DummyClassifier(strategy="constant", constant=traces.text).fit(ROWS, [traces.text, "other"])


def logged(traces, name="model"):
    """Log it without having MLflow find out what it needs, which takes another process and seconds."""
    return mlflow.sklearn.log_model(trained(traces), name=name, pip_requirements=["scikit-learn"])


def names_below(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def everything_logged(traces, registered):
    """Log each kind of artifact, register a model, load it and others back."""
    with mlflow.start_run() as run:
        mlflow.log_text(traces.text, "notes/text.txt")
        mlflow.log_dict({"marker": traces.text}, "dict.json")
        info = mlflow.sklearn.log_model(trained(traces), name="model", registered_model_name=registered)
    assert list(mlflow.sklearn.load_model(f"models:/{registered}/1").predict(ROWS)) == [traces.text] * 2
    assert list(mlflow.pyfunc.load_model(info.model_uri).predict(ROWS)) == [traces.text] * 2
    assert mlflow.artifacts.load_text(f"{run.info.artifact_uri}/notes/text.txt") == traces.text
    assert mlflow.artifacts.load_dict(f"runs:/{run.info.run_id}/dict.json") == {"marker": traces.text}
    return run
