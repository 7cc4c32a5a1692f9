"""Another program as a run: exit codes, signals, limits."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import pytest

from hermetic.assets.launching import launch
from hermetic.errors import NotFound, Unsupported, UsageError


def nothing():
    """Do nothing between fork and exec."""


def python(code):
    return launch([sys.executable, "-c", code], os.environ, nothing)


def test_exit_codes_are_passed_on():
    assert python("raise SystemExit(0)") == 0
    assert python("raise SystemExit(37)") == 37
    assert python("import os, signal; os.kill(os.getpid(), signal.SIGKILL)") == 128 + 9


def test_no_core_dumps():
    assert python("import resource; assert resource.getrlimit(resource.RLIMIT_CORE) == (0, 0)") == 0


def test_only_the_environment_that_was_given(monkeypatch):
    monkeypatch.setenv("SEEN", "no")
    assert launch([sys.executable, "-c", "import os; assert 'SEEN' not in os.environ"], {"PATH": os.environ["PATH"]}, nothing) == 0


def test_what_cannot_start():
    with pytest.raises(NotFound) as caught:
        launch(["no-such-program-here"], os.environ, nothing)
    assert "the run's name comes first" in caught.value.hint
    with pytest.raises(NotFound) as caught:
        launch(["echo hi | cat"], os.environ, nothing)
    assert caught.value.hint == "a whole command line needs a shell: -- sh -c 'echo hi | cat'"
    with pytest.raises(UsageError):
        launch(["/"], os.environ, nothing)
    with pytest.raises(UsageError):
        launch([], os.environ, nothing)

    def broken():
        raise OSError("no")

    with pytest.raises(Unsupported):
        launch(["true"], os.environ, broken)


CHILD = """
import signal, sys
def stop(number, frame):
    sys.exit(50 + number)
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
    signal.signal(number, stop)
print("ready", flush=True)
signal.pause()
"""
PARENT = f"""
import os, sys
from hermetic.assets.launching import launch
sys.exit(launch([sys.executable, "-c", {CHILD!r}], os.environ, lambda: None))
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
def test_signals_are_passed_on(number):
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, start_new_session=True) as parent:
        assert parent.stdout.readline() == b"ready\n"
        parent.send_signal(number)
        assert parent.wait() == 50 + number


def test_handlers_are_put_back_and_threads_may_launch():
    before = signal.getsignal(signal.SIGTERM)
    python("")
    assert signal.getsignal(signal.SIGTERM) is before
    codes = []
    thread = threading.Thread(target=lambda: codes.append(python("raise SystemExit(3)")))
    thread.start()
    thread.join()
    assert codes == [3]
