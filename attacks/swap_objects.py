"""Objects trade places: inside a version, between versions, between assets; with manifests, without, and with edited headers.

Attacker: whoever can write the store; no key.
Tries:    every exchange of authentic files, so that all signatures and tags in them verify; then the same with the header's ids
          edited to fit the new place and the root made anew.
Stops it: the manifest that custody gives names id, index, root and length of every object of the version asked for; ids are in
          the associated data of both messages.
"""

from __future__ import annotations

from _objects import Parts
from _stage import Stage, main

from hermetic.errors import IntegrityError

ONE, TWO = b"one " * 500, b"two " * 500


def attack(stage: Stage) -> None:
    stage.create()
    (stage.base / "in").mkdir()
    (stage.base / "in" / "a.csv").write_bytes(ONE)
    (stage.base / "in" / "b.csv").write_bytes(TWO)
    folder = stage.seal("dataset/both", stage.base / "in").version
    first, second = stage.seal("dataset/patients", ONE).version, stage.seal("dataset/patients", TWO).version
    other = stage.seal("dataset/controls", TWO).version
    stage.honest("members differ", (stage.read("dataset/both", "a.csv"), stage.read("dataset/both", "b.csv")), (ONE, TWO))

    pairs = {
        "two members of a version": ("dataset/both", "a.csv", stage.object(folder, 0), stage.object(folder, 1)),
        "two versions of an asset": ("dataset/patients@1", None, stage.object(first), stage.object(second)),
        "two assets": ("dataset/patients@2", None, stage.object(second), stage.object(other)),
    }
    for what, (ref, member, mine, theirs) in pairs.items():
        _swap(stage, what, (ref, member), mine, theirs)
    _swap_folders(stage, first, second)


def _swap(stage: Stage, what: str, ref, mine, theirs) -> None:
    good, bad = mine.read_bytes(), theirs.read_bytes()
    mine.write_bytes(bad)
    theirs.write_bytes(good)
    stage.refused(f"{what}: files exchanged", lambda: stage.read(*ref), IntegrityError)
    ids = {name: value for name, value in Parts.of(good).header.items() if name not in {"suite", "padding"}}
    for part in (ids, {"index": ids["index"]}, {"version": ids["version"], "asset": ids["asset"]}):
        mine.write_bytes(Parts.of(bad).with_header(**part).build())
        stage.refused(f"{what}: header edited to fit ({', '.join(part)})", lambda: stage.read(*ref), IntegrityError)
    mine.write_bytes(good)
    theirs.write_bytes(bad)


def _swap_folders(stage: Stage, first: str, second: str) -> None:
    store, aside = stage.project / "sealed", stage.base / "aside"
    (store / first).rename(aside)
    (store / second).rename(store / first)
    aside.rename(store / second)
    for number in (1, 2):
        stage.refused(
            f"folders of two versions exchanged, @{number}", lambda n=number: stage.read(f"dataset/patients@{n}"), IntegrityError
        )
    for number in (1, 2):
        stage.refused(f"the same, verify @{number}", lambda n=number: stage.connect().verify(f"dataset/patients@{n}"), IntegrityError)


if __name__ == "__main__":
    main(attack)
