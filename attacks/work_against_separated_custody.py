"""Another user of the machine against custody kept apart: its files, its process, its socket, and messages that nobody should send.

Attacker: a user of the machine, enrolled to audit and nothing more, with custody serving under another user id.
Tries:    read custody's folders; read its memory and environment through /proc, and attach to it (ptrace); put a file in the socket's
          place, or a socket of their own where a colleague looks; keys, policy, roles and other people's requests through the socket;
          garbage of every sort.
Stops it: user ids of the system; the caller checks every folder on the way to the socket; the kernel says who asks, and policy
          decides; each message is checked before it is believed, and custody goes on answering.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import subprocess
import sys
from pathlib import Path

from _stage import ROWS, Broken, Stage, another_uid, main

from hermetic.crypto.hpke import PrivateKey
from hermetic.domain import framing
from hermetic.domain.unix_port import UnixPort
from hermetic.errors import Denied, HermeticError, PolicyDenied
from hermetic.formats import codec
from hermetic.formats.messages.base import Refusal
from hermetic.formats.messages.greeting import Hello
from hermetic.formats.messages.keys import ListKeys, RotateKey
from hermetic.formats.messages.policy import SetRoles
from hermetic.formats.messages.runs import StartRun
from hermetic.formats.messages.versions import OpenVersions
from hermetic.ids import Purpose, id_from_bytes

SERVES = "import sys; from hermetic.cli.main import main; sys.argv = ['hermetic', 'serve', '--socket', sys.argv[1]]; main()"


def attack(stage: Stage) -> None:
    uid = another_uid()
    stage.create().seal()
    stage.base.chmod(0o755)
    done = stage.cli("access", "roles", "nobody", "--role", "auditor", "--reason", "reads records")
    if done.returncode:
        raise Broken(done.stderr.decode())
    run = stage.base / "run"
    run.mkdir(mode=0o755)
    run.chmod(0o755)
    place = run / "custody.sock"
    serving = subprocess.Popen([sys.executable, "-c", SERVES, place], cwd=stage.project, stderr=subprocess.PIPE, text=True)
    try:
        if "custody of" not in (said := serving.stderr.readline()):
            raise Broken(said + serving.stderr.read())
        _files(stage, uid, serving.pid, run)
        _impostor(stage, uid)
        _messages(stage, uid, place)
        domain = stage.domain
        with _as(uid):
            stage.honest("custody still answers", _ask(place, domain, Hello()).enforcement, "separated")
    finally:
        serving.terminate()
        serving.communicate()
    stage.honest("its owner reads", stage.read(), ROWS)


def _files(stage: Stage, uid: int, pid: int, run: Path) -> None:
    """In a child that is the other user for good: an effective user id alone would leave it root's own to attach to."""
    process = Path("/proc") / str(pid)
    tries = {
        "list custody's home": f"os.listdir({str(stage.home_folder)!r})",
        "open the database": f"open({str(stage.database)!r}, 'rb')",
        "open memory through /proc": f"open({str(process / 'mem')!r}, 'rb')",
        "read its environment": f"open({str(process / 'environ')!r}, 'rb').read()",
        "list its files": f"os.listdir({str(process / 'fd')!r})",
        "attach to it": f"attach({pid})",
        "take the socket away": f"os.unlink({str(run / 'custody.sock')!r})",
        "put another beside it": f"os.symlink('/dev/null', {str(run / 'new.sock')!r})",
        "end it": f"os.kill({pid}, 15)",
    }
    for what, code in tries.items():
        got = _child(uid, code)
        stage.refused(what, lambda got=got: _told(got), Denied)


def _child(uid: int, code: str) -> str:
    """Run one line as the other user, and return the error it met, or nothing."""
    down, up = os.pipe()
    child = os.fork()
    if child == 0:
        said = ""
        try:
            os.setgroups([])
            os.setgid(uid)
            os.setuid(uid)
            exec(code, {"os": os, "attach": _attach})
        except OSError as error:
            said = str(error.strerror or error)
        finally:
            os.write(up, said.encode())
            os._exit(0)
    os.close(up)
    with os.fdopen(down, "rb") as pipe:
        said = pipe.read().decode()
    os.waitpid(child, 0)
    return said


def _attach(pid: int) -> None:
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    if libc.ptrace(16, pid, None, None) == -1:  # PTRACE_ATTACH
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _told(said: str) -> str:
    if said:
        raise Denied(said)
    return "it went through"


def _impostor(stage: Stage, uid: int) -> None:
    """A socket of the attacker's where a colleague is told that custody is, in folders such as there are."""
    own, shared, sticky = (stage.base / name for name in ("theirs", "shared", "sticky"))
    for folder, mode in ((own, 0o755), (shared, 0o777), (sticky, 0o1777)):
        folder.mkdir()
        folder.chmod(mode)
    (own / "below").mkdir()
    for folder in (own, own / "below"):
        os.chown(folder, uid, uid)
    link = stage.base / "link"
    link.symlink_to(own)
    os.lchown(link, uid, uid)
    with contextlib.ExitStack() as stack:
        for folder in (own / "below", shared, sticky):
            listener = stack.enter_context(contextlib.closing(socket.socket(socket.AF_UNIX)))
            with _as(uid):
                listener.bind(str(folder / "custody.sock"))
            listener.listen()
            # Somebody's own folder is what the colleague would be told; root's own socket there is what they would expect.
            if folder == own / "below":
                os.lchown(folder / "custody.sock", 0, 0)
            stage.refused(f"a socket in {folder.name}", lambda at=folder: _ask(at / "custody.sock", stage.domain, Hello()), Denied)
        stage.refused("a link of theirs", lambda: _ask(link / "below" / "custody.sock", stage.domain, Hello()), Denied)


def _messages(stage: Stage, uid: int, place: Path) -> None:
    fresh = id_from_bytes(secrets.token_bytes(16))
    public, domain = PrivateKey.generate().public, stage.domain
    with _as(uid):
        kek = _ask(place, domain, ListKeys()).keys[0].kek
        tries = {
            "a key": OpenVersions(fresh, ("dataset/patients",), Purpose.PREPARE, recipient=public),
            "a key for audit": OpenVersions(fresh, ("dataset/patients",), Purpose.AUDIT, recipient=public),
            "a run": StartRun(fresh, "train", Purpose.TRAIN),
            "rotate a key": RotateKey(kek, "because"),
            "a better role": SetRoles("nobody", ("ml-engineer",), "because"),
        }
        for what, request in tries.items():
            stage.refused(what, lambda request=request: _ask(place, domain, request), PolicyDenied)
        hello = codec.encode(Hello())
        for what, raw in {
            "another version of the port": hello.replace(b'"hermetic":1', b'"hermetic":2'),
            "a caller in the message": hello.replace(b'"body":{', b'"body":{"caller":"os:0",'),
            "an answer for a question": codec.encode(Refusal("Denied", "no", None, ())),
            "no JSON": bytes(64),
            "deep JSON": b"[" * 65536,
            "a huge number": b'{"body":{"generation":' + b"9" * 5000 + b"}}",
        }.items():
            stage.refused(what, lambda raw=raw: _send(place, raw), HermeticError)
        with contextlib.closing(_dial(place)) as peer:
            peer.sendall((1 << 31).to_bytes(4, "big"))
            said = codec.decode(framing.receive(peer, wait_s=20))
        stage.found("a length of two gigabytes", said.error == "FormatError" and "refused before it is made room for")


def _send(place: Path, raw: bytes) -> object:
    from hermetic.domain.refusals import error_of

    with contextlib.closing(_dial(place)) as peer:
        framing.send(peer, raw)
        said = codec.decode(framing.receive(peer, wait_s=20))
    if isinstance(said, Refusal):
        raise error_of(said)
    return said


def _ask(place: Path, domain: str, request: object) -> object:
    with contextlib.closing(UnixPort(place, domain)) as port:
        return port.ask(request)


def _dial(place: Path) -> socket.socket:
    peer = socket.socket(socket.AF_UNIX)
    peer.connect(str(place))
    return peer


@contextlib.contextmanager
def _as(uid: int):
    """Be the other user, as far as the kernel's checks at a socket go."""
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)


if __name__ == "__main__":
    main(attack)
