"""An old, authentic version is passed off as the newest.

Attacker: whoever can write the store, and kept copies of everything that ever lay there.
Tries:    put the old object, and the old manifest with its genuine signature, in the place of the new ones.
Stops it: which version is the latest is custody's word (and this user's pins), never the store's; the old root is not the one
          signed for the new version.
"""

from __future__ import annotations

from _stage import Stage, main

from hermetic.errors import IntegrityError


def attack(stage: Stage) -> None:
    old = stage.create().seal("model/risk", b"vulnerable weights", data_class="confidential").version
    new = stage.seal("model/risk", b"repaired weights!!", data_class="confidential").version
    stage.honest("the latest", stage.read("model/risk"), b"repaired weights!!")

    good = {path: path.read_bytes() for path in (stage.object(new), stage.manifest(new))}
    stage.object(new).write_bytes(stage.object(old).read_bytes())
    stage.refused("the old object in the new one's place", lambda: stage.read("model/risk"), IntegrityError)
    stage.manifest(new).write_bytes(stage.manifest(old).read_bytes())
    stage.refused("with the old manifest, genuinely signed", lambda: stage.read("model/risk"), IntegrityError)
    stage.refused("verify sees it too", lambda: stage.connect().verify("model/risk"), IntegrityError)
    for path, data in good.items():
        path.write_bytes(data)
    stage.honest("put right again", stage.read("model/risk"), b"repaired weights!!")


if __name__ == "__main__":
    main(attack)
