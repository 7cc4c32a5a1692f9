"""domain.json is pointed to a provider of the attacker, and the custody folder is replaced by a domain of the attacker's own.

Attacker: whoever can write the custody home, the root locked.
Tries:    name another provider, root or domain in domain.json; give it the domain secret of a domain that the attacker made;
          replace the whole custody folder by that domain, dressed up with the victim's id; do the same with the pins edited, and
          deleted.
Stops it: the wrap is bound to domain and root; rows carry a MAC under the domain secret; the pins hold a check value of that
          secret and the log's key. With the pins gone too it is a first use, which is a finding: nothing here remembers better.
"""

from __future__ import annotations

import json
import os
import shutil

from _stage import ROWS, Stage, main

from hermetic.domain.create import create_domain
from hermetic.domain.home import Home
from hermetic.errors import HermeticError, IntegrityError
from hermetic.formats import canonical
from hermetic.formats.binary_text import to_base64url
from hermetic.ids import id_from_bytes


def attack(stage: Stage) -> None:
    stage.create().seal()
    stage.honest("reading", stage.read(), ROWS)
    path = stage.custody / "domain.json"
    good = json.loads(path.read_bytes())
    root = good["roots"][0]
    other = id_from_bytes(os.urandom(16))
    forged = {
        "a provider that does not exist": {**root, "provider": "attacker:service"},
        "a provider with a path": {**root, "provider": "local:../../evil"},
        "a provider with credentials": {**root, "provider": "openbao:user@evil"},
        "the passphrase provider": {**root, "provider": "local:passphrase"},
        "another root": {**root, "root": other},
        "a wrap of another length": {**root, "wrapped": to_base64url(b"HRW\x01" + bytes(60))},
        "a wrap of zeros": {**root, "wrapped": to_base64url(bytes(64))},
    }
    for what, entry in forged.items():
        _write(path, {**good, "roots": [entry]})
        stage.refused(what, stage.connect, HermeticError)
    for what, document in {
        "another domain id": {**good, "domain": other},
        "no roots": {**good, "roots": []},
        "one root twice": {**good, "roots": [root, root]},
        "a newer format": {**good, "format": "hermetic/domain/v2"},
        "an extra member": {**good, "module": "evil"},
    }.items():
        _write(path, document)
        stage.refused(what, stage.connect, HermeticError)
    _write(path, good)
    path.chmod(0o666)
    stage.refused("a file that others can write", stage.connect, HermeticError)
    path.chmod(0o600)
    _own_domain(stage)


def _own_domain(stage: Stage) -> None:
    """The attacker's domain under the victim's id: everything in it is authentic, under keys of the attacker."""
    theirs = stage.base / "theirs"
    (theirs / "project").mkdir(parents=True)
    import hermetic.domain.create as module

    fresh, module.fresh_id = module.fresh_id, _first(stage.domain, module.fresh_id)
    try:
        create_domain(
            theirs / "project",
            provider_uri="local:insecure-file",
            project_name="cardio",
            home=Home(theirs / "data", theirs / "config"),
        )
    finally:
        module.fresh_id = fresh
    saved = stage.save()
    shutil.rmtree(stage.custody)
    shutil.copytree(theirs / "data" / stage.domain, stage.custody)
    stage.refused("the whole custody folder replaced by the attacker's", stage.connect, IntegrityError)
    stage.refused("sealing into it", lambda: stage.seal(data=b"for the attacker"), IntegrityError)
    pins = stage.settings / "pins.json"
    mine, evil = json.loads(pins.read_bytes()), json.loads((theirs / "config" / stage.domain / "pins.json").read_bytes())
    for field in ("domain_check", "log_keys", "manifest_keys", "checkpoint"):
        pins.write_bytes(canonical.encode({**mine, field: evil[field]}))
        stage.refused(f"and {field} of the pins edited to match", stage.connect, HermeticError)
    for raw in (b"", b"{}", b"null", pins.read_bytes()[:-1]):
        pins.write_bytes(raw)
        stage.refused(f"and the pins damaged: {raw[:4]!r}", stage.connect, HermeticError)
    pins.unlink()
    status = stage.cli("status", "--json").stdout
    stage.found("and the pins deleted: first use is a finding", b"first-use" in status and b"first-use")
    shutil.rmtree(stage.custody)
    stage.custody.mkdir(mode=0o700)
    stage.put_back(saved)
    stage.honest("the victim's own domain still opens", stage.read(), ROWS)


def _first(value: str, then):
    given = [value]
    return lambda: given.pop() if given else then()


def _write(path, document) -> None:
    path.write_bytes(json.dumps(document, separators=(",", ":"), sort_keys=True).encode())
    path.chmod(0o600)


if __name__ == "__main__":
    main(attack)
