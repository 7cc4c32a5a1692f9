"""Start a program, pass signals on to it, and return its exit code as a shell would.

The program gets no core dump file (RLIMIT_CORE 0): a crash must not write keys and plaintext to a disk.
"""

from __future__ import annotations

import os
import resource
import shlex
import signal
import subprocess
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Protocol

from hermetic.errors import NotFound, Unsupported, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from types import FrameType

FORWARDED = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGINT, signal.SIGQUIT)
_FROM_KEYBOARD = frozenset({signal.SIGINT, signal.SIGQUIT})
SIGNALLED = 128  # a program ended by signal N exits with 128 + N


class Surroundings(Protocol):
    """What a program is given around it, for example mounts."""

    def enter(self) -> None:
        """Called in the child between fork and exec. Raises OSError."""

    def ended(self, *, succeeded: bool) -> None:
        """Called when the program has ended. Raises what makes its run fail although it ended well."""


def launch(argv: Sequence[str], environment: Mapping[str, str], enter: Callable[[], None]) -> int:
    """Run `argv` to its end and return its exit code. `enter` is called in the child before it becomes the program.

    Raises NotFound or UsageError for a program that cannot be started, Unsupported when `enter` fails.
    """
    if not argv:
        raise UsageError("no program was named", hint="write the command after --")

    def prepare() -> None:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        enter()

    with _signals_passed_on() as relay:
        try:
            process = subprocess.Popen(list(argv), env=dict(environment), preexec_fn=prepare)  # noqa: S603, PLW1509 - the caller's own command
        except FileNotFoundError:
            raise NotFound(f"there is no program {argv[0]!r}", hint=_hint_for(argv[0])) from None
        except (OSError, ValueError) as error:
            raise UsageError(f"cannot start {argv[0]!r}: {error}") from error
        except subprocess.SubprocessError as error:
            raise Unsupported(f"cannot prepare the surroundings of {argv[0]!r}", hint="the private temporary folder failed") from error
        relay.attach(process)
        code = process.wait()
    return code if code >= 0 else SIGNALLED - code


def _hint_for(program: str) -> str:
    """Return what was probably meant by a program that does not exist."""
    if any(char.isspace() for char in program):
        return f"a whole command line needs a shell: -- sh -c {shlex.quote(program)}"
    return "hermetic run NAME --purpose PURPOSE -- COMMAND …: the run's name comes first"


class _Relay:
    """Sends on what arrives; what arrives before the program runs is kept for it."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._early: list[int] = []

    def attach(self, process: subprocess.Popen[bytes]) -> None:
        """Name the program; send what has arrived so far."""
        self._process = process
        for number in self._early:
            self._send(number)

    def arrived(self, number: int, _frame: FrameType | None) -> None:
        """Handle a signal. The terminal sends its keys to the whole foreground group, so the program has those already."""
        if number in _FROM_KEYBOARD and _in_foreground():
            return
        self._send(number)

    def _send(self, number: int) -> None:
        if self._process is None:
            self._early.append(number)
            return
        with suppress(ProcessLookupError):
            self._process.send_signal(number)


def _in_foreground() -> bool:
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)


@contextmanager
def _signals_passed_on() -> Iterator[_Relay]:
    relay = _Relay()
    if threading.current_thread() is not threading.main_thread():  # only the main thread may set handlers
        yield relay
        return
    before = {number: signal.signal(number, relay.arrived) for number in FORWARDED}
    try:
        yield relay
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
