"""Scenarios of sealed objects: what must open, and what must be refused and why."""

from __future__ import annotations

import hashlib
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from forge import IDS, KEY, OTHER_ID, SMALL, Forged, Randomness, forge, header_value, metadata_value, prefix_of, stream

from hermetic.crypto.secret import Secret
from hermetic.formats import canonical
from hermetic.formats.object_header import FIXED, ObjectHeader
from hermetic.formats.object_metadata import ObjectMetadata
from hermetic.formats.padding import Padding
from hermetic.formats.suites import FLOE_HEADER
from hermetic.formats.trailer import TRAILER
from hermetic.sealed.writer import ObjectWriter
from hermetic.stores.output import DescriptorOutput

if TYPE_CHECKING:
    from collections.abc import Callable

SEGMENT = 65_536
STORED = SEGMENT + 32
Files = dict[str, "bytes | dict[str, object]"]

# name -> (content length, header changes, metadata, about)
VALID: dict[str, tuple[int, dict[str, object], ObjectMetadata, str]] = {
    "empty": (0, {}, ObjectMetadata(), "no content: one empty final segment"),
    "one-byte": (1, {}, ObjectMetadata(), "the shortest content"),
    "exactly-one-segment": (SEGMENT, {}, ObjectMetadata(), "one full segment, which is the final one"),
    "one-byte-over-a-segment": (SEGMENT + 1, {}, ObjectMetadata(), "a full segment, then a final one of one byte"),
    "three-segments": (2 * SEGMENT + 1000, {}, ObjectMetadata(name="a.bin"), "two full segments and a part"),
    "sha256": (1000, {"suite_name": "FLOE-AES256-GCM-64K-SHA256"}, ObjectMetadata(), "digests are SHA-256"),
    "suite-1m-blake3": (100, {"suite_name": "FLOE-AES256-GCM-1M-BLAKE3"}, ObjectMetadata(), "the default suite"),
    "suite-1m-sha256": (100, {"suite_name": "FLOE-AES256-GCM-1M-SHA256"}, ObjectMetadata(), "approved algorithms only"),
    "padding-segment": (100, {"padding": Padding.SEGMENT}, ObjectMetadata(), "padded to a whole segment"),
    "padding-segment-empty": (0, {"padding": Padding.SEGMENT}, ObjectMetadata(), "nothing, padded to a whole segment"),
    "padding-padme": (1025, {"padding": Padding.PADME}, ObjectMetadata(), "padded from 1025 to 1088 bytes"),
    "padding-padme-empty": (0, {"padding": Padding.PADME}, ObjectMetadata(), "nothing stays nothing"),
    "index": (10, {"index": 65_535}, ObjectMetadata(), "the highest index"),
    "metadata": (
        10,
        {},
        ObjectMetadata("ä/b.csv", "text/csv", {"origin": "clinic", "€": "😀"}, {"schema": [{"name": "age", "type": "int64"}]}),
        "every field of the metadata, beyond ASCII",
    ),
    "metadata-two-segments": (
        10,
        {},
        ObjectMetadata(details={"index": "x" * SEGMENT}),
        "metadata longer than a segment",
    ),
}


def _write(name: str, length: int, changes: dict[str, object], metadata: ObjectMetadata) -> tuple[bytes, dict[str, object]]:
    values: dict[str, object] = {**IDS, "index": 0, "suite_name": SMALL, "padding": Padding.NONE, **changes}
    with tempfile.TemporaryDirectory() as folder, (Path(folder) / "object").open("xb+") as out:
        writer = ObjectWriter(
            DescriptorOutput(out.fileno()),
            ObjectHeader(**values),
            Secret(KEY),
            threads=1,
            deterministic_randomness_for_vectors=Randomness(name),
        )
        writer.write(stream(name, length))
        record = writer.finish(metadata).record
        out.seek(0)
        data = out.read()
    fields = ("domain", "asset", "version", "index", "id", "algorithm", "length", "data_key")
    return data, {**{field: getattr(record, field) for field in fields}, "root": record.root.hex()}


def reads_of(content: bytes) -> list[dict[str, object]]:
    """Ranges that a random-access reader should try: offset, wanted bytes, and what comes back."""
    places = {(0, 1), (0, len(content) + 10), (len(content) // 2, 100), (len(content), 5), (SEGMENT - 1, 2), (SEGMENT, SEGMENT)}
    return [
        {
            "offset": offset,
            "wanted": wanted,
            "length": len(content[offset : offset + wanted]),
            "sha256": hashlib.sha256(content[offset : offset + wanted]).hexdigest(),
        }
        for offset, wanted in sorted(places)
    ]


def _valid() -> Files:
    made: Files = {}
    for name, (length, changes, metadata, about) in VALID.items():
        data, record = _write(name, length, changes, metadata)
        content = stream(name, length)
        made[f"sealed-object/valid/{name}.sealed"] = data
        made[f"sealed-object/valid/{name}.json"] = {
            "kind": "sealed-object",
            "about": about,
            "expect": "ok",
            "key": KEY.hex(),
            "record": record,
            "file": [{"file": f"sealed-object/valid/{name}.sealed", "start": 0, "end": len(data)}],
            "content": {
                "shake256_of": name,
                "length": length,
                "sha256": hashlib.sha256(content).hexdigest(),
                "reads": reads_of(content),
            },
            "metadata": json.loads(metadata.with_length(length).encode()),
        }
    return made


class Invalid:
    """Collects refused scenarios; most are cut and glued from valid files, so that they stay small."""

    def __init__(self, valid: Files) -> None:
        self.files: Files = {}
        self._valid = valid

    def base(self, name: str) -> tuple[bytes, dict[str, object]]:
        scenario = self._valid[f"sealed-object/valid/{name}.json"]
        return self._valid[f"sealed-object/valid/{name}.sealed"], dict(scenario["record"])

    def add(self, name: str, about: str, classes: str, pieces: list[object], record: dict[str, object], **more: object) -> None:
        self.files[f"sealed-object/invalid/{name}.json"] = {
            "kind": "sealed-object",
            "about": about,
            "expect": "refused",
            "classes": classes.split(),
            "key": KEY.hex(),
            "record": record,
            "file": pieces,
            **more,
        }

    def forged(self, name: str, about: str, classes: str, made: Forged, **more: object) -> None:
        self.add(name, about, classes, [{"hex": made.data().hex()}], made.record, **more)


def _slice(name: str, start: int, end: int) -> dict[str, object]:
    return {"file": f"sealed-object/valid/{name}.sealed", "start": start, "end": end}


def _flip(name: str, data: bytes, offset: int, mask: int = 1) -> list[object]:
    changed = bytes([data[offset] ^ mask])
    return [_slice(name, 0, offset), {"hex": changed.hex()}, _slice(name, offset + 1, len(data))]


def glue(name: str, base: bytes, data: bytes) -> list[object]:
    """Describe `data` by what it shares with the valid file `name` at the same offsets, in blocks of 256 bytes."""
    pieces: list[tuple[bool, int, int]] = []
    for start in range(0, len(data), 256):
        end = min(start + 256, len(data))
        same = data[start:end] == base[start:end]
        joined = pieces.pop()[1] if pieces and pieces[-1][0] == same else start
        pieces.append((same, joined, end))
    return [_slice(name, start, end) if same else {"hex": data[start:end].hex()} for same, start, end in pieces]


def _cut_and_flipped(out: Invalid) -> None:
    name = "one-byte-over-a-segment"
    data, record = out.base(name)
    size, prefix = len(data), FIXED.size + int.from_bytes(data[10:14], "big")
    payload = prefix + FLOE_HEADER
    metadata = payload + STORED + 33
    trailer, leaves = size - TRAILER, size - TRAILER - 64
    out.add("truncated-by-one", "the last byte is missing", "integrity format", [_slice(name, 0, size - 1)], record)
    out.add(
        "truncated-signed-length",
        "cut, and the record's length too, as if somebody had signed it",
        "format integrity",
        [_slice(name, 0, size - 1)],
        {**record, "length": size - 1},
    )
    out.add("truncated-in-payload", "ends inside a segment", "integrity format", [_slice(name, 0, 40_000)], record)
    out.add("truncated-to-prefix", "only the prefix is left", "integrity format", [_slice(name, 0, prefix)], record)
    out.add("nothing", "a file of no bytes", "integrity format", [], record)
    longer = [_slice(name, 0, size), {"hex": "00"}]
    out.add("extended", "a byte follows the trailer", "integrity format", longer, record)
    out.add("trailing-data", "a byte follows, and the length agrees", "format", longer, {**record, "length": size + 1})
    places = {
        "magic": (0, "format"),
        "version": (9, "format"),
        "header-length": (13, "format"),
        "header-id": (FIXED.size + 12, "format integrity"),
        "header-index": (data.index(b'"index":0') + 8, "format integrity"),
        "payload-floe-parameters": (prefix + 5, "integrity format"),
        "payload-floe-iv": (prefix + 10, "integrity wrong-key"),
        "payload-floe-tag": (prefix + 42, "integrity wrong-key"),
        "segment-length-field": (payload, "integrity format"),
        "segment-iv": (payload + 4, "integrity"),
        "segment-ciphertext": (payload + 5000, "integrity"),
        "segment-tag": (payload + STORED - 1, "integrity"),
        "last-segment-length-field": (payload + STORED + 3, "integrity format"),
        "last-segment-ciphertext": (payload + STORED + 16, "integrity"),
        "metadata-floe-iv": (metadata + 10, "integrity wrong-key"),
        "metadata-floe-tag": (metadata + 42, "integrity wrong-key"),
        "metadata-ciphertext": (metadata + FLOE_HEADER + 16, "integrity"),
        "leaf": (leaves, "integrity"),
        "last-leaf": (trailer - 1, "integrity"),
        "trailer-prefix-length": (trailer + 7, "format"),
        "trailer-payload-length": (trailer + 15, "format"),
        "trailer-metadata-length": (trailer + 23, "format"),
        "trailer-leaf-length": (trailer + 31, "format"),
        "trailer-own-length": (trailer + 39, "format"),
        "trailer-encryption": (trailer + 41, "format"),
        "trailer-digest": (trailer + 43, "format"),
        "trailer-segment-length": (trailer + 47, "format"),
        "trailer-root": (trailer + 48, "integrity"),
        "end-magic": (size - 1, "format"),
    }
    for part, (offset, classes) in places.items():
        out.add(f"changed-{part}", f"one bit of {part} differs", classes, _flip(name, data, offset), record)


def _moved(out: Invalid) -> None:
    name = "three-segments"
    data, record = out.base(name)
    size, body = len(data), FIXED.size + int.from_bytes(data[10:14], "big") + FLOE_HEADER
    one, two, three = body, body + STORED, body + 2 * STORED
    pieces = [_slice(name, 0, one), _slice(name, two, three), _slice(name, one, two), _slice(name, three, size)]
    out.add("segments-reordered", "first and second segment swapped", "integrity", pieces, record)
    pieces = [_slice(name, 0, two), _slice(name, one, two), _slice(name, three, size)]
    out.add("segment-repeated", "the first segment stands where the second was", "integrity", pieces, record)
    pieces = [_slice(name, 0, two), _slice(name, three, size)]
    out.add("segment-missing", "the second segment was taken out", "integrity format", pieces, record)
    other, _ = out.base("one-byte-over-a-segment")
    other_body = FIXED.size + int.from_bytes(other[10:14], "big") + FLOE_HEADER
    pieces = [
        _slice(name, 0, one),
        _slice("one-byte-over-a-segment", other_body, other_body + STORED),
        _slice(name, two, size),
    ]
    out.add("segment-spliced", "the first segment is that of another object under the same key", "integrity", pieces, record)
    whole = [_slice("one-byte-over-a-segment", 0, len(other))]
    out.add("object-swapped", "another whole object in its place", "integrity format", whole, record)
    swapped = {**record, "length": len(other)}
    out.add("object-swapped-same-length", "another object of the recorded length", "integrity", whole, swapped)
    for field, value in {
        "domain": OTHER_ID,
        "asset": OTHER_ID,
        "version": OTHER_ID,
        "id": OTHER_ID,
        "data_key": OTHER_ID,
        "index": 1,
        "root": "00" * 32,
        "algorithm": "sha256",
        "length": size + 1,
    }.items():
        about = f"the manifest records another {field}"
        out.add(f"other-{field.replace('_', '-')}", about, "integrity", [_slice(name, 0, size)], {**record, field: value})
    out.add("wrong-key", "the key is that of another object", "wrong-key", [_slice(name, 0, size)], record, key="ff" * 32)
    plain = stream("plain", 500)
    out.add("plaintext-in-its-place", "not a sealed object at all", "format", [{"hex": plain.hex()}], {**record, "length": 500})
    out.add("zeros", "500 zero bytes", "format", [{"hex": "00" * 500}], {**record, "length": 500})


def _resealed_segments(out: Invalid) -> None:
    """Leaves, root and record were made to agree again: only the encryption is left to notice."""

    base, record = out.base("one-byte-over-a-segment")

    def case(name: str, about: str, classes: str, change: Callable[[Forged], None]) -> None:
        made = Forged.parse(base, record)
        change(made)
        pieces = glue("one-byte-over-a-segment", base, made.reseal().data())
        out.add(f"resealed-{name}", f"{about}; leaves, root and record agree", classes, pieces, made.record)

    def truncate(made: Forged) -> None:
        del made.segments[1]

    def mark_final(made: Forged) -> None:
        made.segments[0] = STORED.to_bytes(4, "big") + made.segments[0][4:]

    def mark_last_as_inner(made: Forged) -> None:
        made.segments[1] = b"\xff\xff\xff\xff" + made.segments[1][4:]

    case("truncated", "the final segment is gone", "format integrity", truncate)
    case("early-final", "the first segment claims to be final", "format integrity", mark_final)
    case("last-not-final", "the last segment does not claim to be final", "format integrity", mark_last_as_inner)

    small = forge("resealed-ciphertext", b"x" * 50)
    small.segments[0] = small.segments[0][:20] + bytes([small.segments[0][20] ^ 1]) + small.segments[0][21:]
    out.forged("resealed-ciphertext", "a changed byte of content; leaves, root and record agree", "integrity", small.reseal())
    other = forge("resealed-donor", b"y" * 50, body=canonical.encode(header_value(object=OTHER_ID)))
    payload = forge("resealed-payload", b"x" * 50)
    payload.floe_header, payload.segments = other.floe_header, other.segments
    out.forged("resealed-payload-spliced", "the payload of another object, same key", "wrong-key integrity", payload.reseal())
    metadata = forge("resealed-metadata", b"x" * 50)
    metadata.metadata = other.metadata
    out.forged("resealed-metadata-spliced", "the metadata of another object, same key", "wrong-key integrity", metadata.reseal())
    swapped = forge("resealed-swapped", b"x" * 50)
    swapped.metadata, old = swapped.payload, swapped.metadata
    swapped.floe_header, swapped.segments = old[:FLOE_HEADER], [old[FLOE_HEADER:]]
    out.forged("resealed-parts-swapped", "payload and metadata changed places", "wrong-key integrity", swapped.reseal())
    parameters = forge("resealed-parameters", b"x" * 50)
    parameters.floe_header = b"\x00\x00" + (1_048_608).to_bytes(4, "big") + parameters.floe_header[6:]
    out.forged("resealed-floe-parameters", "FLOE header of another segment length", "format wrong-key", parameters.reseal())


def _headers(out: Invalid) -> None:
    good = canonical.encode(header_value())
    backwards = json.dumps(dict(sorted(header_value().items(), reverse=True)), separators=(",", ":")).encode()
    bodies = {
        "not-canonical-space": (good.replace(b":", b": ", 1), "a space after a colon"),
        "not-canonical-order": (backwards, "members in another order"),
        "not-canonical-escape": (good.replace(b'"none"', b'"\\u006eone"'), "a letter written as an escape"),
        "duplicate-member": (good.replace(b'"index":0', b'"index":0,"index":0'), "a member twice"),
        "unknown-member": (canonical.encode(header_value(zeal=1)), "a member that version 1 does not have"),
        "missing-member": (canonical.encode({k: v for k, v in header_value().items() if k != "index"}), "a member is missing"),
        "float-index": (good.replace(b'"index":0', b'"index":0.0'), "an index with a fraction"),
        "negative-index": (canonical.encode(header_value(index=-1)), "an index below 0"),
        "index-over-limit": (canonical.encode(header_value(index=65_536)), "an index over 65,535"),
        "text-index": (canonical.encode(header_value(index="0")), "an index in quotes"),
        "unknown-suite": (canonical.encode(header_value(suite="FLOE-AES256-GCM-2M-BLAKE3")), "a suite that does not exist"),
        "other-suite": (canonical.encode(header_value(suite="FLOE-AES256-GCM-64K-SHA256")), "another suite than the trailer"),
        "unknown-padding": (canonical.encode(header_value(padding="some")), "a padding that does not exist"),
        "short-id": (canonical.encode(header_value(asset="a" * 25)), "an id of 25 letters"),
        "loose-id": (canonical.encode(header_value(asset="a" * 25 + "b")), "an id with unused bits set"),
        "upper-case-id": (canonical.encode(header_value(asset="A" * 26)), "an id in upper case"),
        "array": (b"[]", "an array instead of an object"),
        "not-json": (b"{", "broken JSON"),
        "not-utf8": (good.replace(b"none", b"non\xff"), "a byte that is not UTF-8"),
        "deep": (b'{"asset":' + b"[" * 40 + b"]" * 40 + b"}", "40 containers deep"),
    }
    for name, (body, about) in bodies.items():
        out.forged(f"header-{name}", f"header: {about}", "format", forge(f"header-{name}", b"x", body=body))
    big = canonical.encode(header_value(zeal="x" * 65_300))
    made = forge("header-over-limit", b"x", body=big)
    pieces = [{"hex": made.prefix[:300].hex()}, {"repeat": "78", "times": len(made.prefix) - 600}]
    pieces.append({"hex": (made.prefix[-300:] + made.data()[len(made.prefix) :]).hex()})
    out.add("header-over-limit", "header: 64 KiB and more", "format", pieces, made.record)
    empty = forge("header-empty", b"x", body=b"")
    out.forged("header-empty", "header: no bytes", "format", empty)
    for name, prefix in {
        "version-0": prefix_of(good, version=0),
        "version-2": prefix_of(good, version=2),
        "other-magic": prefix_of(good, magic=b"HERMETIK"),
    }.items():
        out.forged(name, "a file of another version or kind", "format", forge(name, b"x", prefix=prefix))


def _metadata_and_lengths(out: Invalid) -> None:
    def raw(value: dict[str, object]) -> bytes:
        return canonical.encode(value)

    good = raw(metadata_value(50))
    bodies = {
        "length-too-long": (raw(metadata_value(51)), "a true length beyond the payload"),
        "length-too-short": (raw(metadata_value(49)), "a true length short of the payload, without padding"),
        "not-canonical": (good.replace(b":", b": ", 1), "a space after a colon"),
        "unknown-member": (raw(metadata_value(50, more=1)), "an unknown member"),
        "other-format": (raw(metadata_value(50, format="hermetic/v2/object-metadata")), "another format marker"),
        "name-climbs": (raw(metadata_value(50, name="../a")), "a name that leaves the version"),
        "name-absolute": (raw(metadata_value(50, name="/a")), "an absolute name"),
        "label-not-text": (raw(metadata_value(50, labels={"a": 1})), "a label that is a number"),
        "empty": (b"", "no metadata at all"),
    }
    for name, (body, about) in bodies.items():
        out.forged(f"metadata-{name}", f"metadata: {about}", "format", forge(f"metadata-{name}", b"x" * 50, metadata=body))
    for padding, length in (("segment", 50), ("padme", 1025)):
        made = forge(
            f"padding-missing-{padding}", b"x" * length, body=raw(header_value(padding=padding)), metadata=raw(metadata_value(length))
        )
        out.forged(f"padding-missing-{padding}", "the header promises padding that is not there", "format", made)
    body = raw(header_value(padding="padme"))
    made = forge("padding-too-much", b"x" * 2048, body=body, metadata=raw(metadata_value(1025)))
    out.forged("padding-too-much", "more padding than the mode gives", "format", made)

    made = forge("extra-leaf", b"x" * 50)
    table = made.leaf_table + bytes(32)
    trailer = made.trailer[:24] + len(table).to_bytes(8, "big") + made.trailer[32:]
    made.leaf_table, made.trailer = table, trailer
    made.record["length"] = len(made.data())
    out.forged("extra-leaf", "a leaf more than segments; the lengths sum", "format", made)
    for name, amount in {"one-byte-to-metadata": 1, "all-to-metadata": 124}.items():
        made = forge(f"lengths-{name}", b"x" * 50)
        lengths = [int.from_bytes(made.trailer[at : at + 8], "big") for at in (8, 16)]
        moved = b"".join(number.to_bytes(8, "big") for number in (lengths[0] - amount, lengths[1] + amount))
        made.trailer = made.trailer[:8] + moved + made.trailer[24:]
        out.forged(f"lengths-{name}", "bytes moved from payload to metadata; the lengths sum", "format integrity", made)
    made = forge("lengths-overflow", b"x" * 50)
    made.trailer = made.trailer[:8] + b"\xff" * 8 + made.trailer[16:]
    out.forged("lengths-overflow", "a payload of 2^64 - 1 bytes", "format", made)
    made = forge("lengths-zero", b"x" * 50)
    made.trailer = bytes(32) + made.trailer[32:]
    out.forged("lengths-zero", "parts of no bytes", "format", made)


def files() -> Files:
    """Return every file by its path below vectors/."""
    valid = _valid()
    out = Invalid(valid)
    for group in (_cut_and_flipped, _moved, _resealed_segments, _headers, _metadata_and_lengths):
        group(out)
    return {**valid, **out.files}
