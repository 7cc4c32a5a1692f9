"""benchmarks/mount.py runs anywhere and says what it does not measure."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from tests.mount.conftest import SECONDS, environment

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "mount.py"


def test_it_prints_a_table_without_gocryptfs(tmp_path):
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("cat", "true"):
        (tools / name).symlink_to(shutil.which(name))
    done = subprocess.run(
        [sys.executable, SCRIPT, "--mib", "2", "--files", "10", "--rounds", "1", "--folder", tmp_path],
        capture_output=True, text=True, check=False, timeout=SECONDS, env=environment(PATH=str(tools)),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "gocryptfs is not measured: it is not installed (apt install gocryptfs fuse3)" in done.stdout
    rows = [line for line in done.stdout.splitlines() if "x plain" in line]
    assert [row[:28].strip() for row in rows] == [
        "cat of the large file", "the same again, kept by the", "list the small files", "read the small files",
    ]  # fmt: skip
    assert [path.name for path in tmp_path.iterdir()] == ["bin"]
