"""S3 servers on loopback for tests: started on a free port with a data folder of their own, stopped by their process id.

    s3_rclone   `rclone serve s3`, a server that stores files in a folder. It knows no conditions: `If-None-Match` and `If-Match`
                are ignored, and what it says of an object that came in parts (tag, metadata) changes once
    s3_moto     moto's server, an imitation of Amazon's in memory, which keeps conditions
    s3_server   both, one after the other

Each gives a `Served`: address, bucket, and a folder whose files show what was stored (None where there is none). Credentials are in
the environment while the fixture lives, where boto3 finds them. Needs the packages of environments/s3.txt.
"""

from __future__ import annotations

import os
import re
import secrets
import subprocess
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, Queue
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

BUCKET = "bucket"
_START = 60  # seconds that a server may take to say where it listens
_ADDRESS = re.compile(r"http://127\.0\.0\.1:([0-9]+)")


@dataclass(frozen=True)
class Served:
    """A server that runs."""

    kind: str
    endpoint: str
    bucket: str
    folder: Path | None
    conditions: bool
    pid: int

    def settings(self, prefix: str = "hermetic") -> str:
        """What stands in config.yaml for a store here."""
        return f"{{kind: s3, bucket: {self.bucket}, prefix: {prefix}, endpoint: {self.endpoint!r}}}"


@contextmanager
def rclone(folder: Path) -> Iterator[Served]:
    """Serve a folder; the credentials are those of the environment."""
    data = folder / "rclone"
    (data / BUCKET).mkdir(parents=True)
    program = Path(sys.prefix) / "bin" / "rclone"
    keys = f'"{os.environ["AWS_ACCESS_KEY_ID"]},{os.environ["AWS_SECRET_ACCESS_KEY"]}"'
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "RCLONE_AUTH_KEY": keys, "TMPDIR": str(folder)}
    words = ["serve", "s3", str(data), "--addr", "127.0.0.1:0", "--config", ""]
    with _running([str(program), *words], environment, folder) as (process, port):
        yield Served("rclone", f"http://127.0.0.1:{port}", BUCKET, data / BUCKET, conditions=False, pid=process)


@contextmanager
def moto(folder: Path) -> Iterator[Served]:
    """Serve from memory."""
    program = Path(sys.prefix) / "bin" / "moto_server"
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONUNBUFFERED": "1"}
    with _running([str(program), "-H", "127.0.0.1", "-p", "0"], environment, folder) as (process, port):
        served = Served("moto", f"http://127.0.0.1:{port}", BUCKET, None, conditions=True, pid=process)
        client(served).create_bucket(Bucket=BUCKET)
        yield served


@contextmanager
def _running(command: list[str], environment: dict[str, str], folder: Path) -> Iterator[tuple[int, int]]:
    """Run a server until the block ends; yield its process id and port, which it tells on its output."""
    with subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        said: Queue[str] = Queue()
        reader = threading.Thread(target=lambda: [said.put(line) for line in process.stdout])
        reader.start()
        try:
            yield process.pid, _port(said)
        finally:
            process.terminate()
            process.wait(_START)
            reader.join()


def _port(said: Queue[str]) -> int:
    told = ""
    while True:
        try:
            line = said.get(timeout=_START)
        except Empty:
            pytest.fail(f"the server does not say where it listens: {told}")
        told += line
        found = _ADDRESS.search(line)
        if found and found[1] != "0":
            return int(found[1])


def client(served: Served):
    """Return boto3's own client, to see what is stored."""
    import boto3
    from botocore.config import Config

    config = Config(s3={"addressing_style": "path"}, request_checksum_calculation="when_required")
    return boto3.session.Session().client("s3", endpoint_url=served.endpoint, region_name="us-east-1", config=config)


@contextmanager
def credentials() -> Iterator[None]:
    """Put random ones where boto3 looks first, and keep it from asking a cloud's metadata service."""
    given = {
        "AWS_ACCESS_KEY_ID": f"id{secrets.token_hex(8)}",
        "AWS_SECRET_ACCESS_KEY": secrets.token_hex(20),
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in given.items():
            patch.setenv(name, value)
        for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
            patch.delenv(name, raising=False)
        yield


@pytest.fixture
def s3_rclone(tmp_path_factory):
    """A server that stores files."""
    with credentials(), rclone(tmp_path_factory.mktemp("rclone")) as served:
        yield served


@pytest.fixture
def s3_moto(tmp_path_factory):
    """A server that keeps conditions."""
    with credentials(), moto(tmp_path_factory.mktemp("moto")) as served:
        yield served


@pytest.fixture(params=["s3_rclone", "s3_moto"])
def s3_server(request):
    """Either."""
    return request.getfixturevalue(request.param)


def use_bucket(project: Path, served: Served, *, prefix: str = "hermetic") -> None:
    """Let the development environment of a project keep its objects in the bucket: store `lake`, in force.

    The project is one that `hermetic init` made, and HERMETIC_HOME is set.
    """
    import hermetic
    from hermetic.domain import project as projects
    from hermetic.formats.messages.policy import ApplyPolicy

    rules = project / "hermetic.yaml"
    text = rules.read_text(encoding="utf-8")
    text = text.replace("  sealed: {kind: local, path: sealed}\n", "  lake: {kind: named}\n")
    rules.write_text(text.replace("development: {store: sealed}", "development: {store: lake}"), encoding="utf-8")
    (settings,) = Path(os.environ["HERMETIC_HOME"], "config").glob("*/config.yaml")
    with settings.open("a", encoding="utf-8") as file:
        file.write(f"stores:\n  lake: {served.settings(prefix)}\n")
    with hermetic.connect(project) as h:
        h.connection.ask(ApplyPolicy(projects.load(project).bundle().to_bytes()))
