"""Reads files as kinds of documents, each in a process that may use little memory and little time. See drop_bombs.py.

A line of standard input, as JSON, is [KIND, FILE]; a line of standard output is [EXIT CODE, OR MINUS THE SIGNAL, WHAT IT SAID]. What
reads is imported once, and forked for each file.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import traceback
from pathlib import Path

from hermetic.errors import HermeticError

LONGEST_S = 60
ROOM = 2**30 + 640 * 2**20  # address space beyond what the process has when it begins to read


def read(kind: str, path: Path) -> object:
    """Return the function that reads `kind`."""
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
    """Serve until standard input ends."""
    read("json", Path())  # imports everything
    for line in sys.stdin:
        kind, path = json.loads(line)
        ours, theirs = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(ours)
            os.dup2(theirs, 1)
            os.dup2(theirs, 2)
            _attempt(kind, Path(path))
        os.close(theirs)
        with os.fdopen(ours, "rb") as pipe:
            said = pipe.read().decode("utf-8", "replace")
        _, status = os.waitpid(child, 0)
        print(json.dumps([os.waitstatus_to_exitcode(status), said]), flush=True)


def _attempt(kind: str, path: Path) -> None:
    signal.alarm(LONGEST_S)
    code = 1
    try:
        _say(kind, path)
        sys.stdout.flush()
        code = 0
    except BaseException:  # noqa: BLE001 - whatever it is, the attack has to see it
        traceback.print_exc()
    finally:
        os._exit(code)


def _say(kind: str, path: Path) -> None:
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
