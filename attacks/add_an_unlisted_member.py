"""Something that nobody signed is added to a version.

Attacker: whoever can write the store (formats with partial encryption load what is not listed without a word).
Tries:    further objects in the version's folder, sealed by the attacker or copied from elsewhere; more entries in the manifest;
          a member that the catalogue does not know; and an object number past the end.
Stops it: what a version holds is what its signed manifest lists; everything else in the folder is never looked at, and `gc` tells
          of it.
"""

from __future__ import annotations

import base64
import json
from dataclasses import replace

from _stage import ROWS, Stage, main

from hermetic.errors import HermeticError, IntegrityError
from hermetic.formats.messages.versions import Member


def attack(stage: Stage) -> None:
    stage.create()
    version = stage.seal("model/risk", ROWS, data_class="internal").version
    extra = stage.seal("model/evil", b"evil", data_class="internal").version
    folder = stage.object(version).parent
    (folder / "1.sealed").write_bytes(stage.object(extra).read_bytes())
    (folder / "tensors.safetensors").write_bytes(b"evil")
    (folder / "0.sealed.sig").write_bytes(b"evil")
    with stage.connect(purpose="serve") as h:
        stage.honest("members are those that were signed", [item.path for item in h.members("model/risk")], ["data"])
        stage.honest("reading", h.open("model/risk").read(), ROWS)
        for member in ("tensors.safetensors", "1.sealed", "1", "evil", "../" + extra + "/0.sealed"):
            stage.refused(f"opening {member[:20]!r}", lambda m=member: h.open("model/risk", member=m), HermeticError)
        with h.version("model/risk") as held:
            for index in (1, -1, 65536):
                stage.refused(f"object {index}", lambda i=index: held.reader(Member("data", i, len(ROWS))), IntegrityError)
            other = replace(held.members[0], path="another")
            stage.refused("a member's name that is not the sealed one", lambda: held.reader(other), IntegrityError)
    path = stage.manifest(version)
    envelope = json.loads(path.read_bytes())
    payload = json.loads(base64.b64decode(envelope["payload"]))
    payload["objects"].append({**payload["objects"][0], "index": 1, "id": payload["version"]})
    envelope["payload"] = base64.b64encode(json.dumps(payload, separators=(",", ":"), sort_keys=True).encode()).decode()
    path.write_bytes(json.dumps(envelope, separators=(",", ":"), sort_keys=True).encode())
    stage.refused("one object more in the manifest", lambda: stage.connect().verify("model/risk"), IntegrityError)


if __name__ == "__main__":
    main(attack)
