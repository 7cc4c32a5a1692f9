"""Links, devices and folders stand where the store keeps objects.

Attacker: whoever can write the store; the victim reads, seals, collects garbage and exposes as another, more powerful user.
Tries:    symbolic links in place of an object, a manifest, a version's folder; hard links to other files; a FIFO, a folder, a
          socket; a link planted where the next object would be written; links that lead garbage collection out of the store;
          names that are no keys.
Stops it: the store opens folder by folder without following links, refuses all but regular files, and never replaces what is
          there.
"""

from __future__ import annotations

import os
import socket

from _stage import ROWS, Stage, main

from hermetic.errors import Conflict, HermeticError, IntegrityError
from hermetic.stores.local import LocalStore


def attack(stage: Stage) -> None:
    version = stage.create().seal().version
    path, folder = stage.object(version), stage.object(version).parent
    good, secret = path.read_bytes(), stage.base / "secret"
    secret.write_bytes(b"root:x:0:0:")
    stage.honest("reading", stage.read(), ROWS)
    copy = stage.base / "copy.sealed"
    copy.write_bytes(good)

    for what, make in {
        "a link to the genuine bytes": lambda: path.symlink_to(copy),
        "a link to another file": lambda: path.symlink_to(secret),
        "a link to nothing": lambda: path.symlink_to("nowhere"),
        "a hard link to another file": lambda: os.link(secret, path),
        "a FIFO": lambda: os.mkfifo(path),
        "a folder": path.mkdir,
        "a socket": lambda: socket.socket(socket.AF_UNIX).bind(os.path.relpath(path)),
    }.items():
        path.unlink()
        make()
        stage.refused(f"{what} in place of an object", stage.read, HermeticError)
        stage.refused(f"{what}: verify", lambda: stage.connect().verify("dataset/patients"), HermeticError)
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
        path.write_bytes(good)
    stage.honest("a hard link to the genuine bytes is the genuine object", _hard(stage, path, copy), ROWS)
    manifest = stage.manifest(version)
    manifest.unlink()
    manifest.symlink_to(secret)
    stage.refused("a link in place of the manifest: verify", lambda: stage.connect().verify("dataset/patients"), IntegrityError)
    stage.honest("reading repairs nothing through the link", (stage.read(), secret.read_bytes()), (ROWS, b"root:x:0:0:"))
    folder.rename(stage.base / "moved")
    folder.symlink_to(stage.base / "moved")
    stage.refused("a link in place of the version's folder", stage.read, HermeticError)
    _writing(stage, secret)
    _collecting(stage)


def _hard(stage: Stage, path, copy) -> bytes:
    path.unlink()
    os.link(copy, path)
    return stage.read()


def _writing(stage: Stage, secret) -> None:
    store = LocalStore(stage.base / "other")
    (stage.base / "other").mkdir()
    (stage.base / "other" / "v").symlink_to(stage.base)
    stage.refused("writing below a planted link to a folder", lambda: store.put_bytes("v/0.sealed", b"x"), HermeticError)
    (stage.base / "other" / "w").mkdir()
    (stage.base / "other" / "w" / "0.sealed").symlink_to(secret)
    stage.refused("writing onto a planted link", lambda: store.put_bytes("w/0.sealed", b"x"), Conflict)
    store.put_bytes("w/0.sealed", b"x", replace=True)
    stage.honest("replacing takes the link away, not what it leads to", secret.read_bytes(), b"root:x:0:0:")
    for key in ("../secret", "/etc/passwd", "w/../../secret", "w//x", "a\\b", "w/\x1b[31m", ".hermetic-tmp-x", "w/" + "x" * 300, ""):
        stage.refused(f"the key {key[:20]!r}", lambda key=key: store.put_bytes(key, b"x"), HermeticError)


def _collecting(stage: Stage) -> None:
    outside = stage.base / "outside"
    (outside / ("a" * 26)).mkdir(parents=True)
    kept = outside / ("a" * 26) / "0.sealed"
    kept.write_bytes(b"not ours")
    (stage.project / "sealed" / ("a" * 26)).symlink_to(outside / ("a" * 26))
    (stage.project / "sealed" / ".hermetic-tmp-0000000000000000").symlink_to(kept)
    with stage.connect() as h:
        h.gc(older_than_ms=0)
    stage.honest("garbage collection does not leave the store", kept.read_bytes(), b"not ours")


if __name__ == "__main__":
    main(attack)
