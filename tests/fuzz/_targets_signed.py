"""Fuzz targets: canonical JSON, envelopes, manifests and the messages of the port."""

from __future__ import annotations

import contextlib
import json

from hermetic.errors import HermeticError
from hermetic.formats import canonical, codec, dsse
from hermetic.formats.manifest import parse_manifest
from hermetic.signing.envelopes import sign_envelope
from hermetic.signing.manifests import verify_manifest
from tests.fuzz._target import KEY, Target, may_refuse, same, vector_strings
from tests.unit.formats.filled import filled

LIMIT = 24 * 2**20  # bytes


def _canonical(raw: bytes) -> None:
    same(raw, canonical.encode(canonical.decode(raw, limit=2**20)))


def _manifest(raw: bytes) -> None:
    same(raw, parse_manifest(raw).encode())


def _signed_manifest(raw: bytes) -> None:
    """What a producer who holds a signing key could write."""
    envelope = sign_envelope(raw, "application/vnd.hermetic.manifest+json", KEY, "k")
    same(raw, verify_manifest(envelope, {"k": KEY.public}).encode())


def _envelope(raw: bytes) -> None:
    with may_refuse():
        verify_manifest(raw, {"k": KEY.public})
    same(raw, dsse.parse_envelope(raw, limit=LIMIT).encode())


def _message(raw: bytes) -> None:
    """A request is its bytes. An answer may say more than this release reads; what was read has one form."""
    message = codec.decode(raw)
    again = codec.encode(message)
    if codec.asks(type(message)):
        same(raw, again)
    same(again, codec.encode(codec.decode(again)))


def _envelopes() -> list[bytes]:
    return [raw for raw in vector_strings("manifest") if raw[:10] == b'{"payload"']


def _manifests() -> list[object]:
    found = []
    for raw in _envelopes()[:20]:
        with contextlib.suppress(HermeticError, ValueError):
            found.append(json.loads(dsse.parse_envelope(raw, limit=LIMIT).payload))
    return found


def _messages() -> list[object]:
    """One document for each port message, with every field."""
    return [json.loads(codec.encode(filled(cls))) for _, cls in sorted(codec.registered().items())]


TEXTS = {"\U0001f600": 1, "\ufb33": [None, True, {"a": '\n"\\\x7f'}], "": -7}
ENVELOPE = {"payload": "e30=", "payloadType": "x", "signatures": [{"keyid": "k", "sig": "AA=="}]}

TARGETS = {
    "canonical-json": Target(_canonical, 40_000, lambda: [canonical.encode(TEXTS), b'{"a":[1,null,true,"\\n"]}'], [TEXTS]),
    "manifest": Target(_manifest, 24_000, documents=_manifests()),
    "signed-manifest": Target(_signed_manifest, 6_000, documents=_manifests()),
    "dsse-envelope": Target(_envelope, 30_000, lambda: _envelopes()[:40], [ENVELOPE]),
    "port-message": Target(_message, 26_000, documents=_messages()),
}

PARSERS = (
    *("formats/binary_text", "formats/canonical", "formats/codec", "formats/dsse", "formats/fields", "formats/manifest"),
    *("formats/parts", "signing/envelopes", "signing/manifests"),
)
