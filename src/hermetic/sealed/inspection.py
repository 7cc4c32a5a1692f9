"""inspect: what anybody can know about a sealed file without a key, and what nobody can."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hermetic.formats.findings import Finding
from hermetic.sealed._parts import read_parts
from hermetic.sealed.verification import damaged_segments

if TYPE_CHECKING:
    from hermetic.formats.object_header import ObjectHeader
    from hermetic.stores.base import RangeSource

UNKNOWABLE = (
    "Not visible without the key: the content, its true length if padded, names, schema, labels. "
    "Not shown by this file alone: whether it is the one that was signed, which asset and version number its ids mean, who wrote it."
)


@dataclass(frozen=True, slots=True)
class Inspection:
    """The visible facts of one object; lengths in bytes.

    `payload_length` is the plaintext length after padding. `findings` names damaged segments; it is empty for a file that agrees
    with its own root, which anybody could have made: only a signed manifest says more.
    """

    header: ObjectHeader
    file_length: int
    payload_length: int
    metadata_length: int
    segments: int
    algorithm: str
    root: bytes
    findings: tuple[Finding, ...]

    def text(self) -> str:
        """Return the facts for people, one a line, and what cannot be known."""
        header = self.header
        facts = {
            "object": f"{header.object} (number {header.index} of its version)",
            "version": header.version,
            "asset": header.asset,
            "domain": header.domain,
            "data key": header.data_key,
            "suite": f"{header.suite_name}, padding {header.padding.value}",
            "length": f"{self.file_length} bytes; payload at most {self.payload_length} in {self.segments} segments; "
            f"metadata {self.metadata_length}",
            "root": f"{self.algorithm}:{self.root.hex()}",
            "check": "; ".join(item.message for item in self.findings) or "every segment agrees with the root",
        }
        lines = [f"{name + ':':<10}{value}" for name, value in facts.items()]
        return "\n".join([*lines, UNKNOWABLE])


def inspect(source: RangeSource, *, threads: int = 2) -> Inspection:
    """Read all of `source` and describe it. Raises FormatError or IntegrityError if it is no whole sealed object, StorageError."""
    parts = read_parts(source)
    layout = parts.layout
    return Inspection(
        header=parts.header,
        file_length=layout.file_length,
        payload_length=layout.plain_length,
        metadata_length=layout.suite.plain_length(layout.metadata),
        segments=layout.segments,
        algorithm=layout.suite.digest,
        root=parts.root,
        findings=_findings(parts.header, damaged_segments(source, parts, threads=threads)),
    )


def _findings(header: ObjectHeader, damaged: list[int]) -> tuple[Finding, ...]:
    if not damaged:
        return ()
    shown = ", ".join(str(position) for position in damaged[:10]) + (" and more" if len(damaged) > 10 else "")
    return (
        Finding(
            code="damaged-object",
            severity="high",
            subject=header.object,
            message=f"{len(damaged)} segments are not what was sealed: {shown}",
            remedy="restore the object from a copy; the other segments still open",
        ),
    )
