"""Formats without a mark, told by their structure: safetensors, ONNX and SavedModel (protobuf), TFRecord, Arrow streams."""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING

from hermetic.gate.sniff.sample import Guess

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hermetic.gate.sniff.sample import Sample

_SAFETENSORS_LIMIT = 100_000_000  # bytes of header, from its README
_JSON_AT_HAND = 1 << 20
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_ONNX = {1: _VARINT, 2: _BYTES, 3: _BYTES, 4: _BYTES, 5: _VARINT, 6: _BYTES, 7: _BYTES, 8: _BYTES, 14: _BYTES, 20: _BYTES, 25: _BYTES}
_ONNX_GRAPH_STARTS = frozenset({0x0A, 0x12, 0x2A, 0x52, 0x5A, 0x62, 0x6A})
_MAX_FIELDS = 4096
_CRC32C = 0x82F63B78  # reflected Castagnoli polynomial
_CRC_MASK = 0xA282EAD8  # of the TFRecord format


def by_structure(sample: Sample) -> Guess | None:
    """Return what the structure says, or None. Raises OSError."""
    for one in (_safetensors, _tfrecord, _arrow_stream, _protobuf):
        if found := one(sample):
            return found
    return None


def _safetensors(sample: Sample) -> Guess | None:
    head = sample.head
    if len(head) < 10 or head[8:9] != b"{":
        return None
    length = int.from_bytes(head[:8], "little")
    if not 2 <= length <= _SAFETENSORS_LIMIT or (sample.size is not None and 8 + length > sample.size):
        return None
    if sample.size is not None and sample.at(8 + length - 1, 1) not in {b"}", b" "}:
        return None
    header = sample.at(8, min(length, _JSON_AT_HAND))
    if length <= _JSON_AT_HAND and len(header) == length and not _is_tensor_index(header):
        return None
    if b'"__encryption__"' in header or b'\\"__encryption__\\"' in header:
        return Guess("model", "cryptotensors", "sealed", "safetensors with encrypted tensors (cryptotensors), not sealed by Hermetic")
    return Guess("model", "safetensors", "plaintext", "safetensors header")


def _is_tensor_index(header: bytes) -> bool:
    try:
        index = json.loads(header)
    except (ValueError, RecursionError):
        return False
    return isinstance(index, dict) and all(isinstance(entry, dict) for entry in index.values())


def _tfrecord(sample: Sample) -> Guess | None:
    """Check the masked CRC-32C of the first record's length, which stands in bytes 8 to 11."""
    head = sample.head
    if len(head) < 16 or head[:8] == bytes(8):
        return None
    length, crc = struct.unpack_from("<QI", head)
    if length > (1 << 40) or (sample.size is not None and 16 + length > sample.size) or crc != _masked_crc32c(head[:8]):
        return None
    return Guess("dataset", "tfrecord", "plaintext", "TFRecord: the checksum of the first length fits")


def _masked_crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (_CRC32C if crc & 1 else 0)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + _CRC_MASK) & 0xFFFFFFFF


def _arrow_stream(sample: Sample) -> Guess | None:
    head = sample.head
    if len(head) < 24 or head[:4] != b"\xff\xff\xff\xff":
        return None
    length, root = struct.unpack_from("<iI", head, 4)
    fits = sample.size is None or length + 8 <= sample.size
    if length % 8 or not 16 <= length <= 1 << 26 or not 4 <= root <= 64 or not fits:
        return None
    return Guess("dataset", "arrow-stream", "plaintext", "Arrow IPC stream")


def _protobuf(sample: Sample) -> Guess | None:
    """Walk the top-level fields of what may be an ONNX ModelProto or a TensorFlow SavedModel; they must end with the file."""
    if sample.head[:1] != b"\x08" or sample.size is None:
        return None
    fields = list(_fields(sample))
    if not fields or fields[-1][3] != sample.size:
        return None
    numbers = [number for number, _, _, _ in fields]
    if numbers[0] == 1 and set(numbers[1:]) == {2} and sample.head[1] == 1 and all(wire == _BYTES for _, wire, _, _ in fields[1:]):
        return Guess("model", "saved-model", "plaintext", "TensorFlow SavedModel fields to the last byte")
    if any(_ONNX.get(number) != wire for number, wire, _, _ in fields) or numbers.count(7) != 1:
        return None
    graph = next(start for number, _, start, _ in fields if number == 7)
    first = sample.at(graph, 1)
    if not first or first[0] not in _ONNX_GRAPH_STARTS:
        return None
    return Guess("model", "onnx", "plaintext", "ONNX ModelProto fields to the last byte")


def _fields(sample: Sample) -> Iterator[tuple[int, int, int, int]]:
    """Yield (number, wire type, start of the content, end) of each field; stops at the first that cannot be."""
    size, position = sample.size or 0, 0
    for _ in range(_MAX_FIELDS):
        if position >= size:
            return
        window = sample.at(position, 20)
        tag, used = _varint(window, 0)
        number, wire = tag >> 3, tag & 7
        if not used or not number or wire not in {_VARINT, _FIXED64, _BYTES, _FIXED32}:
            return
        value, used_by_value = _varint(window, used)
        if wire in {_VARINT, _BYTES} and not used_by_value:
            return
        start = position + used + (used_by_value if wire == _BYTES else 0)
        length = {_VARINT: used_by_value, _FIXED64: 8, _BYTES: value, _FIXED32: 4}[wire]
        position = start + length
        if position > size:
            return
        yield number, wire, start, position


def _varint(data: bytes, offset: int) -> tuple[int, int]:
    """Return (value, bytes used), with 0 bytes used for what is no varint."""
    value = 0
    for used, byte in enumerate(data[offset : offset + 10]):
        value |= (byte & 0x7F) << (7 * used)
        if byte < 0x80:
            return value, used + 1
    return 0, 0
