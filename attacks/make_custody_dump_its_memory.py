"""Another user of the machine against custody kept apart: signals, limits and core dumps.

Attacker: a user of the machine, enrolled to audit and nothing more, with custody serving under another user id.
Tries:    make custody crash into a core file (SIGQUIT, SIGABRT, SIGSEGV), end or stop it, raise its limit for core files, make it slow
          or the first to be killed when memory is short.
Stops it: user ids of the system. And custody sets its own limit to zero when it begins: the last try lets it crash as its own user
          could, with core files allowed before it began, and there is none.
"""

from __future__ import annotations

import os
import resource
import signal

from _apart import separated, serve
from _stage import Stage, main


def attack(stage: Stage) -> None:
    with separated(stage) as apart:
        for name in ("SIGQUIT", "SIGABRT", "SIGSEGV", "SIGTERM", "SIGKILL", "SIGSTOP", "SIGCONT"):
            apart.tried(name, f"os.kill({apart.pid}, {int(getattr(signal, name))})")
        apart.tried("its limit for core files", f"limits({apart.pid})", limits=_limits)
        apart.tried("last when memory is short", f"open('/proc/{apart.pid}/oom_score_adj', 'w').write('1000')")
        apart.tried("slow it down", f"os.setpriority(os.PRIO_PROCESS, {apart.pid}, 19)")
    _crash(stage)


def _limits(pid: int) -> None:
    resource.prlimit(pid, resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def _crash(stage: Stage) -> None:
    """Custody's own user lets it crash, having allowed core files before it began."""
    place = stage.base / "run" / "second.sock"
    resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    serving = serve(stage, place)
    limit = resource.prlimit(serving.pid, resource.RLIMIT_CORE)
    os.kill(serving.pid, signal.SIGABRT)
    serving.communicate()
    stage.found("no core file of a crash", limit[0] == 0 and not _cores(stage) and f"the limit is {limit[0]}, and none was written")


def _cores(stage: Stage) -> list[str]:
    return [path.name for path in stage.project.iterdir() if path.name.startswith("core")]


if __name__ == "__main__":
    main(attack)
