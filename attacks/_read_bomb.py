"""Reads one file as one kind of document, in a process that may use little memory: `_read_bomb.py KIND FILE`. See drop_bombs.py."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

from hermetic.errors import HermeticError

ROOM = 2**30 + 640 * 2**20  # address space beyond what the process has when it begins to read


def read(kind: str, path: Path) -> object:
    """Import what reads `kind` and return the function that reads it."""
    from hermetic.audit import leaf, note, openings, proof, scan
    from hermetic.cli import words
    from hermetic.domain import backup, config, pins
    from hermetic.formats import canonical, codec
    from hermetic.ids import Ref
    from hermetic.keys import domain_file, passphrase_wrap
    from hermetic.policy import bundle, defaults, document, globs
    from hermetic.policy.rulebook import Rulebook
    from hermetic.sealed.inspection import inspect
    from hermetic.signing.manifests import verify_manifest
    from hermetic.stores.local import LocalStore

    shipped = defaults.default_bundle("a" * 26, "cardio").files
    return {
        "yaml": lambda raw: document.parse(raw.decode()),
        "config": lambda _: config.load(path.parent),
        "json": lambda raw: canonical.decode(raw, limit=16 * 2**20),
        "message": codec.decode,
        "manifest": lambda raw: verify_manifest(raw, {"k": bytes(32)}),
        "object": lambda _: inspect(LocalStore(path.parent).open(path.name)),
        "leaf": leaf.Leaf.parse,
        "scan": lambda raw: scan.Scanner().read(raw),
        "receipt": proof.Receipt.parse,
        "note": note.Note.parse,
        "index": backup.Index.from_bytes,
        "openings": openings._parts,
        "bundle": bundle.PolicyBundle.from_bytes,
        "cedar": lambda raw: Rulebook.load(bundle.PolicyBundle(files={**shipped, "policies/x.cedar": raw})),
        "wrap": passphrase_wrap.PassphraseWrap.parse,
        "pins": pins.Pins.from_bytes,
        "domain": domain_file.DomainFile.decode,
        "ref": lambda raw: Ref.parse(raw.decode("latin-1")),
        "duration": lambda raw: words.seconds(raw.decode("latin-1")),
        "glob": lambda raw: globs.matches(raw.decode("latin-1"), "a/" * 120),
    }[kind]


def main() -> None:
    kind, path = sys.argv[1], Path(sys.argv[2])
    reader = read(kind, path)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    resource.setrlimit(resource.RLIMIT_AS, (peak * 1024 + ROOM, peak * 1024 + ROOM))
    with path.open("rb") as file:
        raw = file.read(2**26)
    try:
        print("accepted", str(reader(raw))[:60])
    except HermeticError as error:
        print("refused", type(error).__name__, str(error)[:100])
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak)


if __name__ == "__main__":
    main()
