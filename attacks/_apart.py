"""Custody under another user id, for the attacks on it: a process that serves at a socket, and hands that act as another user.

with separated(stage) as apart:
    apart.tried("open the database", "open(DATABASE, 'rb')")
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from _stage import ROWS, Broken, Stage, another_uid

from hermetic.domain.unix_port import UnixPort
from hermetic.errors import Denied
from hermetic.formats.messages.greeting import Hello
from hermetic.formats.messages.policy import SetRoles

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SERVES = "import sys; from hermetic.cli.main import main; sys.argv = ['hermetic', 'serve', '--socket', sys.argv[1]]; main()"


@dataclass
class Apart:
    """Custody at work under root's user id; the attacker is `uid`."""

    stage: Stage
    uid: int
    pid: int
    place: Path
    domain: str

    def tried(self, what: str, code: str, **known: object) -> None:
        """Run a line as the attacker, in a child that is the attacker for good; it must meet an error of the system."""
        said = self.child(code, **known)

        def told() -> str:
            if said:
                raise Denied(said)
            return "it went through"

        self.stage.refused(what, told, Denied)

    def child(self, code: str, **known: object) -> str:
        """Run code as the attacker; returns the error of the system that it met, or nothing.

        An effective user id alone would leave the child root's own to attach to.
        """
        down, up = os.pipe()
        child = os.fork()
        if child == 0:
            said = "the child broke"
            try:
                os.setgroups([])
                os.setresgid(self.uid, self.uid, self.uid)
                os.setresuid(self.uid, self.uid, self.uid)
                exec(code, {"os": os, **known})
                said = ""
            except OSError as error:
                said = str(error.strerror or error)
            except BaseException as error:  # noqa: BLE001 - whatever it is, the parent has to hear of it
                said = f"broken: {error!r}"
            finally:
                os.write(up, said.encode())
                os._exit(0)
        os.close(up)
        with os.fdopen(down, "rb") as pipe:
            said = pipe.read().decode()
        os.waitpid(child, 0)
        if said.startswith(("broken", "the child")):
            raise Broken(said)
        return said

    def ask(self, request: object, place: Path | None = None) -> object:
        """Ask as whoever this process is now."""
        with contextlib.closing(UnixPort(place or self.place, self.domain)) as port:
            return port.ask(request)

    def attacker(self) -> contextlib.AbstractContextManager[None]:
        """Be the attacker, as far as the kernel's checks at a socket go."""
        return self.somebody(self.uid)

    @contextlib.contextmanager
    def somebody(self, uid: int) -> Iterator[None]:
        """Be the user `uid`, as far as that."""
        os.seteuid(uid)
        try:
            yield
        finally:
            os.seteuid(0)


def serve(stage: Stage, place: Path) -> subprocess.Popen:
    """Begin to serve at `place`; a session of its own, as a service has: SIGCONT goes to whoever shares one."""
    serving = subprocess.Popen(
        [sys.executable, "-c", SERVES, place], cwd=stage.project, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    if "custody of" not in (said := serving.stderr.readline()):
        raise Broken(said + serving.stderr.read())
    return serving


@contextlib.contextmanager
def separated(stage: Stage, role: str = "auditor", **more) -> Iterator[Apart]:
    """A domain with one sealed version, served; the attacker is enrolled with `role`. Ends with both still working."""
    uid = another_uid()
    if not (stage.project / "hermetic.yaml").exists():
        stage.create(**more).seal()
    stage.base.chmod(0o755)
    with stage.connect() as h:
        h.connection.ask(SetRoles("nobody", (role,), "reads records"))
    run = stage.base / "run"
    run.mkdir(mode=0o755)
    run.chmod(0o755)
    place = run / "custody.sock"
    serving = serve(stage, place)
    try:
        apart = Apart(stage, uid, serving.pid, place, stage.domain)
        yield apart
        with apart.attacker():
            stage.honest("custody still answers", apart.ask(Hello()).enforcement, "separated")
    finally:
        serving.terminate()
        serving.communicate()
    stage.honest("its owner reads", stage.read(), ROWS)
