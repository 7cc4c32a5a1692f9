"""A process that has imported everything, and forks a child for each task of the crash tests. Run by `places`, never collected.

One task a line of standard input, as JSON; for each, one line of standard output: the child's exit code, or minus the signal.

    {"do": "scenario", "root": R, "scenario": S, "step": N, "occurrence": K, "report": F, "layer": L, "errors": E}
    {"do": "check", "root": R, "scenario": S, "lines": [...], "errors": E}

More keys of a scenario: `fail_sync`, the number of the sync that fails on the layer; `may_fail`, whether it may end with a
StorageError, which is reported (`failed MESSAGE`) if it is one clear line with a hint; `without`, what it leaves out (`sabotage`);
`after_s`, when SIGALRM ends it, which nothing catches.

A scenario dies at the K-th time that the durable step N is reached ("-": never), by SIGKILL from inside, so that nothing can be tidied
up. Its report gets a line for each step, each promise (`scenarios`), each key obtained, before it is used (`key VERSION REQUEST`), and
for all bytes that custody says it has destroyed (`gone HEX`). On a FUSE layer, L, the same lines are marks in the layer's journal.
"""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import signal
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from hermetic.errors import HermeticError

LONGEST_S = 240
ROOMS = [
    "assets",
    "audit",
    "custody",
    "db",
    "domain",
    "formats",
    "integrations",
    "keys",
    "policy",
    "providers",
    "recovery",
    "sealed",
    "stores",
]
NOT_NEEDED = (
    "hermetic.providers.local_keyring",
    "hermetic.integrations.frames",
    "hermetic.integrations.torch",
    "hermetic.integrations.lightning",
    "hermetic.integrations.mlflow",
    "hermetic.integrations.transformers",
)


def main() -> None:
    """Import, then serve tasks until standard input ends."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    _warm_up()
    print("ready", flush=True)
    for line in sys.stdin:
        task = json.loads(line)
        child = os.fork()
        if child == 0:
            _child(task)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _warm_up() -> None:
    import fsspec.core  # noqa: F401

    for room in ROOMS:
        package = importlib.import_module(f"hermetic.{room}")
        for module in pkgutil.walk_packages(package.__path__, f"hermetic.{room}."):
            if not module.name.startswith(NOT_NEEDED) and ".versions." not in module.name and not module.name.endswith(".env"):
                importlib.import_module(module.name)
    for name in ("checking", "sabotage", "scenarios"):
        importlib.import_module(f"tests.faults.{name}")
    importlib.import_module("tests.stretching").at_lowest_cost()


def _child(task: dict[str, Any]) -> None:
    code = 1
    try:
        signal.alarm(LONGEST_S)
        errors = os.open(task["errors"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(errors, 2)
        os.dup2(os.open(os.devnull, os.O_RDWR), 0)
        os.dup2(2, 1)
        os.environ["HERMETIC_HOME"] = str(Path(task["root"]) / "home")
        {"scenario": _scenario, "check": _check}[task["do"]](task)
        code = 0
    except BaseException:  # noqa: BLE001 - whatever it is, the parent has to hear of it
        traceback.print_exc()
    finally:
        os._exit(code)


def _check(task: dict[str, Any]) -> None:
    from tests.faults import checking

    checking.check(Path(task["root"]), task["scenario"], task["lines"])


def _scenario(task: dict[str, Any]) -> None:
    from hermetic import steps
    from hermetic.errors import StorageError
    from tests.faults import sabotage, scenarios

    report = os.open(task["report"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    layer: str | None = task["layer"]

    def say(text: str) -> None:
        os.write(report, f"{text}\n".encode())
        if layer:
            os.setxattr(layer, "user.hermetic.mark", text.encode())

    if layer:
        _allow_fuse()
    if task.get("without"):
        sabotage.WITHOUT[task["without"]]()
    steps.install(_hook(say, task["step"], task["occurrence"]))
    _report_keys(say)
    _report_destroyed(say)
    if layer and task.get("fail_sync"):
        os.setxattr(layer, "user.hermetic.fail-sync", str(task["fail_sync"]).encode())
    if task.get("after_s"):
        signal.setitimer(signal.ITIMER_REAL, task["after_s"])
    try:
        scenarios.SCENARIOS[task["scenario"]](Path(task["root"]), say)
    except StorageError as error:
        if not task.get("may_fail"):
            raise
        traceback.print_exc()
        say(_clearly(error))
    say("finished")


def _clearly(error: HermeticError) -> str:
    """Return the message for the report, if it is one that a person can use."""
    assert error.exit_code == 1
    assert error.hint, f"no hint: {error.message}"
    assert "\n" not in error.message
    return f"failed {error.message}"


def _hook(say: Callable[[str], None], step: str, occurrence: int) -> Callable[[str], None]:
    left = [occurrence]

    def hook(name: str) -> None:
        say(f"step {name}")
        if name == step:
            left[0] -= 1
            if left[0] == 0:
                say(f"killed {name}")
                os.kill(os.getpid(), signal.SIGKILL)

    return hook


def _allow_fuse() -> None:
    """Let the database lie on the layer, which keeps what FUSE in general does not promise: one machine, locks, shared memory."""
    from hermetic.db import filesystems

    check = filesystems.check
    filesystems.check = lambda path, unsafe: check(path, {})


def _report_keys(say: Callable[[str], None]) -> None:
    from hermetic.domain.local import LocalPort

    redeem, ask = LocalPort.redeem, LocalPort.ask
    leases: dict[str, str] = {}

    def asking(self: LocalPort, request: Any) -> Any:
        answer: Any = ask(self, request)
        for lease in [getattr(answer, "lease", None), *(item.lease for item in getattr(answer, "released", ()))]:
            if lease is not None:
                leases[lease.key.handle] = f"{lease.version} {request.request}"
        return answer

    def redeeming(self: LocalPort, blob: Any) -> Any:
        secret = redeem(self, blob)
        say(f"key {leases[blob.handle]}")
        return secret

    LocalPort.ask, LocalPort.redeem = asking, redeeming  # type: ignore[method-assign]


def _report_destroyed(say: Callable[[str], None]) -> None:
    from hermetic.db.engine import Database

    scrub = Database.scrub

    def scrubbing(self: Database, gone: Iterable[bytes]) -> None:
        needles = list(gone)
        scrub(self, needles)
        for needle in needles:
            say(f"gone {needle.hex()}")

    Database.scrub = scrubbing  # type: ignore[method-assign]


if __name__ == "__main__":
    main()
