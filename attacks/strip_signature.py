"""The signature is stripped, emptied or replaced, and the object left as it is or replaced by another.

Attacker: whoever can write the store; no key.
Tries:    drop manifest.json, empty its list of signatures, put in the signature of nobody, relabel the payload type, spell the same
          envelope in another way, leave the payload alone.
Stops it: readers take the manifest from custody and know which keys may sign; what lies beside the objects is compared byte for
          byte, and an envelope without a trusted signature is no manifest.
"""

from __future__ import annotations

import base64
import json

from _stage import ROWS, Stage, main

from hermetic.crypto.sign import SigningKey
from hermetic.errors import IntegrityError, SignatureError
from hermetic.signing.envelopes import sign_envelope
from hermetic.signing.manifests import verify_manifest


def attack(stage: Stage) -> None:
    version = stage.create().seal().version
    path = stage.manifest(version)
    good = path.read_bytes()
    with stage.connect() as h:
        trusted = h.connection.pins.manifest_keys
    stage.honest("reading", stage.read(), ROWS)
    stage.honest("the signature verifies", verify_manifest(good, trusted).version, version)

    for what, raw in _variants(json.loads(good)).items():
        stage.refused(f"a reader given {what}", lambda raw=raw: verify_manifest(raw, trusted), IntegrityError)
        path.write_bytes(raw)
        stage.refused(f"hermetic verify with {what}", lambda: stage.connect().verify("dataset/patients"), IntegrityError)
        stage.honest(f"reading goes by custody's manifest with {what}", stage.read(), ROWS)
    stage.refused("no trusted keys at all", lambda: verify_manifest(good, {}), SignatureError)

    path.unlink()
    stage.honest("reading with manifest.json removed", stage.read(), ROWS)
    stage.found("the manifest is back after that", path.read_bytes() == good)


def dump(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), sort_keys=True).encode()


def _variants(envelope: dict) -> dict[str, bytes]:
    payload, signature = envelope["payload"], envelope["signatures"][0]
    raw = base64.b64decode(payload)
    stranger = SigningKey.generate()
    return {
        "no signatures": dump({**envelope, "signatures": []}),
        "the field left out": dump({key: value for key, value in envelope.items() if key != "signatures"}),
        "an empty signature": dump({**envelope, "signatures": [{**signature, "sig": ""}]}),
        "the signature of another": sign_envelope(raw, envelope["payloadType"], stranger, signature["keyid"]),
        "another key's name": sign_envelope(raw, envelope["payloadType"], stranger, "their-own-key"),
        "two signatures, one good": dump({**envelope, "signatures": [{"keyid": "x", "sig": signature["sig"]}, signature]}),
        "another payload type": dump({**envelope, "payloadType": "application/vnd.in-toto+json"}),
        "the payload alone": raw,
        "nothing": b"",
        "a space more": dump(envelope) + b" ",
        "members in another order": json.dumps(envelope, separators=(",", ":"), sort_keys=False).encode()[:-1] + b"}\n",
        "base64 without padding": dump({**envelope, "payload": payload.rstrip("=") + "A"}),
    }


if __name__ == "__main__":
    main(attack)
