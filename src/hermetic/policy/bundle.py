"""All policy files as one canonical byte string: what is applied, stored, compared and hashed (spec/policy.md section 8).

    "hermetic/v1/policy-bundle" LF
    u32 number of files, then for each file in byte order of its name:
    u16 length of name · name (ASCII) · u32 length of content · content

Integers are big-endian. There is exactly one encoding for a set of files, so equal digests mean equal files, byte for byte.
"""

from __future__ import annotations

import difflib
import re
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hermetic.crypto import digests
from hermetic.errors import ConfigError, FormatError
from hermetic.policy.model import FILE

if TYPE_CHECKING:
    from collections.abc import Mapping

MAGIC = b"hermetic/v1/policy-bundle\n"
MAX_FILES = 65  # hermetic.yaml and 64 Cedar files
MAX_BYTES = 1024 * 1024
FOLDER = "policies/"

_NAME = re.compile(r"policies/[a-z0-9][a-z0-9._-]{0,63}\.cedar")


@dataclass(frozen=True, slots=True)
class PolicyBundle:
    """File names relative to the project, and contents: `hermetic.yaml` and any number of `policies/NAME.cedar`."""

    files: Mapping[str, bytes]

    def __post_init__(self) -> None:
        """Refuse names and sizes that a bundle cannot have: ConfigError with the file's name."""
        if FILE not in self.files:
            raise ConfigError(f"there is no {FILE}", hint="run `hermetic init`", file=FILE)
        for name in self.files:
            if name != FILE and not _NAME.fullmatch(name):
                hint = f"name policy files {FOLDER}NAME.cedar, in lower case"
                raise ConfigError("not a name of a policy file", hint=hint, file=name[:100])
        if len(self.files) > MAX_FILES or sum(map(len, self.files.values())) > MAX_BYTES:
            hint = "merge policy files, or remove what no longer applies"
            raise ConfigError(f"over {MAX_FILES} policy files or {MAX_BYTES} bytes in all", hint=hint, file=FILE)

    def to_bytes(self) -> bytes:
        """Return the one encoding of these files."""
        parts = [MAGIC, struct.pack(">I", len(self.files))]
        for name, content in sorted(self.files.items()):
            parts += [struct.pack(">H", len(name)), name.encode("ascii"), struct.pack(">I", len(content)), bytes(content)]
        return b"".join(parts)

    @classmethod
    def from_bytes(cls, raw: bytes) -> PolicyBundle:
        """Read an encoding. Raises FormatError for anything that `to_bytes` would not have written."""
        try:
            bundle = cls(_read(raw))
        except (struct.error, UnicodeDecodeError, ConfigError):
            raise FormatError("not a policy bundle") from None
        if bundle.to_bytes() != raw:
            raise FormatError("policy bundle is not in canonical form")
        return bundle

    def digest(self) -> bytes:
        """Return the SHA-256 of the encoding: 32 bytes that name this policy everywhere."""
        return digests.digest("sha256", self.to_bytes())

    def document_text(self) -> str:
        """Return hermetic.yaml as text. Raises ConfigError if it is not UTF-8."""
        return _text(FILE, self.files[FILE])

    def cedar_texts(self) -> dict[str, str]:
        """Return the Cedar files as text, by name. Raises ConfigError if one is not UTF-8."""
        return {name: _text(name, content) for name, content in sorted(self.files.items()) if name != FILE}


def _read(raw: bytes) -> dict[str, bytes]:
    if len(raw) > MAX_BYTES + len(MAGIC) + 4 + MAX_FILES * 128 or not raw.startswith(MAGIC):
        raise FormatError("not a policy bundle")
    (count,) = struct.unpack_from(">I", raw, len(MAGIC))
    at = len(MAGIC) + 4
    files: dict[str, bytes] = {}
    for _ in range(min(count, MAX_FILES)):
        (length,) = struct.unpack_from(">H", raw, at)
        name = raw[at + 2 : at + 2 + length].decode("ascii")
        at += 2 + length
        (length,) = struct.unpack_from(">I", raw, at)
        files[name] = raw[at + 4 : at + 4 + length]
        at += 4 + length
    return files


def _text(name: str, content: bytes) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ConfigError("not UTF-8 text", hint="save the file as UTF-8", file=name, line=line, column=1) from None


def of_texts(document: str, cedar: Mapping[str, str]) -> PolicyBundle:
    """Return the bundle of these texts; names of Cedar files may come with or without `policies/`. Raises ConfigError."""
    try:
        files = {FOLDER + name.removeprefix(FOLDER): text.encode("utf-8") for name, text in cedar.items()}
        return PolicyBundle({FILE: document.encode("utf-8")} | files)
    except UnicodeEncodeError:
        raise ConfigError("the text has no UTF-8 form", hint="retype it in plain characters", file=FILE) from None


def digest(document: str, cedar: Mapping[str, str]) -> bytes:
    """Return the digest of the bundle of these texts. Raises ConfigError."""
    return of_texts(document, cedar).digest()


def diff(old: PolicyBundle, new: PolicyBundle) -> str:
    """Return what changed, file by file, as a unified diff; empty if nothing did."""
    lines: list[str] = []
    for name in sorted({*old.files, *new.files}):
        before, after = _lines(old, name), _lines(new, name)
        if old.files.get(name) != new.files.get(name):
            delta = list(difflib.unified_diff(before, after, f"applied/{name}", f"edited/{name}", lineterm=""))
            lines += delta or [f"{name}: line endings or bytes that are not text changed"]
    return "".join(f"{line}\n" for line in lines)


def _lines(bundle: PolicyBundle, name: str) -> list[str]:
    return bundle.files.get(name, b"").decode("utf-8", "replace").splitlines()
