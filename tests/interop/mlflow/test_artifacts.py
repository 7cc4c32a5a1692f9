"""Artifacts and models of a real MLflow client against its real server: sealed where they lie, and in plaintext nowhere."""

from __future__ import annotations

import errno
import os
import secrets
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import mlflow
import pytest
import requests
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from hermetic.errors import Denied, FormatError, HermeticError, IntegrityError, NotFound, PolicyDenied, StorageError, UsageError
from hermetic.integrations.mlflow import keep_in_memory
from tests.interop.mlflow.work import everything_logged, logged, names_below


def test_logged_registered_and_loaded_with_nothing_left(nothing_left, traces, experiment, plain_experiment):
    names = [f"risk-{secrets.token_hex(4)}" for _ in range(2)]

    def plain():
        plain_experiment()
        everything_logged(traces, names[0])

    def sealed():
        made = experiment()
        with keep_in_memory():
            everything_logged(traces, names[1])
        found = names_below(made.folder)
        assert sum(name.endswith(".manifest.json") for name in found) * 2 == len(found)
        assert any(name.endswith("/model.skops") for name in found)
        for name in found:
            if not name.endswith(".manifest.json"):
                assert (made.folder / name).read_bytes().startswith(b"HERMETIC")

    nothing_left(plain=plain, sealed=sealed)


def test_one_call_is_one_version(traces, experiment, h):
    experiment()
    with keep_in_memory(), mlflow.start_run():
        mlflow.log_text(traces.text, "a.txt")
        before = h.show("model/runs").number
        logged(traces)
    after = h.show("model/runs")
    assert after.number == before + 1
    files = {member.path.rpartition("/")[2] for member in after.members}
    assert {"MLmodel", "model.skops", "requirements.txt"} <= files
    assert h.verify("model/runs").objects == len(after.members)


def test_what_was_on_a_disk_first_is_refused_and_nothing_logged(traces, experiment, caplog):
    made = experiment()
    with mlflow.start_run():
        with pytest.raises(UsageError, match="written to a disk in plaintext") as refused:
            mlflow.log_text(traces.text, "a.txt")
        assert "hermetic run" in refused.value.hint
        with pytest.raises(UsageError, match="written to a disk in plaintext"):
            logged(traces)
    assert not made.folder.exists()
    assert "written to a disk" in caplog.text
    assert traces.found() == []


def test_a_file_of_ones_own_and_a_folder(traces, experiment, tmp_path):
    made = experiment()
    mine = tmp_path / "results"
    (mine / "deep").mkdir(parents=True)
    (mine / "a.csv").write_text(traces.text)
    (mine / "deep" / "b.bin").write_bytes(traces.raw * 400_000)
    with mlflow.start_run() as run:
        mlflow.log_artifact(mine / "a.csv", "one")
        mlflow.log_artifacts(mine, "all")
        listed = mlflow.MlflowClient().list_artifacts(run.info.run_id, "all")
    assert [(item.path, item.is_dir, item.file_size) for item in listed] == [
        ("all/a.csv", False, len(traces.raw)), ("all/deep", True, None),
    ]  # fmt: skip
    assert {name for name in names_below(made.folder) if not name.endswith("json")} == {
        f"{run.info.run_id}/artifacts/{name}" for name in ("one/a.csv", "all/a.csv", "all/deep/b.bin")
    }
    copy = Path(mlflow.artifacts.download_artifacts(f"{run.info.artifact_uri}/all"))
    assert (copy / "deep" / "b.bin").read_bytes() == traces.raw * 400_000
    (mine / "a.csv").unlink()
    (mine / "deep" / "b.bin").unlink()
    assert traces.found() == []


def test_downloads_without_a_folder_are_gone_with_the_process(traces, experiment, world):
    experiment()
    with keep_in_memory(), mlflow.start_run():
        info = logged(traces)
    code = (
        "import sys, mlflow\n"
        "assert list(mlflow.sklearn.load_model(sys.argv[1]).predict([[0.0]])) == [sys.argv[2]]\n"
        "print(mlflow.artifacts.download_artifacts(sys.argv[1]))\n"
    )
    done = subprocess.run([sys.executable, "-c", code, info.model_uri, traces.text], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    folder = done.stdout.strip().splitlines()[-1]
    assert folder.startswith("/dev/shm/hermetic-")
    assert not Path(folder).exists()
    assert traces.found() == []


def test_a_download_to_a_disk_is_refused(traces, experiment, tmp_path):
    experiment()
    with keep_in_memory(), mlflow.start_run() as run:
        mlflow.log_text(traces.text, "a.txt")
        uri = f"{run.info.artifact_uri}/a.txt"
        inside = Path(mlflow.artifacts.download_artifacts(uri, dst_path=os.environ["TMPDIR"]))
        assert inside.read_text() == traces.text
        with pytest.raises(UsageError, match="plaintext on a disk") as refused:
            mlflow.artifacts.download_artifacts(uri, dst_path=str(tmp_path / "here"))
    assert "hermetic expose" in refused.value.hint
    with pytest.raises(UsageError, match="plaintext on a disk"):
        mlflow.artifacts.load_text(uri)
    assert traces.found() == []


def test_an_unchanged_script_under_hermetic_run(traces, experiment, world, h):
    made = experiment()
    script = world.project / f"{made.name}.py"
    script.write_text(
        "import sys, mlflow\n"
        "from sklearn.dummy import DummyClassifier\n"
        "mlflow.set_experiment(sys.argv[1])\n"
        "model = DummyClassifier(strategy='constant', constant=sys.argv[2]).fit([[0.0], [1.0]], [sys.argv[2], 'other'])\n"
        "with mlflow.start_run():\n"
        "    needs = ['scikit-learn']\n"
        "    mlflow.sklearn.log_model(model, name='model', registered_model_name=sys.argv[1], pip_requirements=needs)\n"
        "    mlflow.log_text(sys.argv[2], 'a.txt')\n"
        "assert list(mlflow.sklearn.load_model(f'models:/{sys.argv[1]}/1').predict([[0.0]])) == [sys.argv[2]]\n"
    )
    command = [
        Path(sys.prefix) / "bin" / "hermetic",
        "run",
        "fit",
        "--purpose",
        "train",
        "--",
        sys.executable,
        script,
        made.name,
        traces.text,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert h.show("model/runs").run is not None
    assert "/model.skops" in "".join(names_below(made.folder))
    assert traces.found() == []


def test_refusals_are_ours(traces, experiment, monkeypatch):
    experiment("restricted")
    with keep_in_memory(), mlflow.start_run() as run:
        mlflow.log_text(traces.text, "case.txt")
        info = logged(traces)
        uri = f"{run.info.artifact_uri}/case.txt"
        monkeypatch.setenv("HERMETIC_PURPOSE", "debug")
        with pytest.raises(PolicyDenied, match="no-restricted-debug"):
            mlflow.artifacts.load_text(uri)
        with pytest.raises(PolicyDenied):
            mlflow.sklearn.load_model(info.model_uri)
        monkeypatch.delenv("HERMETIC_PURPOSE")
        with pytest.raises(PolicyDenied, match="declared purpose"):
            mlflow.artifacts.load_text(uri)
        with pytest.raises(NotFound):
            mlflow.artifacts.download_artifacts(f"{run.info.artifact_uri}/nothing.txt")


def test_without_custody_there_is_nothing_to_read(traces, experiment, tmp_path, monkeypatch):
    """Somebody with the project, all sealed files and the server, and a custody of their own."""
    experiment()
    with keep_in_memory(), mlflow.start_run():
        info = logged(traces)
        theirs = tmp_path / "theirs"
        theirs.mkdir(mode=0o700)
        monkeypatch.setenv("HERMETIC_HOME", str(theirs))
        with pytest.raises(HermeticError) as refused:
            mlflow.sklearn.load_model(info.model_uri)
        assert isinstance(refused.value, Denied | NotFound), refused.value
    assert traces.found() == []


def test_what_was_changed_or_exchanged_is_refused(traces, experiment):
    made = experiment()
    with keep_in_memory(), mlflow.start_run() as run:
        infos = [logged(traces, f"model{n}") for n in range(3)]
        mlflow.log_text(traces.text, "a.txt")
        objects = sorted(made.folder.glob("models/*/artifacts/model.skops"), key=lambda path: path.stat().st_mtime_ns)
        content = bytearray(objects[0].read_bytes())
        content[len(content) // 2] ^= 1
        objects[0].write_bytes(content)
        objects[1].write_bytes(objects[2].read_bytes())
        for info in infos[:2]:
            with pytest.raises(IntegrityError):
                mlflow.sklearn.load_model(info.model_uri)
        mlflow.sklearn.load_model(infos[2].model_uri)
        (made.folder / run.info.run_id / "artifacts" / "a.txt").write_text("not what was logged")
        with pytest.raises(FormatError):
            mlflow.artifacts.load_text(f"{run.info.artifact_uri}/a.txt")


def test_a_failed_folder_leaves_nothing(traces, experiment, tmp_path, monkeypatch):
    made = experiment()
    (tmp_path / "results").mkdir()
    for name in ("a.txt", "b.txt"):
        (tmp_path / "results" / name).write_text("x")
    (tmp_path / "results" / "c.txt").symlink_to("a.txt")
    with mlflow.start_run() as run:
        with pytest.raises(UsageError, match="symbolic link"):
            mlflow.log_artifacts(tmp_path / "results")
        assert mlflow.MlflowClient().list_artifacts(run.info.run_id) == []
    assert not made.folder.exists()


def test_a_download_that_memory_has_no_room_for(traces, experiment, monkeypatch):
    experiment()

    def full(self, path, target, **_):
        Path(target).write_text("a beginning")
        raise OSError(errno.ENOSPC, "No space left on device")

    with keep_in_memory(), mlflow.start_run() as run:
        mlflow.log_text(traces.text, "a.txt")
        monkeypatch.setattr("hermetic.integrations.sealed_filesystem.SealedFileSystem.get_file", full)
        with pytest.raises(StorageError, match="No space left") as refused:
            mlflow.artifacts.download_artifacts(f"{run.info.artifact_uri}/a.txt")
        assert "/dev/shm" in refused.value.hint
        assert list(Path(os.environ["TMPDIR"]).rglob("a.txt")) == []


def test_threads_that_log_at_once(experiment, tmp_path):
    experiment()
    for n in range(8):
        (tmp_path / f"{n}.txt").write_text(str(n))
    with mlflow.start_run() as run:
        asking = mlflow.MlflowClient()
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda n: asking.log_artifact(run.info.run_id, tmp_path / f"{n}.txt", f"part{n % 2}"), range(8)))
        for n in range(8):
            path = mlflow.artifacts.download_artifacts(f"{run.info.artifact_uri}/part{n % 2}/{n}.txt")
            assert Path(path).read_text() == str(n)


def test_the_server_lists_and_gives_no_content(traces, experiment, server):
    experiment()
    with keep_in_memory(), mlflow.start_run() as run:
        mlflow.log_text(traces.text, "notes/a.txt")
    asked = {"run_id": run.info.run_id}
    answer = requests.get(f"{server.url}/api/2.0/mlflow/artifacts/list", params={**asked, "path": "notes"}, timeout=60)
    assert answer.json()["files"] == [{"path": "notes/a.txt", "is_dir": False, "file_size": str(len(traces.raw))}] or (
        answer.json()["files"] == [{"path": "notes/a.txt", "is_dir": False, "file_size": len(traces.raw)}]
    )
    content = requests.get(f"{server.url}/get-artifact", params={**asked, "path": "notes/a.txt"}, timeout=60)
    assert traces.text not in content.text
    assert content.status_code >= 400


def test_what_is_deleted_is_gone_and_the_rest_stays(traces, experiment, h):
    made = experiment()
    with keep_in_memory(), mlflow.start_run() as run:
        for name in ("a/1.txt", "a/2.txt", "b.txt"):
            mlflow.log_text(traces.text, name)
        before = h.show("model/runs").number
        repository = get_artifact_repository(run.info.artifact_uri)
        repository.delete_artifacts("a/1.txt")
        assert [item.path for item in repository.list_artifacts("a")] == ["a/2.txt"]
        repository.delete_artifacts("a")
        assert [item.path for item in repository.list_artifacts()] == ["b.txt"]
        repository.delete_artifacts()
        assert repository.list_artifacts() == []
        repository.delete_artifacts("a")
        repository.delete_artifacts()
    assert names_below(made.folder) == []
    assert h.show("model/runs").number == before


def test_automatic_logging(traces, experiment):
    from sklearn.tree import DecisionTreeClassifier

    made = experiment()
    with keep_in_memory():
        mlflow.sklearn.autolog(log_datasets=False)
        try:
            with mlflow.start_run() as run:
                DecisionTreeClassifier().fit([[0.0], [1.0], [2.0], [3.0]], [traces.text, "other"] * 2)
        finally:
            mlflow.sklearn.autolog(disable=True)
    assert any(name.endswith(("/model.skops", "/model.pkl")) for name in names_below(made.folder)), run.info.run_id
    assert traces.found() == []


def test_spans_of_traces_pass_through_no_file(traces, experiment):
    made = experiment()
    with mlflow.start_run() as run:
        repository = get_artifact_repository(run.info.artifact_uri)
        repository.upload_trace_data(f'{{"spans": ["{traces.text}"]}}')
        assert repository.download_trace_data() == {"spans": [traces.text]}
        attachment = "123e4567-e89b-42d3-a456-426614174000"
        repository.upload_attachment(attachment, traces.raw)
        assert repository.download_trace_attachment(attachment) == traces.raw
        repository.upload_archived_trace_data_bytes(traces.raw)
    assert len(names_below(made.folder)) == 6
    assert traces.found() == []
