"""Scenarios of sealed objects at the edges: limits, spellings, and what somebody who holds the data key may try.

`make_objects` changes honest files; here most are made consistent again, so that exactly one check of a reader is left to notice.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from forge import KEY, SMALL, Forged, Randomness, forge, header_value, metadata_value
from forge import stream as content_of
from make_objects import SEGMENT, Invalid, glue, reads_of

from hermetic.crypto.floe import FloeEncryptor
from hermetic.crypto.secret import Secret
from hermetic.formats import canonical
from hermetic.formats.suites import FLOE_HEADER, SUITES
from hermetic.sealed._binding import PAYLOAD, associated_data, parameters

if TYPE_CHECKING:
    from collections.abc import Callable

    from make_objects import Files

OVER = "one-byte-over-a-segment"
MIB = 1024 * 1024


def _nested(depth: int) -> object:
    """Return that many lists inside each other."""
    return [_nested(depth - 1)] if depth else "x"


def _metadata(length: int, **changes: object) -> bytes:
    return canonical.encode(metadata_value(length, **changes))


def _valid() -> Files:
    limits = {
        "name": "ä" * 512,
        "media_type": "é" * 127 + "x",
        "labels": {f"{number}": "" for number in range(1024)},
        "details": {"high": 2**53 - 1, "low": 1 - 2**53, "none": None, "no": False},
    }
    cases: dict[str, tuple[str, dict[str, object], dict[str, object], bytes]] = {
        "metadata-limits": ("every field as long as it may be", {}, limits, b""),
        "metadata-depth": ("32 containers inside each other, the document itself counted", {}, {"details": {"a": _nested(30)}}, b""),
        "metadata-utf16-order": (
            "names of members in the order of UTF-16, which is not that of code points",
            {},
            {"labels": {"\U0001f600": "first", "\ufb33": "second"}},
            b"",
        ),
        "padding-not-zero": (
            "padding that a writer must not write, and that no reader looks at",
            {"padding": "padme"},
            {},
            b"\xff" * 4,
        ),
    }
    made: Files = {}
    for name, (about, header, changes, padding) in cases.items():
        content = content_of(name, 100)
        metadata = metadata_value(len(content), **changes)
        body = canonical.encode(header_value(**header))
        forged = forge(name, content + padding, body=body, metadata=canonical.encode(metadata))
        made[f"sealed-object/valid/{name}.sealed"] = forged.data()
        made[f"sealed-object/valid/{name}.json"] = {
            "kind": "sealed-object",
            "about": about,
            "expect": "ok",
            "key": KEY.hex(),
            "record": forged.record,
            "file": [{"file": f"sealed-object/valid/{name}.sealed", "start": 0, "end": len(forged.data())}],
            "content": {
                "shake256_of": name,
                "length": len(content),
                "sha256": hashlib.sha256(content).hexdigest(),
                "reads": reads_of(content),
            },
            "metadata": metadata,
        }
    return made


def _spellings(out: Invalid) -> None:
    good = canonical.encode(header_value())
    headers = {
        "false-index": (canonical.encode(header_value(index=False)), "an index that is false"),
        "minus-zero-index": (good.replace(b'"index":0', b'"index":-0'), "an index of minus zero"),
        "exponent-index": (good.replace(b'"index":0', b'"index":0e0'), "an index with an exponent"),
        "byte-order-mark": (b"\xef\xbb\xbf" + good, "a byte-order mark"),
        "trailing-space": (good + b" ", "a space at the end"),
    }
    for name, (body, about) in headers.items():
        out.forged(f"header-{name}", f"header: {about}", "format", forge(f"header-{name}", b"x", body=body))
    text = _metadata(1)
    labels = json.dumps({"\ufb33": "", "\U0001f600": ""}, ensure_ascii=False, separators=(",", ":")).encode()
    documents = {
        "code-point-order": (text.replace(b'"labels":{}', b'"labels":' + labels), "members in the order of code points"),
        "half-a-pair": (text.replace(b'"labels":{}', b'"labels":{"a":"\\ud800"}'), "half of a surrogate pair"),
        "true-length": (text.replace(b'"length":1', b'"length":true'), "a length that is true"),
        "details-array": (_metadata(1, details=[]), "details that are an array"),
        "labels-array": (_metadata(1, labels=[]), "labels that are an array"),
        "labels-too-many": (_metadata(1, labels={f"{number}": "" for number in range(1025)}), "1025 labels"),
        "media-type-too-long": (_metadata(1, media_type="é" * 128), "a media type of 256 bytes"),
        "too-deep": (text.replace(b'"details":{}', b'"details":{"a":' + b"[" * 31 + b"]" * 31 + b"}"), "33 containers"),
        "too-deep-objects": (
            text.replace(b'"details":{}', b'"details":' + b'{"a":' * 31 + b"{}" + b"}" * 31),
            "33 containers, all objects",
        ),
        "integer-too-large": (text.replace(b'"details":{}', b'"details":{"a":9007199254740992}'), "an integer of 2^53"),
        "byte-order-mark": (b"\xef\xbb\xbf" + text, "a byte-order mark"),
    }
    names = {
        "too-long": ("a" * 1025, "a name of 1025 bytes"),
        "not-composed": ("a\u0308", "a name that is not in NFC"),
        "control": ("a\tb", "a control character in the name"),
        "direction": ("a\u202etxt.exe", "a character that turns the direction of the name"),
        "line-separator": ("a\u2028b", "a line separator in the name"),
        "private": ("a\ue000b", "a private character in the name"),
        "unassigned": ("a\uffffb", "a character in the name that will never be one"),
        "backslash": ("a\\b", "a backslash in the name"),
        "empty-segment": ("a//b", "an empty segment in the name"),
        "dot": ("a/./b", "a segment that is a dot"),
        "ends-with-slash": ("a/", "a name that ends with a slash"),
    }
    documents |= {f"name-{name}": (_metadata(1, name=value), about) for name, (value, about) in names.items()}
    for name, (body, about) in documents.items():
        out.forged(f"metadata-{name}", f"metadata: {about}", "format", forge(f"metadata-{name}", b"x", metadata=body))


def _holder_of_the_key(out: Invalid) -> None:
    """Whoever has the data key can make valid tags: only the root and the leaves tell his file from the one that was signed."""

    def honest(name: str) -> Forged:
        return forge(f"holder-{name}", b"what was signed")

    made = honest("other-content")
    other = forge("holder-donor", b"something else!")
    made.floe_header, made.segments, made.leaf_table = other.floe_header, other.segments, other.leaf_table
    out.forged(
        "holder-other-content", "the holder of the data key sealed other content; the root is the signed one", "integrity", made
    )
    made = honest("other-segment")
    made.segments = forge("holder-other-segment", b"something else!").segments
    out.forged("holder-other-segment", "the same, and the leaves are the signed ones too", "integrity", made)
    made = honest("other-metadata")
    made.metadata = forge("holder-other-metadata", b"what was signed", metadata=_metadata(15, labels={"a": "b"})).metadata
    was = forge("holder-other-metadata", b"what was signed", metadata=_metadata(15, labels={"a": "c"}))
    made.trailer, made.leaf_table, made.record = was.trailer, was.leaf_table, was.record
    out.forged(
        "holder-other-metadata", "the holder of the data key sealed other metadata; the root is the signed one", "integrity", made
    )


def _one_check_left(out: Invalid) -> None:
    """Everything agrees but for one thing."""
    made = forge("resealed-leaf", b"x" * 50)
    about = "a leaf is not that of its segment; root and record agree"
    out.forged("resealed-leaf", about, "integrity", made.reseal(bytes(32)))

    made = forge("resealed-metadata-ciphertext", b"x" * 50)
    at = FLOE_HEADER + 20
    made.metadata = made.metadata[:at] + bytes([made.metadata[at] ^ 1]) + made.metadata[at + 1 :]
    out.forged("resealed-metadata-ciphertext", "a changed byte of the metadata; root and record agree", "integrity", made.reseal())
    made = forge("resealed-metadata-not-final", b"x" * 50)
    made.metadata = made.metadata[:FLOE_HEADER] + b"\xff" * 4 + made.metadata[FLOE_HEADER + 4 :]
    about = "the metadata's last segment does not claim to be final; root and record agree"
    out.forged("resealed-metadata-not-final", about, "format integrity", made.reseal())

    made = forge("resealed-parameters-derived", b"x" * 50)
    large = _encryptor(made.prefix, "resealed-parameters-derived", "FLOE-AES256-GCM-1M-BLAKE3")
    message = large.message(b"x" * 50)
    made.floe_header, made.segments = message[:FLOE_HEADER], [message[FLOE_HEADER:]]
    about = "a FLOE header of another segment length, and a tag that was derived with it"
    out.forged("resealed-parameters-derived", about, "format", made.reseal())


def _encryptor(prefix: bytes, scenario: str, suite: str = SMALL, *, iv: bytes | None = None) -> FloeEncryptor:
    """Return an encryptor of payloads; `iv` continues a message that exists."""
    random = Randomness(scenario)
    given = [] if iv is None else [iv]
    return FloeEncryptor(
        Secret(KEY),
        associated_data(PAYLOAD, prefix),
        parameters(SUITES[suite]),
        deterministic_randomness_for_vectors=lambda length: given.pop() if given else random(length),
    )


def _lengths(out: Invalid) -> None:
    base, record = out.base(OVER)

    def case(name: str, about: str, last: Callable[[Forged], bytes]) -> None:
        made = Forged.parse(base, record)
        made.segments[1] = last(made)
        made.metadata = forge(name, metadata=_metadata(SEGMENT), prefix=made.prefix).metadata
        pieces = glue(OVER, base, made.reseal().data())
        out.add(name, f"{about}; leaves, root and record agree", "format", pieces, made.record)

    def empty(made: Forged) -> bytes:
        segment = bytearray(32)
        encryptor = _encryptor(made.prefix, "lengths-empty-final", iv=made.floe_header[10:42])
        assert encryptor.header == made.floe_header
        encryptor.encrypt_into(1, memoryview(b""), memoryview(segment), is_final=True)
        return bytes(segment)

    case("lengths-empty-final", "an empty final segment after a full one, which FLOE allows and an object does not", empty)
    case("lengths-stub", "a final segment of 31 bytes", lambda _made: bytes(31))

    made = forge("lengths-metadata-over-limit", b"x")
    body = made.suite.message_length(16 * MIB + 1) - FLOE_HEADER
    made.metadata = made.metadata[:FLOE_HEADER] + b"\xff" * body
    made.reseal()
    data, start = made.data(), len(made.prefix + made.payload) + FLOE_HEADER
    pieces = [{"hex": data[:start].hex()}, {"repeat": "ff", "times": body}, {"hex": data[start + body :].hex()}]
    about = "metadata of 16 MiB and a byte; root and record agree"
    out.add("lengths-metadata-over-limit", about, "format", pieces, made.record)


def files(base: Files) -> Files:
    """Return every file by its path below vectors/; `base` holds the honest ones that some are cut from."""
    out = Invalid(base)
    for group in (_spellings, _holder_of_the_key, _one_check_left, _lengths):
        group(out)
    return {**_valid(), **out.files}
