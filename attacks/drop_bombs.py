"""Small files that would take all memory, all time, or the interpreter's stack.

Attacker: whoever can hand over a file: a store writer, a project, a backup, a colleague.
Tries:    YAML with aliases of aliases, deep nesting, endless keys and long scalars; JSON of a hundred thousand brackets, numbers
          of a million digits and repeated keys; sealed objects that announce gigantic headers, metadata, tables and payloads;
          sparse files; logs, receipts, backup indexes and openings with gigantic lengths; passphrase wraps with gigantic costs.
          Nothing here is compressed, so there is no bomb of that kind.
Stops it: limits are checked before anything is allocated by them; parsers are bounded in depth and length. Each attempt runs in a
          process that may use little memory and little time.
"""

from __future__ import annotations

import json
import signal
import struct
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

from _stage import Stage, Succeeded, main

MEMORY = 200  # MiB that an attempt may grow by
SECONDS = 20


def attack(stage: Stage) -> None:
    stage.base.joinpath("f").mkdir()
    command = [sys.executable, Path(__file__).with_name("_read_bomb.py")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as victim:
        for reader, bombs in _bombs().items():
            for what, raw in bombs.items():
                _try(stage, victim, (reader, what), raw)
        victim.stdin.close()


def _try(stage: Stage, victim: subprocess.Popen[str], named: tuple[str, str], raw) -> None:
    reader, what = named
    path = stage.base / "f" / ("config.yaml" if reader == "config" else "bomb")
    path.unlink(missing_ok=True)
    if callable(raw):
        raw(path)
    else:
        path.write_bytes(raw)
    path.chmod(0o600)
    start = time.monotonic()
    print(json.dumps([reader, str(path)]), file=victim.stdin, flush=True)
    code, text = json.loads(victim.stdout.readline())
    if code == -signal.SIGALRM:
        raise Succeeded(f"{reader}, {what}: hangs")
    spent = time.monotonic() - start
    said, grown, *_ = (*text.split("\n"), "", "")
    harmless = reader in {"glob", "cedar"}  # what is allowed there may be accepted, at little cost
    if code or not (said.startswith("refused") or harmless):
        raise Succeeded(f"{reader}, {what}: {text[-400:]}")
    if int(grown) / 1024 > MEMORY or spent > SECONDS:
        raise Succeeded(f"{reader}, {what}: took {int(grown) // 1024} MiB and {spent:.1f} s")
    stage.told.append(f"  stopped  {reader}, {what}: {said} ({int(grown) // 1024} MiB more, {spent:.1f} s)")


def _bombs() -> dict[str, dict]:
    deep, many = b"[" * 200_000, b'{"a":' * 200_000
    lol = "a: &a [x]\n" + "".join(f"{new}: &{new} [{','.join(['*' + old] * 9)}]\n" for old, new in pairwise("abcdefghij"))
    json_bombs = {
        "brackets": deep,
        "objects in objects": many,
        "a number of a million digits": b"1" * 1_000_000,
        "a number with an exponent": b"1e999999999",
        "one key a hundred thousand times": b"{" + b",".join([b'"a":1'] * 100_000) + b"}",
        "half a megabyte of escapes": b'"' + b"\\u0041" * 80_000 + b'"',
        "zeros": bytes(4 * 2**20),
    }
    yaml_bombs = {
        "aliases of aliases": lol.encode(),
        "brackets": b"[" * 100_000,
        "braces": b"{a: " * 30_000,
        "indented keys": b"".join(b" " * n + b"a:\n" for n in range(400)),
        "complex keys": b"? " * 50_000,
        "dashes": b"- " * 60_000,
        "a hundred thousand keys": b"".join(b"k%d: 1\n" % n for n in range(12_000)),
        "a long scalar": b"a: " + b"x" * 130_000,
        "a million characters": b"#" * 1_000_000,
        "tags and anchors": b"&a !!python/object/apply:os.system [id]",
        "quotes": b'"' + b"\\\n" * 60_000,
        "a block scalar": b"a: |9999999999\n x",
        "documents": b"---\n" * 30_000,
        "merge keys": b"a: &x {<<: *x}\n",
        "zeros": bytes(100_000),
    }
    return {
        "yaml": yaml_bombs,
        "config": {name: raw[:65_000] for name, raw in yaml_bombs.items() if name not in {"a million characters", "a long scalar"}},
        "json": json_bombs,
        **dict.fromkeys(("message", "leaf", "scan", "wrap", "pins", "domain"), json_bombs),
        "manifest": {
            **json_bombs,
            "a payload of brackets": b'{"payload":"' + b"W1tb" * 100_000 + b'","payloadType":"x","signatures":[]}',
        },
        "object": _objects(),
        "receipt": {
            "lines": b"c2sp.org/tlog-proof@v1\nindex 1\n" + b"\n" * 250_000,
            "blanks": b"\n\n" * 100_000,
            "base64": b"A" * 260_000,
        },
        "note": {"lines": ("a\n\n" + "— a AAAAAAAA\n" * 9000).encode(), "blanks": b"\n" * 131_072, "dashes": "—".encode() * 40_000},
        "index": {
            "four gigabytes of facts": struct.pack(">I", 2**32 - 1),
            "a wrong count": struct.pack(">I", 2) + b"{}" + bytes(36) * 100_000,
            "no facts": struct.pack(">I", 0),
        },
        "openings": {"four gigabytes": bytes(32) + b"\xff" * 4, "length zero": bytes(36) * 1000, "cut": bytes(10)},
        "bundle": {
            "four billion files": b"hermetic/v1/policy-bundle\n" + b"\xff" * 4,
            "a name of 64 KiB": b"hermetic/v1/policy-bundle\n" + bytes([0, 0, 0, 1, 255, 255]),
            "zeros": bytes(2 * 2**20),
        },
        "cedar": {
            "brackets": b'@id("x")\npermit (principal, action, resource) when { ' + b"(" * 20_000,
            "ifs": b'@id("x")\npermit (principal, action, resource) when { ' + b"if true then " * 3000,
            "comments": b"/" * 60_000,
            "policies": b'@id("x") permit (principal, action, resource);' * 1300,
            "a string": b'@id("' + b"x" * 60_000,
        },
        "ref": {"long": b"dataset/" + b"a/" * 500_000, "ats": b"@" * 100_000, "digits": b"dataset/a@" + b"9" * 100_000},
        "duration": {"digits": b"9" * 1_000_000 + b"d", "zeros": b"0" * 100_000},
        "glob": {"stars": b"**/" * 80 + b"x", "stars in a segment": b"*a" * 120 + b"b", "questions": b"?" * 250},
    }


def _objects() -> dict[str, object]:
    magic, end = b"HERMETIC", b"CITEMREH"
    start = magic + b"\0\1\0\0\0\xc8"  # version 1, a header of 200 bytes

    def trailer(prefix: int, payload: int, metadata: int, leaves: int) -> bytes:
        return struct.pack(">QQQQQHHI32s8s", prefix, payload, metadata, leaves, 88, 1, 1, 2**20 + 32, bytes(32), end)

    def sparse(size: int, head: bytes, tail: bytes):
        def write(path) -> None:
            with path.open("wb") as file:
                file.write(head)
                file.seek(size - len(tail))
                file.write(tail)

        return write

    big = 2**24 * (2**20 + 32) + 74
    huge = 2**20 * (2**20 + 32) + 74
    total = 214 + huge + 106 + 2**20 * 32 + 88
    return {
        "a header of four gigabytes": magic + b"\0\1" + b"\xff" * 4 + bytes(200),
        "a header longer than the file": magic + b"\0\1" + struct.pack(">I", 65_536) + bytes(200),
        "lengths near 2^64": start + bytes(300) + trailer(2**64 - 1, 2**64 - 1, 2**64 - 1, 2**64 - 1),
        "metadata of a terabyte": start + bytes(300) + trailer(214, 106, 2**40, 32),
        "a table of a terabyte": start + bytes(300) + trailer(214, 106, 106, 2**40),
        "a payload of sixteen terabytes in a small file": start + bytes(300) + trailer(214, big, 106, 2**24 * 32),
        "a sparse file of a terabyte without an end": sparse(2**40, start, b"x"),
        "a sparse file of a terabyte that adds up": sparse(total, start + b"[" * 200, trailer(214, huge, 106, 2**20 * 32)),
    }


if __name__ == "__main__":
    main(attack)
