"""A process that does one scenario and dies at a named durable step. Run by test_kill.py, never collected.

    python killing_child.py SCENARIO STEP OCCURRENCE REPORT_FD PROJECT PLACE

STEP "-" kills nowhere and prints every step that was reached, one a line, to the report. Every key obtained is written to the report,
unbuffered, before it is used: `key VERSION REQUEST`. The kill is SIGKILL from inside the process, so nothing can be tidied up.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from hermetic import steps
from hermetic.crypto.secret import Secret
from hermetic.domain.local import LocalPort

PASSPHRASE = b"correct horse battery staple"


def main() -> None:
    """Install the hook, report keys, run the scenario."""
    scenario, step, occurrence, report, project, place = sys.argv[1:7]
    fd, left = int(report), [int(occurrence)]

    def hook(name: str) -> None:
        if step == "-":
            os.write(fd, f"step {name}\n".encode())
        elif name == step:
            left[0] -= 1
            if left[0] == 0:
                os.write(fd, f"killed {name}\n".encode())
                os.kill(os.getpid(), signal.SIGKILL)

    steps.install(hook)
    _report_keys(fd)
    SCENARIOS[scenario](Path(project), Path(place))
    os.write(fd, b"finished\n")


def _report_keys(fd: int) -> None:
    redeem, ask = LocalPort.redeem, LocalPort.ask
    leases: dict[str, str] = {}

    def asking(self: LocalPort, request: object) -> object:
        answer = ask(self, request)
        for lease in [getattr(answer, "lease", None), *(item.lease for item in getattr(answer, "released", ()))]:
            if lease is not None:
                leases[lease.key.handle] = f"{lease.version} {request.request}"
        return answer

    def redeeming(self: LocalPort, blob: object) -> Secret:
        secret = redeem(self, blob)
        os.write(fd, f"key {leases[blob.handle]}\n".encode())
        return secret

    LocalPort.ask, LocalPort.redeem = asking, redeeming


def _workspace(project: Path):
    import hermetic

    return hermetic.connect(project)


def seal(project: Path, _place: Path) -> None:
    """Three versions: a file, a folder of shards, the file once more."""
    with _workspace(project) as h:
        h.seal(project / "one.bin", name="dataset/one", data_class="restricted", purpose="ingest")
        h.seal(project / "shards", name="dataset/shards", data_class="confidential", purpose="ingest")
        h.seal(project / "one.bin", name="dataset/one", purpose="ingest", remove_original=False)


def release(project: Path, _place: Path) -> None:
    """Open three times, once in a batch."""
    with _workspace(project) as h:
        for _ in range(2):
            with h.open("dataset/base", purpose="prepare") as file:
                file.read()
        for version in h.open_many(["dataset/base@1", "dataset/more@1"], purpose="prepare"):
            version.end()


def rotate(project: Path, _place: Path) -> None:
    """Rotate and rewrap, twice; suspend and resume."""
    from hermetic.formats.messages.keys import ChangeKeyState, ListKeys, RewrapKey, RotateKey

    with _workspace(project) as h:
        ask = h.connection.ask
        for kek in [row.kek for row in ask(ListKeys()).keys] * 2:
            ask(RotateKey(kek, "schedule"))
            while ask(RewrapKey(kek, 1)).left:
                pass
        ask(ChangeKeyState(kek, "suspend", "drill"))
        ask(ChangeKeyState(kek, "resume", "drill"))


def run(project: Path, _place: Path) -> None:
    """A run that reads, uses scratch, and writes."""
    import fsspec

    with _workspace(project) as h:
        for _ in range(2):
            with h.run("train", purpose="train") as handle:
                with h.open("dataset/base") as file:
                    data = file.read()
                os.environ["HERMETIC_RUN"] = handle.id
                os.chdir(project)
                with fsspec.open("hermetic://scratch/part.bin", "wb") as file:
                    file.write(data[:1000])
                del os.environ["HERMETIC_RUN"]
                h.seal(data, name="model/fitted", data_class="restricted", member="weights.bin")


def expose(project: Path, _place: Path) -> None:
    """Three exposures, two of them ended."""
    with _workspace(project) as h:
        for name in ("a.bin", "b.bin"):
            h.expose("dataset/base", project / name, seconds=600, purpose="prepare")
            h.end_exposure(project / name)
        h.expose("dataset/base", project / "c.bin", seconds=600, purpose="prepare")


def restore(project: Path, place: Path) -> None:
    """Restore into the home that HERMETIC_HOME names, and open everything."""
    from hermetic.domain.home import Home
    from hermetic.domain.restore import restore_domain

    restore_domain(place, Home.locate(os.environ), project, lambda *_: Secret(PASSPHRASE), provider_uri="local:insecure-file")
    release(project, place)


SCENARIOS = {"seal": seal, "release": release, "rotate": rotate, "run": run, "expose": expose, "restore": restore}

if __name__ == "__main__":
    main()
