"""`hermetic` without its start-up: a process that has imported everything forks a child for each command that a test runs.

    with running(folder) as shims:              a folder with an executable `hermetic`, for the front of PATH
        subprocess.run(["hermetic", "ls"], env={**os.environ, "PATH": f"{shims}:{os.environ['PATH']}"})

The child has the caller's arguments, environment, working folder, umask and standard streams, and is killed when its caller is. Who
calls as another user, or from another namespace, gets the real program, which each command of a person is: that everything works
without what was imported before is shown by the tests that start processes of their own.
"""

from __future__ import annotations

import array
import atexit
import contextlib
import importlib
import io
import json
import os
import pkgutil
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import traceback
from pathlib import Path

NAMESPACES = ("user", "mnt", "net", "pid")
ROOMS = ("assets", "audit", "cli", "custody", "db", "domain", "evidence", "formats", "keys", "policy", "providers", "sealed")
APART = ("keyring", "torch", "lightning", "mlflow", "transformers", "migrat", "awskms", "gcpkms", "azurekv", "pkcs11", "tpm")
SHIM = """#!{python} -IS
import array, json, os, socket, struct, sys
here = [os.geteuid(), *[os.readlink(f"/proc/self/ns/{{name}}") for name in {namespaces!r}]]
if here != {here!r}:
    os.execv({real!r}, [{real!r}, *sys.argv[1:]])
mask = os.umask(0)
os.umask(mask)
asked = json.dumps([sys.argv[1:], dict(os.environ), os.getcwd(), mask]).encode()
with socket.socket(socket.AF_UNIX) as channel:
    channel.connect({place!r})
    streams = array.array("i", [0, 1, 2])
    channel.sendmsg([struct.pack("!I", len(asked))], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, streams)])
    channel.sendall(asked)
    said = channel.recv(4)
code = struct.unpack("!i", said)[0] if len(said) == 4 else 137
if code < 0:
    os.kill(os.getpid(), -code)
sys.exit(code)
"""


@contextlib.contextmanager
def running(folder):
    """Start the process; `folder` must not be there yet, and short enough for a socket in it. Yield the folder of the shim."""
    folder.mkdir(mode=0o700)
    place = folder / "s"
    real = str(Path(sys.executable).with_name("hermetic"))
    here = [os.geteuid(), *(str(Path(f"/proc/self/ns/{name}").readlink()) for name in NAMESPACES)]
    shim = folder / "hermetic"
    shim.write_text(SHIM.format(python=sys.executable, namespaces=NAMESPACES, here=here, real=real, place=str(place)))
    shim.chmod(0o755)
    root = Path(__file__).resolve().parents[1]
    command = [sys.executable, "-m", "tests.warm", str(place)]
    process = subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert process.stdout.readline() == b"ready\n"
        yield folder
    finally:
        process.stdin.close()
        process.wait(20)
        process.stdout.close()


def main():
    """Serve until standard input ends."""
    _imported()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(sys.argv[1])
    listener.listen(64)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those who attend
    print("ready", flush=True)
    while True:
        ready, _, _ = select.select([listener, 0], [], [])
        if 0 in ready:
            return
        channel, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            _attend(channel)
        channel.close()


def _imported():
    from tests.stretching import at_lowest_cost

    at_lowest_cost()
    for room in ROOMS:
        package = importlib.import_module(f"hermetic.{room}")
        for module in pkgutil.iter_modules(package.__path__, f"hermetic.{room}."):
            if not module.ispkg and not any(part in module.name for part in APART):
                importlib.import_module(module.name)
    for name in ("formats.messages", "policy.cedar", "db.tables"):
        importlib.import_module(f"hermetic.{name}")
    for module in pkgutil.iter_modules(sys.modules["hermetic.formats.messages"].__path__, "hermetic.formats.messages."):
        importlib.import_module(module.name)


def _attend(channel):
    """Fork the command; pass its exit on, or kill it when nobody waits for it any more."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    size = struct.calcsize("i") * 3
    head, ancillary, _, _ = channel.recvmsg(4, socket.CMSG_SPACE(size))
    streams = array.array("i")
    streams.frombytes(ancillary[0][2][:size])
    asked = b""
    while len(asked) < struct.unpack("!I", head)[0]:
        asked += channel.recv(65536)
    command = os.fork()
    if command == 0:
        channel.close()
        _command(json.loads(asked), list(streams))
    for stream in streams:
        os.close(stream)
    watched = os.pidfd_open(command)
    ready, _, _ = select.select([watched, channel], [], [])
    if watched not in ready:
        for number in (signal.SIGTERM, signal.SIGKILL):
            os.kill(command, number)
            if select.select([watched], [], [], 5)[0]:
                break
    _, status = os.waitpid(command, 0)
    with contextlib.suppress(OSError):
        channel.sendall(struct.pack("!i", os.waitstatus_to_exitcode(status)))
    os._exit(0)


def _command(asked, streams):
    arguments, environment, folder, mask = asked
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    os.umask(mask)
    time.tzset()
    sys.argv = ["hermetic", *arguments]
    sys.stdin = io.TextIOWrapper(io.BufferedReader(io.FileIO(0, closefd=False)), encoding="utf-8")
    for name, number in (("stdout", 1), ("stderr", 2)):
        raw = io.BufferedWriter(io.FileIO(number, "w", closefd=False))
        errors = "backslashreplace" if number == 2 else "strict"
        setattr(sys, name, io.TextIOWrapper(raw, encoding="utf-8", errors=errors, line_buffering=number == 2))
    os._exit(_ended())


def _ended():
    from hermetic.cli.main import main as program

    code = 0
    try:
        sys.exit(program())
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001 - as the interpreter ends a program
        traceback.print_exc()
        code = 1
    threading._shutdown()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    return code


if __name__ == "__main__":
    main()
