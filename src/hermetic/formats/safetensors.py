"""The head of a safetensors file: which tensors lie where (github.com/huggingface/safetensors, "Format").

    u64 little-endian length of the JSON · JSON {name: {dtype, shape, data_offsets: [begin, end]}, "__metadata__": {text: text}} · data

Invariants of a head that `parse_head` returns:

1. Every tensor's bytes are as long as its dtype and shape say.
2. Sorted by place the tensors fill the data exactly: nothing overlaps, nothing is left over, nothing reaches past the end.

Example: {"a": {"dtype": "F16", "shape": [2, 3], "data_offsets": [0, 12]}} is a file whose data are 12 bytes, one tensor.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hermetic.errors import FormatError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

LENGTH_BYTES = 8
HEAD_LIMIT = 100_000_000  # bytes of JSON, as the reference implementation has it
RANK_LIMIT = 64
METADATA = "__metadata__"
ALIGNMENT = 8  # the JSON is padded with spaces so that data begin here
BITS = {
    "BOOL": 8, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8,
    "F8_E5M2FNUZ": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32, "U32": 32, "F32": 32, "C64": 64, "F64": 64, "I64": 64,
    "U64": 64,
}  # fmt: skip
"""Every dtype of the format and its bits an element."""


@dataclass(frozen=True, slots=True)
class TensorPlace:
    """One tensor: its dtype (a key of BITS), its shape in elements, and where its bytes lie in the data, `begin` to `end`."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int

    @property
    def nbytes(self) -> int:
        """Length in bytes."""
        return self.end - self.begin


@dataclass(frozen=True, slots=True)
class Head:
    """The tensors by name, in order of place; `data_start` is where data begin in the file, `metadata` what `__metadata__` says."""

    tensors: Mapping[str, TensorPlace]
    metadata: Mapping[str, str]
    data_start: int


def head_length(first: bytes, file_length: int) -> int:
    """Return how many bytes length and JSON take, from the first 8 bytes. Raises FormatError."""
    if file_length < LENGTH_BYTES + 2 or len(first) < LENGTH_BYTES:
        raise FormatError("too short for a safetensors file")
    length = int.from_bytes(first[:LENGTH_BYTES], "little")
    if length > HEAD_LIMIT or length > file_length - LENGTH_BYTES:
        raise FormatError("not a safetensors file: its head would be longer than it may be", hint="is it a file of another kind?")
    return LENGTH_BYTES + length


def parse_head(raw: bytes, file_length: int) -> Head:
    """Return the head of a file of `file_length` bytes, from length and JSON in `raw`. Raises FormatError."""
    members = _members(raw[LENGTH_BYTES:])
    metadata = members.pop(METADATA, {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise FormatError(f"safetensors head: {METADATA} is not a map of text to text")
    places = sorted((_place(name, value) for name, value in members.items()), key=lambda place: (place.begin, place.end))
    _check_filled(places, file_length - len(raw))
    return Head({place.name: place for place in places}, metadata, len(raw))


def _members(text: bytes) -> dict[str, object]:
    try:
        found = json.loads(text.decode("utf-8"), object_pairs_hook=without_repetition)
    except (ValueError, RecursionError):
        raise FormatError("safetensors head is not JSON in UTF-8") from None  # the cause would carry what was decrypted
    if not text.startswith(b"{") or not isinstance(found, dict):
        raise FormatError("safetensors head is not a JSON object")
    return found


def without_repetition(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Return the members of a JSON object. Raises FormatError if one stands there twice: readers would differ about which counts."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise FormatError("safetensors head names something twice")
    return found


def _place(name: str, value: object) -> TensorPlace:
    if not isinstance(value, dict) or value.keys() != {"dtype", "shape", "data_offsets"}:
        raise FormatError(f"tensor {name[:200]!r} is not described by dtype, shape and data_offsets")
    dtype, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
    if not isinstance(dtype, str) or dtype not in BITS:
        raise FormatError(
            f"tensor {name[:200]!r} has the unknown dtype {str(dtype)[:40]!r}", hint="written by a newer release of safetensors?"
        )
    if not _counts(shape, RANK_LIMIT) or not _counts(offsets, 2) or len(offsets) != 2:
        raise FormatError(f"tensor {name[:200]!r} has a shape or offsets that are not counts")
    bits = math.prod(shape) * BITS[dtype]
    if bits % 8 or bits // 8 != offsets[1] - offsets[0]:
        raise FormatError(f"tensor {name[:200]!r} has other bytes than its dtype and shape need")
    return TensorPlace(name, dtype, tuple(shape), offsets[0], offsets[1])


def _counts(value: object, limit: int) -> bool:
    return isinstance(value, list) and len(value) <= limit and all(type(item) is int and 0 <= item < 2**63 for item in value)


def _check_filled(places: Iterable[TensorPlace], data: int) -> None:
    at = 0
    for place in places:
        if place.begin != at:
            what = "overlap" if place.begin < at else "leave a hole"
            raise FormatError(
                f"tensors {what} before {place.name[:200]!r}", hint="the file was damaged or made to deceive; save it anew"
            )
        at = place.end
    if at != data:
        raise FormatError(f"tensors take {at} bytes, but the file holds {data}", hint="the file was cut or added to")


def encode_head(tensors: Iterable[tuple[str, str, tuple[int, ...]]], metadata: Mapping[str, str] | None = None) -> bytes:
    """Return length and JSON for (name, dtype, shape) of tensors that will follow in this order without gaps.

    Raises UsageError for a name that is given twice or reserved, an unknown dtype, or a length that is no whole number of bytes.
    """
    members: dict[str, object] = {METADATA: dict(metadata)} if metadata else {}
    at = 0
    for name, dtype, shape in tensors:
        bits = math.prod(shape) * BITS.get(dtype, 0)
        if name in members or name == METADATA or dtype not in BITS or bits % 8:
            raise UsageError(
                f"tensor {name[:200]!r} cannot be written: its name is taken, or its dtype {dtype!r} does not fit its shape"
            )
        members[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [at, at + bits // 8]}
        at += bits // 8
    text = json.dumps(members, separators=(",", ":"), ensure_ascii=False).encode("utf-8")
    text += b" " * (-len(text) % ALIGNMENT)
    if len(text) > HEAD_LIMIT:
        raise UsageError(f"the head of these tensors is over {HEAD_LIMIT} bytes", hint="save them as several files")
    return len(text).to_bytes(LENGTH_BYTES, "little") + text
