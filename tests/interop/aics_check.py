"""Check a folder as `go/main.go` describes it with `aics-tlog` (run by its own Python; imports nothing of Hermetic).

Prints the same last line, and exits with 1 and a line on stderr at the first check that fails.
"""

import base64
import sys
from pathlib import Path

import aics_tlog as tlog


def fail(what: str) -> None:
    print(what, file=sys.stderr)
    sys.exit(1)


def require(what: str, good: object) -> None:
    if not good:
        fail(what)


def opened(what: str, text: str, key: tlog.VKey) -> tlog.Checkpoint:
    try:
        note = tlog.parse_note(text)
        result = tlog.verify_checkpoint(note, key)
    except ValueError as error:
        fail(f"{what}: {error}")
    require(f"{what}: {result.error}", result.ok)
    return tlog.parse_checkpoint(note.text)


def main(folder: Path) -> None:
    key = tlog.parse_vkey((folder / "key").read_text().strip())
    head, _, signed = (folder / "receipt").read_text().partition("\n\n")
    marker, extra, index_line, *path_lines = head.split("\n")
    require("receipt", marker == "c2sp.org/tlog-proof@v1")
    leaf, index = base64.b64decode(extra.removeprefix("extra ")), int(index_line.removeprefix("index "))
    new = opened("checkpoint", signed, key)
    path = [base64.b64decode(line) for line in path_lines]
    require("inclusion", tlog.verify_inclusion(tlog.leaf_hash(leaf), index, new.size, path, new.root))

    old = opened("old checkpoint", (folder / "old").read_text(), key)
    proof = [base64.b64decode(line) for line in (folder / "consistency").read_text().split()]
    require("consistency", tlog.verify_consistency(old.size, new.size, old.root, new.root, proof))

    whole = opened("exported checkpoint", (folder / "export" / "checkpoint").read_text(), key)
    reader = tlog.FileSystemTileReader(folder / "export")
    require("root from tiles", tlog.tree_root_from_tiles(reader, whole.size) == whole.root)
    for at in (0, index, whole.size // 2, whole.size - 1):
        made = tlog.inclusion_proof_from_tiles(reader, at, whole.size)
        entry = tlog.read_entry(reader, at, whole.size)
        require("entry from bundle", tlog.verify_inclusion(tlog.leaf_hash(entry), at, whole.size, made, whole.root))
    made = tlog.consistency_proof_from_tiles(reader, old.size, whole.size)
    require("consistency from tiles", tlog.verify_consistency(old.size, whole.size, old.root, whole.root, made))
    print("all good: sizes", old.size, new.size, whole.size)


main(Path(sys.argv[1]))
