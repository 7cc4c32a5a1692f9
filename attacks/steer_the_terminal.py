"""Names that steer the terminal of whoever lists them.

Attacker: whoever can name something: a file to be sealed, an owner, a reason, a run, a label, an exposure, a folder that is
          scanned.
Tries:    escape sequences that hide lines or rename the window, a line break that forges a line of output (`safe: yes`), carriage
          returns, and right-to-left marks, in every text that commands print, also in their errors.
Stops it: asset and member names have a small alphabet; every other text is printed with control and direction characters written
          out, and a cell never ends a line. JSON output is ASCII.
"""

from __future__ import annotations

import json
import re

from _stage import ROWS, Stage, Succeeded, main

from hermetic.errors import HermeticError, InvalidName

EVIL = "x\x1b[2J\x1b]0;owned\x07\r\nsafe  yes, as far as is known\n\u202e\u2066gnp.exe\x9b31m"
FORGED = re.compile(r"(?m)^\s*safe  yes, as far")
STEERING = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def attack(stage: Stage) -> None:
    stage.create().seal()
    evil = stage.base / "evil.csv"
    evil.write_bytes(ROWS)
    with stage.connect() as h:
        for name in (f"dataset/{EVIL}", "dataset/a\nb", "dataset/\u202ea"):
            stage.refused(
                f"an asset called {name[:20]!r}", lambda name=name: h.seal(b"x", name=name, data_class="internal"), InvalidName
            )
        for member in (EVIL, "a\nb", "a\u202eb", "\x1b[1mb"):
            stage.refused(
                f"a member called {member[:12]!r}",
                lambda m=member: h.seal(b"x", name="dataset/m", data_class="internal", member=m),
                HermeticError,
            )
        folder = stage.base / "folder"
        folder.mkdir()
        (folder / "a\nb.csv").write_bytes(b"x")
        stage.refused("a folder with such a file", lambda: h.seal(folder, name="dataset/m", data_class="internal"), HermeticError)
        h.seal(b"x", name="dataset/owned", data_class="internal", owner=_accepted(stage, h), labels=(("note", EVIL),))
        h.decide("dataset/owned", f"because {EVIL}", retention_days=3)
    runs = (
        ("ls",),
        ("ls", EVIL),
        ("show", "dataset/owned"),
        ("show", f"dataset/{EVIL}"),
        ("status",),
        ("log", "ls"),
        ("lineage", "dataset/owned"),
        ("access", "ls"),
        ("map", "--output", stage.base / "map.svg"),
        ("cat", f"dataset/patients@1/{EVIL}", "--purpose", "prepare"),
        ("cat", "dataset/patients", "--purpose", EVIL),
        ("expose", "dataset/patients", stage.project / EVIL.replace("/", ""), "--for", "2h", "--purpose", "prepare"),
        ("status",),
        ("run", EVIL, "--purpose", "train", "--", "true"),
        ("run", "r", "--purpose", "train", "--", f"/nonexistent/{EVIL}"),
        ("status", "--scan", _planted(stage)),
        ("scan", _planted(stage)),
        ("inspect", _planted(stage) / EVIL.replace("/", "")),
        ("restore", "--from", f"/nonexistent/{EVIL}"),
        ("key", "show", EVIL),
        ("-C", f"/nonexistent/{EVIL}", "ls"),
        (EVIL,),
        ("seal", f"/nonexistent/{EVIL}", "--as", "dataset/x"),
        ("log", "verify", "--anchor", f"/nonexistent/{EVIL}"),
    )
    for command in runs:
        _look(stage, command)
        _look(stage, (*command[:-2], "--json", *command[-2:]) if "--" in command else (*command, "--json"))


def _accepted(stage: Stage, h) -> str:
    """The most hostile owner that is taken; what refuses it is as good as what writes it out."""
    for owner in (EVIL, EVIL.replace("\n", " "), EVIL.replace("\n", " ").replace("\x1b", ""), "plain"):
        try:
            h.seal(b"x", name="dataset/probe", data_class="internal", owner=owner)
        except HermeticError:
            continue
        stage.told.append(f"  control  an owner like {owner[:16]!r} is taken")
        return owner
    raise AssertionError


def _planted(stage: Stage):
    folder = stage.base / "planted"
    folder.mkdir(exist_ok=True)
    (folder / EVIL.replace("/", "")).write_bytes(ROWS)
    return folder


def _look(stage: Stage, command: tuple) -> None:
    done = stage.cli(*(str(part).replace("\0", "") for part in command))
    said = f"hermetic {' '.join(str(part)[:14] for part in command)}".encode("unicode_escape").decode()
    for stream in (done.stdout, done.stderr):
        text = stream.decode("utf-8", "replace")
        for what, pattern in (("steers", STEERING), ("forges a line", FORGED)):
            hit = pattern.search(text)
            if hit:
                raise Succeeded(f"{said} {what}: {text[max(0, hit.start() - 60) : hit.end() + 40]!r}")
    stage.told.append(f"  stopped  {said} (exit {done.returncode})")
    if "--json" in command and done.stdout.strip():
        json.loads(done.stdout)


if __name__ == "__main__":
    main(attack)
