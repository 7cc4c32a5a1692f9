"""The clinic with custody as a service: the demo ends well, leaves nothing running, and the user's own alone.

The demo itself takes more than a minute of processor time: `make interop-service` runs it, and `make test` does not.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

DEMO = Path(__file__).resolve().parents[2] / "examples" / "clinic_service" / "demo.py"
SECONDS = 900
ASKED_FOR = os.environ.get("HERMETIC_INTEROP") == "service"

pytest.importorskip("sklearn")
pytest.importorskip("faker")


@pytest.mark.skipif(not ASKED_FOR, reason="takes more than a minute of processor time: make interop-service")
def test_demo(isolated_environment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = isolated_environment / "own-home"
    monkeypatch.setenv("HERMETIC_HOME", str(own))
    monkeypatch.setenv("HERMETIC_PURPOSE", "debug")  # nothing of the user's environment counts
    done = subprocess.run([sys.executable, DEMO], capture_output=True, text=True, check=False, timeout=SECONDS, env=dict(os.environ))
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    told = done.stdout
    assert "claims hold" in told
    for code in (3, 5, 7):
        assert f"exit code {code}\n" in told
    for claim in (
        "the model is in all three environments",
        "ana does not open the production model, and the refusal is on record",
        "the next request of the scorer is refused, on the connection that it had",
        "the log is whole, and what was kept elsewhere agrees",
    ):
        assert f"holds: {claim}" in told
    assert not own.exists()
    assert not [item for item in isolated_environment.iterdir() if not item.name.startswith(".")]
    (folder,) = set(re.findall(r"/\S*/hermetic-demo-\w+", told))
    assert not Path(folder).exists()
    assert running(folder) == []


def running(word: str) -> list[str]:
    """Return the command lines of processes that name `word`."""
    lines = []
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = place.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:  # it has ended meanwhile
            continue
        if word in line:
            lines.append(line)
    return lines


def test_the_demo_fails_if_something_is_not_as_claimed(isolated_environment: Path) -> None:
    code = (
        "import demo; from machine import Machine, Show; from pathlib import Path\n"
        "Machine('ana', Path('ana')).run('python', '-c', 'exit(5)', expect=3)"
    )
    environment = {**os.environ, "PYTHONPATH": str(DEMO.parent)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=isolated_environment, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "NotAsItMustBe: python -c exit(5) exits with 3, not 5" in done.stderr
