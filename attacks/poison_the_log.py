"""Something is put on the log that nobody can read or verify again, since nothing is ever taken off it.

Attacker: somebody who may act in the domain, or nobody: a clock that lost its battery.
Tries:    act while the clock stands before 1970, or beyond what a number in JSON holds; give reasons of many kilobytes; ask for what
          is forbidden a few hundred times; put names into requests that no text may hold.
Stops it: what a reader would refuse is refused by the writer, before anything is durable; equal denials are counted; the log
          verifies as before, and every entry can be listed.
"""

from __future__ import annotations

from _stage import ROWS, Stage, main

from hermetic.assets.session import fresh_id
from hermetic.errors import HermeticError, UsageError
from hermetic.formats.messages.keys import ListKeys, RotateKey
from hermetic.formats.messages.log import ReadLog
from hermetic.formats.messages.policy import SetRoles
from hermetic.formats.messages.versions import OpenVersions
from hermetic.ids import Purpose

CLOCKS = (-1, -(10**15), 2**53 - 1, 2**53, 2**63, 10**30)
FLOOD = 300


def attack(stage: Stage) -> None:
    stage.create().seal()
    with stage.connect(purpose="prepare") as h:
        ask, custodian = h.session.ask, h.session.connection._port._custodian
        right = custodian.clock
        for now in CLOCKS:
            custodian.clock = lambda now=now: now
            stage.refused(f"opening at {now} ms", lambda: h.version("dataset/patients"), HermeticError)
            stage.refused(f"sealing at {now} ms", lambda: h.seal(b"x", name="dataset/x", data_class="internal"), HermeticError)
        custodian.clock = right

        kek = ask(ListKeys()).keys[0].kek
        for length in (262_144, 3_000_000):
            stage.refused(f"a reason of {length} bytes", lambda length=length: ask(RotateKey(kek, "x" * length)), UsageError)
        ask(RotateKey(kek, "y" * 100_000))
        stage.refused("a user with a zero byte", lambda: ask(SetRoles("a\0b", ("ml-engineer",), "test")), HermeticError)
        stage.refused("half a surrogate pair", lambda: ask(SetRoles("nobody", ("ml-engineer",), "\udcff")), HermeticError)

        before = ask(ReadLog(limit=1)).size
        for _ in range(FLOOD):
            _denied(ask)
        grown = ask(ReadLog(limit=1)).size - before
        stage.found(f"{FLOOD} equal denials", grown < 20 and f"{grown} entries")
        rows = ask(ReadLog(limit=2000)).rows
        stage.found(
            "every entry can be listed, the longest reason too", any("y" * 1000 in str(row.opened) for row in rows) and len(rows)
        )
    document = stage.verify_log()
    stage.found("the log verifies", document["exit"] == 7 and f"{document['size']} entries")
    stage.honest("and everything works", stage.read(), ROWS)


def _denied(ask) -> None:
    try:
        ask(OpenVersions(fresh_id(), ("dataset/patients",), Purpose.DEBUG))
    except HermeticError:
        return


if __name__ == "__main__":
    main(attack)
