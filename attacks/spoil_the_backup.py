"""The backup copy is read, altered, mixed and rolled back.

Attacker: whoever can read or write the backup place (another disk, a share), without the recovery passphrase.
Tries:    read anything out of it; change, cut, swap and splice chunks, packs and indexes; pass an older copy off as the newest,
          by deleting and by renaming; put in the copies of another domain; replace domain.json and the recovery wrap; restore
          over custody that is there; restore what is older than the restoring user has seen.
Stops it: everything there is ciphertext under keys from the domain secret; an index is bound to its number and names each chunk;
          the log's size and root stand in it and are compared with pins.
"""

from __future__ import annotations

import json
import shutil

from _stage import CANARY, ROWS, Stage, main

from hermetic.crypto.secret import Secret
from hermetic.domain.home import Home
from hermetic.domain.restore import restore_domain
from hermetic.errors import Conflict, HermeticError, WrongKey

PASSPHRASE = b"a recovery passphrase"


def attack(stage: Stage) -> None:
    stage.backup.mkdir()
    stage.create(backup=stage.backup, recovery_passphrase=Secret(PASSPHRASE))
    stage.seal(data=ROWS + CANARY)
    place = stage.backup / stage.domain
    older = _files(place)
    stage.seal(data=ROWS + b"second")
    newer = _files(place)
    stage.honest("restoring in another home", _restore(stage, "honest").versions, 2)
    sealed = b"".join(raw for name, raw in newer.items() if not name.endswith(".json"))
    shown = [word for word in (CANARY, b"patients", b"root", b"SQLite") if word in sealed]
    stage.found("nothing can be read there", not shown)
    stage.refused("another passphrase", lambda: _restore(stage, "a", b"another passphrase"), WrongKey)
    stage.refused("over custody that is there", lambda: restore_domain(stage.backup, stage.home, stage.project, _ask), Conflict)
    for what, change in _changes(newer).items():
        _put(place, change)
        stage.refused(what, lambda w=what: _restore(stage, w.replace(" ", "-")), HermeticError)
        _put(place, newer)
    _older(stage, place, older, newer)
    _other_domain(stage, place, newer)
    stage.honest("put right, it restores", _restore(stage, "again").versions, 2)


def _files(place) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in place.iterdir() if path.is_file()}


def _put(place, files: dict[str, bytes]) -> None:
    for path in place.iterdir():
        path.unlink()
    for name, raw in files.items():
        (place / name).write_bytes(raw)
        (place / name).chmod(0o600)


def _ask(*_: str) -> Secret:
    return Secret(PASSPHRASE)


def _restore(stage: Stage, name: str, passphrase: bytes = PASSPHRASE, *, home: Home | None = None):
    home = home or Home(stage.base / "homes" / name / "data", stage.base / "homes" / name / "config")
    return restore_domain(stage.backup, home, stage.project, lambda *_: Secret(passphrase), provider_uri="local:insecure-file")


def _changes(files: dict[str, bytes]) -> dict[str, dict[str, bytes]]:
    packs = sorted(name for name in files if name.startswith("pack-"))
    indexes = sorted(name for name in files if name.startswith("index-"))
    pack, newest, before = packs[-1], indexes[-1], indexes[-2]
    wrap = next(name for name in files if name.startswith("recovery-"))

    def flipped(name: str, at: int) -> dict[str, bytes]:
        raw = bytearray(files[name])
        raw[at] ^= 1
        return {**files, name: bytes(raw)}

    step = 32_768 + 28
    swapped = files[pack][step : 2 * step] + files[pack][:step] + files[pack][2 * step :]
    renamed = {**{name: raw for name, raw in files.items() if name != wrap}, f"recovery-{'a' * 26}.json": files[wrap]}
    return {
        "a byte of a chunk": flipped(pack, 5000),
        "a byte of the newest index": flipped(newest, -1),
        "a byte of the index's nonce": flipped(newest, 30),
        "a pack cut": {**files, pack: files[pack][:-1]},
        "a pack lengthened in front": {**files, pack: b"\0" + files[pack]},
        "a pack missing": {name: raw for name, raw in files.items() if name != pack},
        "two chunks exchanged": {**files, pack: swapped},
        "another pack in its place": {**files, pack: files[packs[0]]},
        "the older index renamed to be the newest": {**files, newest: files[before]},
        "the older index under a number of the future": {**files, "index-000000009999": files[before]},
        "a byte of the recovery wrap": flipped(wrap, -3),
        "a byte of domain.json": flipped("domain.json", -10),
        "no recovery wrap": {name: raw for name, raw in files.items() if name != wrap},
        "the recovery wrap under another name": renamed,
        "an empty index in front": {**files, "index-000000009998": b""},
        "a wrap that costs everything": {**files, wrap: _dear(files[wrap])},
    }


def _dear(raw: bytes) -> bytes:
    document = json.loads(raw)
    document["argon2id"]["memory_kib"] = 2**50
    return json.dumps(document, separators=(",", ":"), sort_keys=True).encode()


def _older(stage: Stage, place, older: dict, newer: dict) -> None:
    """The whole place as it was: authentic, only old. Whoever has seen more says so."""
    _put(place, older)
    back = _restore(stage, "unknowing")
    stage.kept("an older place, for somebody who has seen nothing", f"restores {back.versions} version: nothing there tells its age")
    memory = Home(stage.base / "homes" / "knowing" / "data", stage.base / "homes" / "knowing" / "config")
    settings = memory.domain_config(stage.domain)
    settings.mkdir(parents=True, mode=0o700)
    shutil.copy(stage.settings / "pins.json", settings / "pins.json")
    stage.refused("an older place, for the user whose pins remember", lambda: _restore(stage, "", home=memory), HermeticError)
    _put(place, newer)


def _other_domain(stage: Stage, place, files: dict) -> None:
    from hermetic.domain.create import create_domain

    theirs = stage.base / "theirs"
    for folder in ("project", "backup"):
        (theirs / folder).mkdir(parents=True)
    created = create_domain(
        theirs / "project",
        provider_uri="local:insecure-file",
        project_name="other",
        home=Home(theirs / "data", theirs / "config"),
        backup=theirs / "backup",
        recovery_passphrase=Secret(PASSPHRASE),
    )
    evil = _files(theirs / "backup" / created.domain_id)
    for kind in ("domain.json", "recovery-", "index-", "pack-"):
        mixed = {name: raw for name, raw in files.items() if not name.startswith(kind)}
        mixed |= {name: raw for name, raw in evil.items() if name.startswith(kind)}
        _put(place, mixed)
        stage.refused(f"{kind}* of another domain, same passphrase", lambda k=kind: _restore(stage, f"x{k[:5]}"), HermeticError)
    _put(place, evil)
    stage.refused("all of another domain under this one's name", lambda: _restore(stage, "all"), HermeticError)
    _put(place, files)


if __name__ == "__main__":
    main(attack)
