"""The head of safetensors files: read as the reference implementation writes it, and strictly."""

from __future__ import annotations

import json

import numpy as np
import pytest
import safetensors.numpy as reference

from hermetic.errors import FormatError, UsageError
from hermetic.formats.safetensors import BITS, LENGTH_BYTES, encode_head, head_length, parse_head
from hermetic.formats.tensor_index import parse_index


def head_of(members, data=0):
    text = members if isinstance(members, bytes) else json.dumps(members).encode()
    raw = len(text).to_bytes(8, "little") + text
    return parse_head(raw, len(raw) + data)


def tensor(dtype="U8", shape=(4,), begin=0, end=4):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}


def test_the_reference_implementation_is_understood():
    raw = reference.save({"b": np.arange(6, dtype="f2").reshape(2, 3), "a": np.ones((), "f8"), "e": np.ones((0, 2), "i4")}, {"k": "v"})
    length = head_length(raw[:LENGTH_BYTES], len(raw))
    head = parse_head(raw[:length], len(raw))
    assert head.metadata == {"k": "v"}
    assert {name: (place.dtype, place.shape) for name, place in head.tensors.items()} == {
        "a": ("F64", ()),
        "b": ("F16", (2, 3)),
        "e": ("I32", (0, 2)),
    }
    place = head.tensors["b"]
    data = raw[head.data_start + place.begin : head.data_start + place.end]
    assert np.frombuffer(data, "f2").tolist() == list(range(6))


@pytest.mark.parametrize("dtype", BITS)
def test_what_is_written_is_read_back(dtype):
    shape = (2, 4)
    raw = encode_head([("x", dtype, shape), ("ü", dtype, (0,))], {"made": "by us"})
    data = 8 * BITS[dtype] // 8
    head = parse_head(raw, len(raw) + data)
    assert len(raw) % 8 == 0
    assert (head.tensors["x"].shape, head.tensors["x"].nbytes, head.tensors["ü"].nbytes) == (shape, data, 0)


def test_the_reference_implementation_reads_what_we_write():
    array = np.arange(8, dtype="f4")
    raw = encode_head([("x", "F32", (8,))], {"made": "by us"}) + array.tobytes()
    assert reference.load(raw)["x"].tolist() == array.tolist()


@pytest.mark.parametrize(
    ("members", "data", "why"),
    [
        ({"a": tensor(), "b": tensor(begin=2, end=6)}, 6, "overlap"),
        ({"a": tensor(), "b": tensor(begin=6, end=10)}, 10, "hole"),
        ({"a": tensor(begin=1, end=5)}, 5, "hole"),
        ({"a": tensor()}, 3, "take 4 bytes"),
        ({"a": tensor()}, 5, "take 4 bytes"),
        ({"a": tensor(dtype="F128")}, 4, "unknown dtype"),
        ({"a": tensor(dtype=["F16"])}, 4, "unknown dtype"),
        ({"a": tensor(shape=(5,))}, 4, "other bytes"),
        ({"a": tensor(dtype="F4", shape=(3,), end=1)}, 1, "other bytes"),
        ({"a": tensor(shape=(-4,), end=-4)}, 4, "not counts"),
        ({"a": tensor(shape=(True, 4))}, 4, "not counts"),
        ({"a": tensor(shape=(4.0,))}, 4, "not counts"),
        ({"a": tensor(shape=(2**62, 2**62))}, 4, "other bytes"),
        ({"a": tensor(shape=(1,) * 65 + (4,))}, 4, "not counts"),
        ({"a": {**tensor(), "more": 1}}, 4, "not described"),
        ({"a": 3}, 4, "not described"),
        ({"__metadata__": {"a": 1}}, 0, "text to text"),
        ({"__metadata__": []}, 0, "text to text"),
        (b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}', 1, "twice"),
        (b'{"a":{"dtype":"U8","dtype":"I8","shape":[1],"data_offsets":[0,1]}}', 1, "twice"),
        (b"[]", 0, "not a JSON object"),
        (b" {}", 0, "not a JSON object"),
        (b"\xff{}", 0, "not JSON"),
        (b"{" * 100_000, 0, "not JSON"),
    ],
)
def test_what_contradicts_itself_is_refused(members, data, why):
    with pytest.raises(FormatError, match=why):
        head_of(members, data)


@pytest.mark.parametrize(("first", "length"), [(b"\1", 1), (b"\xff" * 8, 100), ((2**40).to_bytes(8, "little"), 2**41), (bytes(8), 9)])
def test_a_head_that_cannot_be_there_is_refused(first, length):
    with pytest.raises(FormatError):
        head_length(first, length)


@pytest.mark.parametrize(
    "tensors", [[("a", "U8", (1,))] * 2, [("__metadata__", "U8", (1,))], [("a", "U9", (1,))], [("a", "F4", (3,))]]
)
def test_what_cannot_be_read_back_is_not_written(tensors):
    with pytest.raises(UsageError):
        encode_head(tensors)


def test_an_index_maps_tensors_to_files():
    assert parse_index(b'{"metadata": {"total_size": 1}, "weight_map": {"a": "x.safetensors"}}') == {"a": "x.safetensors"}


@pytest.mark.parametrize(
    "raw", [b"", b"[]", b"{}", b'{"weight_map": []}', b'{"weight_map": {"a": 1}}', b'{"weight_map": {"a": ""}}',
            b'{"weight_map": {"a": "x", "a": "y"}}', b"\xff", b"[" * 100_000]
)  # fmt: skip
def test_an_index_that_is_none_is_refused(raw):
    with pytest.raises(FormatError):
        parse_index(raw)
