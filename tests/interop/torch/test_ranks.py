"""A distributed checkpoint that two processes write: one version that names what the other rank published."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hermetic.errors import IntegrityError

NAME = "checkpoint/ranks"
CHILD = Path(__file__).with_name("rank_child.py")


@pytest.fixture
def saved(real, tmp_path, monkeypatch):
    """What each rank has said; the run around them is the parent's."""
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    root = Path(__file__).resolve().parents[3]
    paths = os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH")]))
    with real.run("train", purpose="train") as run:
        ranks = [
            subprocess.Popen(
                [sys.executable, str(CHILD), str(rank), "2", str(tmp_path / "meeting")],
                env={**os.environ, "PYTHONPATH": paths},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for rank in (0, 1)
        ]
        ended = [process.communicate(timeout=300) for process in ranks]
    assert [process.returncode for process in ranks] == [0, 0], ended
    return run, [out.strip() for out, _ in ended]


def test_two_ranks_write_one_checkpoint(real, saved, domain):
    run, said = saved
    assert said == [f"{NAME}@1", "none"]
    details = real.show(NAME)
    assert details.labels == (("part", f"{NAME}.rank-1@1"),)
    assert details.run == run.id
    assert real.latest_good(NAME).ref == f"{NAME}@1"
    assert [member.path for member in real.members(NAME)] == [".metadata", "__0_0.distcp"]
    assert [member.path for member in real.members(f"{NAME}.rank-1")] == ["__1_0.distcp"]
    (path,) = (domain / "sealed" / real.show(f"{NAME}.rank-1").version).glob("*.sealed")
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.chmod(0o600)
    path.write_bytes(raw)
    with pytest.raises(IntegrityError, match=f"{NAME}@1 is not what was published"):
        real.latest_good(NAME)
