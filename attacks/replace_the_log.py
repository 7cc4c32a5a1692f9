"""The whole custody database, log included, is replaced by an older copy, and life goes on from there.

Attacker: whoever can write the database file and kept an older copy (a snapshot, a backup, a laptop image); no key.
Tries:    put the copy back, so that releases since then never happened; let honest work go on until the log is longer than it
          was, so that only its history differs; from a home whose pins are gone, and then come back to the user whose pins
          remember.
Stops it: at every connection custody proves that its log continues the checkpoint that the user pinned; a smaller or a forked one
          is refused before pins move.
"""

from __future__ import annotations

import shutil

from _stage import ROWS, Stage, main

from hermetic.errors import LogTampered


def attack(stage: Stage) -> None:
    stage.create().seal()
    old = stage.save(stage.custody)
    for _ in range(3):
        stage.honest("an honest release", stage.read(), ROWS)
    forgotten = stage.sql("SELECT count(*) FROM log_leaf")[0][0]

    stage.put_back(old)
    stage.refused("the older copy alone", stage.connect, LogTampered)
    done = stage.cli("log", "verify")
    stage.found("log verify says so, with exit code 4", done.returncode == 4 and done.stderr.decode())
    done = stage.cli("cat", "dataset/patients", "--purpose", "prepare")
    stage.found("nothing is opened meanwhile", done.returncode == 4 and not done.stdout)

    mine = stage.settings / "pins.json"
    pins = mine.read_bytes()
    mine.unlink()
    count = 0
    while stage.sql("SELECT count(*) FROM log_leaf")[0][0] <= forgotten:
        stage.read()
        count += 1
    stage.kept(
        "work goes on in a home without pins", f"{count} more releases; first use takes the log as it comes, which is a finding"
    )
    mine.write_bytes(pins)
    stage.refused("a longer log with another history, against the pins that remember", stage.connect, LogTampered)
    done = stage.cli("log", "verify")
    stage.found("log verify says so", done.returncode == 4 and done.stderr.decode())
    stage.found("the pins still hold the older truth", mine.read_bytes() == pins)
    shutil.rmtree(stage.custody)
    stage.refused("no custody at all", stage.connect)


if __name__ == "__main__":
    main(attack)
