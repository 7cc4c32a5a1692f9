"""Attackers' tools for looking for keys: collect every key of a domain honestly, then search for it in every spelling."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

from _objects import Parts

from hermetic.crypto.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from _stage import Stage


def every_secret(stage: Stage, work: Callable[[], object]) -> dict[str, bytes]:
    """Run `work` in this process and return the bytes of every Secret it makes: roots, derived keys, KEKs, data keys."""
    seen: dict[str, bytes] = {}
    made = Secret.__init__

    def noting(self: Secret, data: bytes) -> None:
        made(self, data)
        raw = bytes(data)
        if len(raw) >= 16:
            seen[f"secret {len(seen)} of {len(raw)} bytes"] = raw

    Secret.__init__ = noting
    try:
        work()
    finally:
        Secret.__init__ = made
    return seen


def spellings(raw: bytes) -> set[bytes]:
    """Return the ways in which bytes are commonly written."""
    text = {raw, raw.hex().encode(), raw.hex().upper().encode(), repr(raw)[2:-1].encode(), str(list(raw))[1:-1].encode()}
    for encode in (base64.b64encode, base64.urlsafe_b64encode, base64.b32encode, base64.b85encode):
        text.add(encode(raw).rstrip(b"="))
    return text


def found_in(data: bytes, secrets: dict[str, bytes]) -> list[str]:
    """Return the names of the secrets that `data` shows."""
    return [name for name, raw in secrets.items() if any(spelling in data for spelling in spellings(raw))]


def files_below(*folders: Path) -> list[Path]:
    return [path for folder in folders for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]


def public_values(stage: Stage) -> set[bytes]:
    """Return what passes through the key derivation and is public: header tags of FLOE, and the check value of the domain."""
    objects = [Parts.read(path) for path in files_below(stage.project / "sealed") if path.suffix == ".sealed"]
    tags = {tag for parts in objects for tag in (parts.floe_header[42:], parts.metadata[42:74])}
    return tags | {bytes.fromhex(json.loads((stage.settings / "pins.json").read_bytes())["domain_check"])}
