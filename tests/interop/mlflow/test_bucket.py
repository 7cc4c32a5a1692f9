"""hermetic+s3: artifacts of a real MLflow sealed in a bucket of a server that stores files."""

from __future__ import annotations

import secrets

import fsspec
import mlflow
import pytest

from hermetic.errors import IntegrityError
from hermetic.integrations.mlflow import keep_in_memory
from tests.interop.mlflow.work import everything_logged, names_below
from tests.interop.s3server import s3_rclone  # noqa: F401 - a fixture


@pytest.fixture
def bucket(client, s3_rclone, monkeypatch):  # noqa: F811
    """An experiment in the bucket, whose folder on the server's disk it returns."""
    monkeypatch.setenv("MLFLOW_S3_ENDPOINT_URL", s3_rclone.endpoint)
    for name in ("AWS_REQUEST_CHECKSUM_CALCULATION", "AWS_RESPONSE_CHECKSUM_VALIDATION"):
        monkeypatch.setenv(name, "when_required")  # this server gives the whole file's checksum with a part of it
    name = f"runs-{secrets.token_hex(4)}"
    mlflow.set_experiment(experiment_id=mlflow.create_experiment(name, artifact_location=f"hermetic+s3://bucket/mlflow/{name}"))
    yield s3_rclone.folder / "mlflow" / name
    fsspec.get_filesystem_class("s3").clear_instance_cache()


def test_there_and_back(bucket, traces):
    with keep_in_memory():
        run = everything_logged(traces, bucket.name)
        assert [item.path for item in mlflow.MlflowClient().list_artifacts(run.info.run_id)] == ["dict.json", "notes"]
        stored = [name for name in names_below(bucket) if not name.endswith(".manifest.json")]
        assert len(stored) == 7
        assert all((bucket / name).read_bytes().startswith(b"HERMETIC") for name in stored)
        text = next(bucket / name for name in stored if name.endswith("text.txt"))
        content = bytearray(text.read_bytes())
        content[len(content) // 2] ^= 1
        text.write_bytes(content)
        with pytest.raises(IntegrityError):
            mlflow.artifacts.load_text(f"{run.info.artifact_uri}/notes/text.txt")
    assert traces.found() == []
