"""Several processes seal the same asset at once.

Attacker: nobody in particular: honest jobs that race, or one that tries to publish into another's draft.
Tries:    six processes seal versions of one asset at the same time; then a published version is published again, another's draft is
          published, an object is written where one lies already, and objects are numbered with gaps or repeats.
Stops it: the number is given in the transaction that publishes; drafts belong to their writer; objects are never replaced.
"""

from __future__ import annotations

import subprocess
import sys

from _stage import Broken, Stage, main

from hermetic.assets.session import fresh_id
from hermetic.errors import Conflict, HermeticError, UsageError
from hermetic.formats.messages.versions import BeginVersion, ObjectRecord, PublishVersion
from hermetic.ids import DataClass

JOBS, EACH = 6, 3
CODE = """
import sys, hermetic
with hermetic.connect(sys.argv[1]) as h:
    for number in range(COUNT):
        print(h.seal(f"{sys.argv[2]} {number}".encode(), name="dataset/race", data_class="internal").number)
""".replace("COUNT", str(EACH))


def attack(stage: Stage) -> None:
    stage.create()
    command = [sys.executable, "-c", CODE, str(stage.project)]
    jobs = [subprocess.Popen([*command, str(job)], stdout=subprocess.PIPE, text=True) for job in range(JOBS)]
    numbers = sorted(int(line) for job in jobs for line in job.communicate(timeout=120)[0].split())
    if any(job.returncode for job in jobs):
        raise Broken("a sealer failed")
    stage.found("every version has a number of its own, without gaps", numbers == list(range(1, JOBS * EACH + 1)) and numbers)
    contents = {stage.read(f"dataset/race@{number}") for number in numbers}
    stage.found("and its own content", len(contents) == JOBS * EACH and len(contents))
    stage.found(
        "the log is whole", stage.verify_log()["exit"] == 7 and not stage.log_finds("row-put-back", "row-missing", "row-changed")
    )
    _drafts(stage)


def record(index: int, member: str = "data", **more: str) -> ObjectRecord:
    return ObjectRecord(index, more.get("id", fresh_id()), bytes(32), "blake3", 10, member, 1, bytes(32))


def _drafts(stage: Stage) -> None:
    with stage.connect() as h:
        ask = h.session.ask
        draft = ask(BeginVersion(fresh_id(), "dataset/race", DataClass.INTERNAL))
        stage.refused("numbers with a gap", lambda: ask(PublishVersion(draft.version, (record(0), record(2, "b")))), UsageError)
        stage.refused("two members of one name", lambda: ask(PublishVersion(draft.version, (record(0), record(1)))), UsageError)
        same = fresh_id()
        both = (record(0, id=same), record(1, "b", id=same))
        stage.refused("two objects of one id", lambda: ask(PublishVersion(draft.version, both)), UsageError)
        stage.refused("nothing", lambda: ask(PublishVersion(draft.version, ())), UsageError)
        ask(PublishVersion(draft.version, (record(0),)))
        stage.refused("publishing again", lambda: ask(PublishVersion(draft.version, (record(0),))), Conflict)
        stage.refused("a draft of nobody", lambda: ask(PublishVersion(fresh_id(), (record(0),))), HermeticError)
        store = h.session.store("sealed")
        store.put_bytes("x/0.sealed", b"first")
        stage.refused("an object where one lies already", lambda: store.put_bytes("x/0.sealed", b"second"), Conflict)
        with h.writer("dataset/race") as one:
            one.write(b"one")
            stage.refused("two writers of one draft's member", lambda: one._draft.add_member("data"), HermeticError)


if __name__ == "__main__":
    main(attack)
