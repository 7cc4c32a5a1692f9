"""Another user of the machine against custody kept apart: its socket.

Attacker: a user of the machine, enrolled to audit and nothing more, with custody serving under another user id.
Tries:    take the socket away, put another beside it; have a colleague who was told of another place connect to a
          socket of theirs: in a folder of theirs, a shared one, a sticky one, behind a link; to pass on what the colleague asks.
Stops it: user ids of the system; the caller checks every folder on the way to the socket, and that its owner is who answers, before
          it says anything: nothing reaches whoever stands there.
"""

from __future__ import annotations

import contextlib
import os
import socket

from _apart import Apart, separated
from _stage import Stage, main

from hermetic.errors import Denied
from hermetic.formats.messages.greeting import Hello


def attack(stage: Stage) -> None:
    with separated(stage) as apart:
        place, beside = str(apart.place), str(apart.place.with_name("new.sock"))
        for what, code in {
            "take the socket away": f"os.unlink({place!r})",
            "put another beside it": f"os.symlink('/dev/null', {beside!r})",
            "move its folder": f"os.rename({str(apart.place.parent)!r}, {str(stage.base / 'gone')!r})",
            "close it to others": f"os.chmod({place!r}, 0)",
        }.items():
            apart.tried(what, code)
        _impostor(apart)


def _impostor(apart: Apart) -> None:
    """A socket of the attacker's where a colleague is told that custody is, in folders such as there are."""
    stage, uid = apart.stage, apart.uid
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
            with apart.attacker():
                listener.bind(str(folder / "custody.sock"))
            listener.listen()
            # Somebody's own folder is what the colleague would be told; root's own socket there is what they would expect.
            if folder == own / "below":
                os.lchown(folder / "custody.sock", 0, 0)
            stage.refused(f"a socket in {folder.name}", lambda at=folder: apart.ask(Hello(), at / "custody.sock"), Denied)
        stage.refused("a link of theirs", lambda: apart.ask(Hello(), link / "below" / "custody.sock"), Denied)


if __name__ == "__main__":
    main(attack)
