import signal
import subprocess
import sys

import pytest

from hermetic.bench import place
from hermetic.errors import NotFound, StorageError, UsageError

HOLDS = """
import signal, sys
from pathlib import Path
from hermetic.bench import place
signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs tests in the background has it ignored
signal.signal(signal.SIGHUP, signal.SIG_DFL)
with place.temporary(Path(sys.argv[1])) as folder:
    (folder / "plain").write_bytes(b"content of the user")
    print(folder, flush=True)
    while True:
        signal.pause()
"""


def left(parent):
    return sorted(path.name for path in parent.iterdir())


def holder(parent):
    child = subprocess.Popen([sys.executable, "-c", HOLDS, str(parent)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert child.stdout.readline().startswith(str(parent))
    return child


@pytest.mark.parametrize("error", [KeyError, KeyboardInterrupt, SystemExit])
def test_it_is_gone_whatever_happens(tmp_path, error):
    with pytest.raises(error), place.temporary(tmp_path) as folder:
        assert folder.stat().st_mode & 0o777 == 0o700
        (folder / "plain").write_bytes(b"content of the user")
        raise error
    assert left(tmp_path) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_it_is_gone_after_a_signal(tmp_path, number):
    child = holder(tmp_path)
    child.send_signal(number)
    child.communicate(timeout=60)
    assert child.returncode in {128 + number, -number}
    assert left(tmp_path) == []


def test_what_a_killed_benchmark_left_is_removed_by_the_next(tmp_path):
    with holder(tmp_path) as child:
        child.kill()
    assert len(left(tmp_path)) == 1
    with place.temporary(tmp_path) as folder:
        assert left(tmp_path) == [folder.name]
    assert left(tmp_path) == []


def test_what_another_benchmark_uses_stays(tmp_path):
    child = holder(tmp_path)
    (used,) = left(tmp_path)
    assert place.remove_leftovers(tmp_path) == ()
    assert left(tmp_path) == [used]
    child.terminate()
    child.communicate(timeout=60)


def test_what_is_called_alike_stays(tmp_path):
    (tmp_path / "hermetic-bench-results").mkdir()
    (tmp_path / "hermetic-bench-link").symlink_to(tmp_path)
    assert place.remove_leftovers(tmp_path) == ()
    assert left(tmp_path) == ["hermetic-bench-link", "hermetic-bench-results"]


def test_no_room_is_told_before_anything_is_written(tmp_path):
    with place.temporary(tmp_path) as folder, pytest.raises(StorageError, match="MiB free, and this takes") as caught:
        place.check_room(folder, 1 << 60)
    assert "--size" in caught.value.hint


def test_a_folder_in_a_project_is_refused(tmp_path):
    (tmp_path / "hermetic.yaml").touch()
    (tmp_path / "sub").mkdir()
    with pytest.raises(UsageError, match="lies inside the project"), place.temporary(tmp_path / "sub"):
        pytest.fail("must not be lent")


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(NotFound), place.temporary(tmp_path / "nowhere"):
        pytest.fail("must not be lent")
