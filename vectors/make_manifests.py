"""Scenarios of manifests: signed envelopes that must verify, and those that must be refused and why."""

from __future__ import annotations

import base64
import json

from forge import IDS, OTHER_ID, stream

from hermetic.crypto.secret import Secret
from hermetic.crypto.sign import SigningKey
from hermetic.formats import canonical
from hermetic.formats.binary_text import to_base64, to_base64url
from hermetic.formats.dsse import pae
from hermetic.formats.manifest import FORMAT, PAYLOAD_TYPE
from hermetic.ids import id_from_bytes
from hermetic.signing.manifests import commitments_of, manifest_hash, new_openings

Files = dict[str, "bytes | dict[str, object]"]
SIGNER, STRANGER = SigningKey(Secret(bytes(range(32)))), SigningKey(Secret(b"\x07" * 32))
KEY_ID, STRANGER_ID = "manifest-1", "stranger-1"
TRUSTED = (KEY_ID, "a b", "k" * 129, "é")  # for the scenarios of odd key ids
ODD = {"key-id-space", "key-id-long", "key-id-beyond-ascii"}
NAMES = ("name", "class", "writer")


def _openings(scenario: str):
    salts = iter(stream(f"salt/{scenario}", 96)[start : start + 32] for start in (0, 32, 64))
    made, commitments = new_openings(
        name="dataset/patients", data_class="restricted", writer="ana", random=lambda _length: next(salts)
    )
    assert commitments_of(made) == commitments
    shown = dict(zip(NAMES, (made.name, made.data_class, made.writer), strict=True))
    committed = dict(zip(NAMES, (commitments.name, commitments.data_class, commitments.writer), strict=True))
    return (
        {name: {"salt": opening.salt.hex(), "value": opening.value} for name, opening in shown.items()},
        {name: to_base64url(value) for name, value in committed.items()},
    )


def _object(index: int, **changes: object) -> dict[str, object]:
    base = {
        "algorithm": "blake3",
        "data_key": IDS["data_key"],
        "id": id_from_bytes(bytes([100 + index]) * 16),
        "index": index,
        "length": 1000 + index,
        "root": to_base64url(stream(f"root/{index}", 32)),
    }
    return {**base, **changes}


def _payload(scenario: str, *, objects: list[object] | None = None, **changes: object) -> dict[str, object]:
    return {
        "asset": IDS["asset"],
        "commitments": _openings(scenario)[1],
        "created_ms": 1_790_000_000_000,
        "domain": IDS["domain"],
        "environment": "production",
        "format": FORMAT,
        "number": 1,
        "objects": [_object(0)] if objects is None else objects,
        "previous": None,
        "version": IDS["version"],
        **changes,
    }


def _envelope(payload: bytes, *, kind: str = PAYLOAD_TYPE, key: SigningKey = SIGNER, key_id: str = KEY_ID) -> dict[str, object]:
    signature = {"keyid": key_id, "sig": to_base64(key.sign(pae(kind, payload)))}
    return {"payload": to_base64(payload), "payloadType": kind, "signatures": [signature]}


def _scenario(about: str, raw: bytes, **more: object) -> dict[str, object]:
    trusted = dict.fromkeys(TRUSTED, SIGNER.public.hex()) if more.pop("trust_odd", False) else {KEY_ID: SIGNER.public.hex()}
    return {"kind": "manifest", "about": about, "trusted": trusted, "envelope": base64.b64encode(raw).decode(), **more}


def _valid() -> Files:
    first = canonical.encode(_envelope(canonical.encode(_payload("first"))))
    cases = {
        "first": ("the first version, one object", _payload("first")),
        "second": (
            "a later version, several objects, both digests",
            _payload(
                "second",
                objects=[_object(0), _object(1, algorithm="sha256"), _object(2, length=2**53 - 1)],
                number=2,
                previous=to_base64url(manifest_hash(first)),
            ),
        ),
    }
    made: Files = {}
    for name, (about, payload) in cases.items():
        raw = canonical.encode(_envelope(canonical.encode(payload)))
        made[f"manifest/valid/{name}.json"] = _scenario(
            about,
            raw,
            expect="ok",
            payload=payload,
            manifest_hash=manifest_hash(raw).hex(),
            openings=_openings(name)[0],
        )
    return made


def _bad_payloads() -> dict[str, tuple[str, bytes]]:
    good = canonical.encode(_payload("bad"))

    def value(about: str, **changes: object) -> tuple[str, bytes]:
        return about, canonical.encode(_payload("bad", **changes))

    return {
        "payload-not-canonical": ("payload: a space after a colon", good.replace(b":", b": ", 1)),
        "payload-duplicate-member": ("payload: a member twice", good.replace(b'"number":1', b'"number":1,"number":1')),
        "payload-not-json": ("payload: broken JSON", b"{"),
        "payload-empty": ("payload: nothing", b""),
        "payload-unknown-member": value("payload: an unknown member", zeal=True),
        "payload-missing-member": ("payload: no number", good.replace(b'"number":1,', b"")),
        "payload-other-format": value("payload: another format marker", format="hermetic/v2/manifest"),
        "payload-bad-id": value("payload: an id that is none", asset="patients"),
        "payload-bad-environment": value("payload: an unknown environment", environment="prod"),
        "payload-number-zero": value("payload: versions count from 1", number=0),
        "payload-negative-time": value("payload: a time before 1970", created_ms=-1),
        "payload-time-float": ("payload: a time with a fraction", good.replace(b"1790000000000", b"1790000000000.5")),
        "payload-short-previous": value("payload: a hash of 31 bytes", previous=to_base64url(bytes(31))),
        "payload-loose-previous": value("payload: a hash with unused bits set", previous="A" * 42 + "B"),
        "payload-padded-previous": value("payload: base64url with padding", previous="A" * 43 + "="),
        "payload-number-true": value("payload: a number that is true", number=True),
        "payload-number-over-limit": value("payload: a number of 11 digits", number=10_000_000_000),
        "payload-time-over-limit": ("payload: a time of 2^53", good.replace(b"1790000000000", b"9007199254740992")),
        "payload-short-commitment": value(
            "payload: a commitment of 31 bytes", commitments={**_openings("bad")[1], "name": to_base64url(bytes(31))}
        ),
        "payload-unknown-commitment": value(
            "payload: a fourth commitment", commitments={**_openings("bad")[1], "reason": to_base64url(bytes(32))}
        ),
        "payload-byte-order-mark": ("payload: a byte-order mark", b"\xef\xbb\xbf" + good),
        "payload-clear-name": value("payload: a name in clear", name="dataset/patients"),
        "objects-none": value("objects: none", objects=[]),
        "objects-index-gap": value("objects: the second has index 2", objects=[_object(0), _object(2)]),
        "objects-index-repeated": value("objects: two with index 0", objects=[_object(0), _object(0)]),
        "objects-id-repeated": value("objects: one id twice", objects=[_object(0), _object(1, id=_object(0)["id"])]),
        "objects-unknown-digest": value("objects: an unknown digest", objects=[_object(0, algorithm="md5")]),
        "objects-short-root": value("objects: a root of 16 bytes", objects=[_object(0, root=to_base64url(bytes(16)))]),
        "objects-length-zero": value("objects: a file of no bytes", objects=[_object(0, length=0)]),
        "objects-index-false": value("objects: an index that is false", objects=[{**_object(0), "index": False}]),
        "objects-bad-id": value("objects: an id that is none", objects=[_object(0, id="first")]),
        "objects-bad-data-key": value("objects: a data key that is no id", objects=[_object(0, data_key="")]),
        "objects-no-array": value("objects: an object instead of an array", objects={"0": _object(0)}),
        "objects-unknown-member": value("objects: an unknown member", objects=[_object(0, size=1)]),
    }


def _malleable(signature: bytes) -> bytes:
    """Return the signature with the group order added to S: the same equation, which RFC 8032 refuses."""
    order = 2**252 + 27742317777372353535851937790883648493
    scalar = int.from_bytes(signature[32:], "little") + order
    return signature[:32] + scalar.to_bytes(32, "little")


def _loose(base64_text: str) -> str:
    """Return the base64 of 64 bytes with an unused bit set."""
    return base64_text[:-3] + {"A": "B", "Q": "R", "g": "h", "w": "x"}[base64_text[-3]] + "=="


def _bad_envelopes() -> dict[str, tuple[str, str, bytes]]:
    payload = canonical.encode(_payload("bad"))
    good = _envelope(payload)
    raw, signature = canonical.encode(good), dict(good["signatures"][0])
    other = canonical.encode(_payload("bad", number=2))

    def changed(**changes: object) -> bytes:
        return canonical.encode({**good, **changes})

    def signed(**changes: object) -> bytes:
        return changed(signatures=[{**signature, **changes}])

    flipped = bytearray(base64.b64decode(signature["sig"]))
    flipped[5] ^= 1
    return {
        "signature-changed": ("one bit of the signature differs", "signature", signed(sig=to_base64(bytes(flipped)))),
        "signature-empty": ("no bytes of signature", "signature format", signed(sig="")),
        "signature-short": ("a signature of 63 bytes", "signature format", signed(sig=to_base64(bytes(63)))),
        "signature-malleable": (
            "the group order added to S",
            "signature",
            signed(sig=to_base64(_malleable(base64.b64decode(signature["sig"])))),
        ),
        "signature-loose-bits": ("unused bits of the base64 are set", "format", signed(sig=_loose(signature["sig"]))),
        "signature-none": ("no signature", "format signature", changed(signatures=[])),
        "signature-two": ("two signatures", "format", changed(signatures=[signature, signature])),
        "signature-over-other-payload": ("the payload was exchanged", "signature", changed(payload=to_base64(other))),
        "signature-without-pae": (
            "signed without the pre-authentication encoding",
            "signature",
            signed(sig=to_base64(SIGNER.sign(payload))),
        ),
        "signer-unknown": (
            "signed by a key that is not trusted",
            "signature",
            canonical.encode(_envelope(payload, key=STRANGER, key_id=STRANGER_ID)),
        ),
        "signer-pretends": (
            "signed by a stranger under a trusted key's id",
            "signature",
            canonical.encode(_envelope(payload, key=STRANGER)),
        ),
        "key-id-changed": ("the signature is good, the key id another", "signature", signed(keyid="manifest-2")),
        "key-id-empty": ("an empty key id", "format signature", signed(keyid="")),
        "key-id-space": ("a space in the key id, which is trusted", "format", canonical.encode(_envelope(payload, key_id="a b"))),
        "key-id-long": ("a key id of 129 letters, which is trusted", "format", canonical.encode(_envelope(payload, key_id="k" * 129))),
        "key-id-beyond-ascii": ("a key id beyond ASCII, which is trusted", "format", canonical.encode(_envelope(payload, key_id="é"))),
        "type-long": (
            "properly signed, but the type has 256 letters",
            "format signature",
            canonical.encode(_envelope(payload, kind="t" * 256)),
        ),
        "type-empty": ("properly signed, but without a type", "format signature", canonical.encode(_envelope(payload, kind=""))),
        "type-other": (
            "properly signed, but as another kind of document",
            "signature",
            canonical.encode(_envelope(payload, kind="application/vnd.in-toto+json")),
        ),
        "type-changed": ("the type was exchanged", "signature", changed(payloadType="application/vnd.in-toto+json")),
        "envelope-line-break": ("a line break at the end", "format", raw + b"\n"),
        "envelope-indented": ("the same JSON, indented", "format", json.dumps(good, indent=1, sort_keys=True).encode()),
        "envelope-unknown-member": ("an unknown member", "format", changed(zeal=1)),
        "envelope-signature-member": ("an unknown member beside the signature", "format", signed(cert="x")),
        "envelope-base64url": ("the payload in base64url", "format", changed(payload=good["payload"].rstrip("=") + "_")),
        "envelope-base64-space": ("a space inside the base64", "format", changed(payload=" " + good["payload"])),
        "envelope-truncated": ("the last byte is missing", "format", raw[:-1]),
        "envelope-empty": ("no bytes", "format", b""),
    }


def _invalid() -> Files:
    made: Files = {}
    for name, (about, payload) in _bad_payloads().items():
        raw = canonical.encode(_envelope(payload))
        made[f"manifest/invalid/{name}.json"] = _scenario(f"{about}; properly signed", raw, expect="refused", classes=["format"])
    for name, (about, classes, raw) in _bad_envelopes().items():
        made[f"manifest/invalid/{name}.json"] = _scenario(about, raw, expect="refused", classes=classes.split(), trust_odd=name in ODD)
    raw = canonical.encode(_envelope(canonical.encode(_payload("openings"))))
    for name in NAMES:
        openings = _openings("openings")[0]
        openings[name] = {**openings[name], "value": "model/other"}
        made[f"manifest/invalid/opening-of-{name}.json"] = _scenario(
            f"the envelope is good, but the {name} that is shown is not the one committed to",
            raw,
            expect="refused",
            classes=["integrity"],
            openings=openings,
        )
    for name, change in {"long": lambda salt: salt + b"\0", "short": lambda salt: salt[:31]}.items():
        openings = _openings("openings")[0]
        salt = change(bytes.fromhex(openings["name"]["salt"]))
        made[f"manifest/invalid/opening-salt-{name}.json"] = _scenario(
            f"a salt of {len(salt)} bytes" + ("; HMAC itself would take it for the one without the zero" if name == "long" else ""),
            raw,
            expect="refused",
            classes=["format", "integrity"],
            openings={**openings, "name": {**openings["name"], "salt": salt.hex()}},
        )
    return made


def files() -> Files:
    """Return every file by its path below vectors/."""
    assert OTHER_ID not in IDS.values()
    return {**_valid(), **_invalid()}
