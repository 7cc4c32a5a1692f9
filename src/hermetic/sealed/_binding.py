"""What ties the parts of an object together: associated data and root (spec/sealed-object.md sections 4 and 6)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermetic.crypto.digests import digest
from hermetic.crypto.floe import FloeParameters
from hermetic.crypto.mac import sha384
from hermetic.formats.trailer import Layout, root_input

if TYPE_CHECKING:
    from hermetic.formats.suites import Suite

PAYLOAD = b"hermetic/v1/payload\n"
METADATA = b"hermetic/v1/metadata\n"


def associated_data(label: bytes, prefix: bytes) -> bytes:
    """Return what a message is bound to: its label, then SHA-384 of magic to header."""
    return label + sha384(prefix)


def parameters(suite: Suite) -> FloeParameters:
    """Return the FLOE parameters that the suite fixes."""
    return FloeParameters(suite.stored_segment)


def object_root(layout: Layout, *, prefix: bytes, metadata: bytes, floe_header: bytes, leaf_table: bytes) -> bytes:
    """Return the 32-byte root over the four parts, given whole."""
    name = layout.suite.digest
    return digest(
        name,
        root_input(
            layout,
            prefix=digest(name, prefix),
            metadata=digest(name, metadata),
            floe_header=digest(name, floe_header),
            leaf_table=digest(name, leaf_table),
        ),
    )
