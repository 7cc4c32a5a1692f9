"""Sealed files at paths of their user's choosing trade places, come back, and stand where they were never put.

Attacker: whoever can write the bucket or folder where `sealed::` files lie; no key.
Tries:    exchanges two files of one asset, and of two; puts an older state back, a removed file, a copy at a free name; puts a plain
          file, a link, a cut object and another manifest in a file's place; names the same file by odd paths; puts a cache in front.
Stops it: custody keeps which object was last put at each location, and every opening asks; then the release goes by name, and every
          byte is checked against the signed manifest. Links are not followed, paths are taken as they are, caches are refused.
"""

from __future__ import annotations

import os

import fsspec
from _stage import Stage, main

from hermetic.errors import HermeticError, IntegrityError, InvalidName, UsageError

ONE, TWO = b"one " * 500, b"two " * 500
RULES = """rules:
  - {path: out/**, kind: dataset, class: restricted, name: out}
  - {path: other/**, kind: dataset, class: restricted, name: other}
"""


def attack(stage: Stage) -> None:
    stage.create()
    rules = stage.project / "hermetic.yaml"
    rules.write_text(rules.read_text().replace("rules: []\n", RULES))
    stage.cli("policy", "apply")
    os.environ["HERMETIC_PURPOSE"] = "prepare"
    fs = fsspec.filesystem("sealed")
    a, b, other = (stage.project / name for name in ("out/a", "out/b", "other/a"))
    for path, content in ((a, ONE), (b, TWO), (other, b"other")):
        fs.pipe_file(str(path), content)
    stage.honest("both files are read", (fs.cat_file(str(a)), fs.cat_file(str(b))), (ONE, TWO))
    good = {path: (path.read_bytes(), _side(path).read_bytes()) for path in (a, b, other)}

    for what, theirs in (("files of one asset exchanged", b), ("files of two assets exchanged", other)):
        _put(a, good[theirs])
        _put(theirs, good[a])
        for path in (a, theirs):
            stage.refused(f"{what}: {path.name}", lambda path=path: fs.cat_file(str(path)), IntegrityError)
        _put(a, good[a])
        _put(theirs, good[theirs])
    _others(stage, fs, a, good)
    _histories(stage, fs, a, good)


def _others(stage: Stage, fs, a, good) -> None:
    free = a.with_name("free")
    _put(free, good[a])
    stage.refused("a copy at a free name", lambda: fs.cat_file(str(free)), IntegrityError)
    for what, content in (
        ("a plain file", ONE),
        ("an object cut short", good[a][0][:-1]),
        ("an object with more at its end", good[a][0] + b"x"),
    ):
        a.write_bytes(content)
        stage.refused(f"{what} in its place", lambda: fs.cat_file(str(a)), IntegrityError)
    a.unlink()
    (stage.base / "aside").write_bytes(good[a][0])
    a.symlink_to(stage.base / "aside")
    stage.refused("a link in its place", lambda: fs.cat_file(str(a)), IntegrityError)
    a.unlink()
    _put(a, (good[a][0], good[a][1].replace(b"payload", b"PAYLOAD")))
    stage.refused("an edited manifest beside it", lambda: fs.cat_file(str(a)), IntegrityError)
    _put(a, good[a])
    for odd in (f"{a.parent}/../out/a", f"sealed::file://{a}::x", "sealed::file:", f"sealed::sealed::file://{a}"):
        stage.refused(f"an odd path {odd.replace(str(stage.project), '')}", lambda odd=odd: fs.cat_file(odd), InvalidName)
    cache = fsspec.filesystem("filecache", fs=fs, cache_storage=str(stage.base / "cache"))
    if not str(stage.base).startswith("/dev/shm"):
        stage.refused("a cache in front", lambda: cache.cat_file(str(a)), UsageError, HermeticError)


def _histories(stage: Stage, fs, a, good) -> None:
    fs.pipe_file(str(a), TWO)
    stage.honest("the newer state is read", fs.cat_file(str(a)), TWO)
    newer = (a.read_bytes(), _side(a).read_bytes())
    _put(a, good[a])
    stage.refused("an older state put back", lambda: fs.cat_file(str(a)), IntegrityError)
    _put(a, newer)
    stage.honest("what belongs there is read again", fs.cat_file(str(a)), TWO)
    fs.rm(str(a))
    for what, raw in (("a removed file put back", newer), ("an older state of it put back", good[a])):
        _put(a, raw)
        stage.refused(what, lambda: fs.cat_file(str(a)), IntegrityError)


def _side(path):
    return path.with_name(path.name + ".manifest.json")


def _put(path, raw) -> None:
    path.write_bytes(raw[0])
    _side(path).write_bytes(raw[1])


if __name__ == "__main__":
    main(attack)
