"""Fuzz targets: heads of safetensors files and indices of shards."""

from __future__ import annotations

import json

from hermetic.errors import HermeticError
from hermetic.formats.safetensors import LENGTH_BYTES, encode_head, head_length, parse_head
from hermetic.formats.tensor_index import parse_index
from tests.fuzz._target import Target, compact

HEAD = {
    "__metadata__": {"format": "pt"},
    "a": {"dtype": "F16", "shape": [2, 3], "data_offsets": [0, 12]},
    "b": {"dtype": "F4", "shape": [4], "data_offsets": [12, 14]},
}
INDEX = {"metadata": {"total_size": 14}, "weight_map": {"a": "m-1.safetensors", "b": "m-2.safetensors"}}


def _head(raw: bytes) -> None:
    """The head of a file that ends where its tensors say, and of one that is as long as the input."""
    file = len(raw).to_bytes(LENGTH_BYTES, "little") + raw
    for length in (len(file) + _claimed(raw), len(file)):
        try:
            head = parse_head(file[: head_length(file, length)], length)
        except HermeticError:
            continue
        at = 0
        for place in head.tensors.values():
            if place.begin != at:
                raise AssertionError(f"{place} does not lie at {at}")
            at = place.end
        again = encode_head(((place.name, place.dtype, place.shape) for place in head.tensors.values()), head.metadata)
        if parse_head(again, len(again) + at).tensors != head.tensors:
            raise AssertionError(f"{raw[:200]!r} was read and written as something else")


def _claimed(raw: bytes) -> int:
    try:
        ends = [value["data_offsets"][1] for name, value in json.loads(raw).items() if name != "__metadata__"]
        return max((end for end in ends if isinstance(end, int) and 0 <= end < 2**40), default=0)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError):
        return 0


def _length(raw: bytes) -> None:
    head_length(raw, int.from_bytes(raw[8:16], "little"))


def _index(raw: bytes) -> None:
    if not all(isinstance(file, str) and file for file in parse_index(raw).values()):
        raise AssertionError(f"{raw[:200]!r} maps to something that is no file")


TARGETS = {
    "safetensors-head": Target(_head, 30_000, lambda: [compact(HEAD), b"{}"], [HEAD], words=(b"data_offsets", b"F8_E4M3")),
    "safetensors-length": Target(_length, 60_000, lambda: [bytes([2]) + bytes(7) + bytes([10]), b"\xff" * 16]),
    "tensor-index": Target(_index, 30_000, lambda: [compact(INDEX)], [INDEX]),
}

PARSERS = ("formats/safetensors", "formats/tensor_index")
