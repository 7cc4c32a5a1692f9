"""A software authenticator for tests: what a security key and a browser do together, with everything that can be done wrong."""

from __future__ import annotations

import base64
import hashlib
import json
import os

import cbor2
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

PRESENT, VERIFIED, ATTESTED = 0x01, 0x04, 0x40


def text(raw):
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


class Authenticator:
    """One credential. `count` is what it says next; None counts nothing, as passkeys do."""

    def __init__(self, *, eddsa=False, count=1):
        self.eddsa, self.count, self.credential, self.user = eddsa, count, os.urandom(32), b""
        self.key = ed25519.Ed25519PrivateKey.generate() if eddsa else ec.generate_private_key(ec.SECP256R1())

    @property
    def public(self):
        """The COSE key."""
        if self.eddsa:
            raw = self.key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
            return cbor2.dumps({1: 1, 3: -8, -1: 6, -2: raw})
        numbers = self.key.public_key().public_numbers()
        return cbor2.dumps({1: 2, 3: -7, -1: 1, -2: numbers.x.to_bytes(32, "big"), -3: numbers.y.to_bytes(32, "big")})

    def client(self, kind, challenge, origin, **more):
        return json.dumps({"type": kind, "challenge": text(challenge), "origin": origin, "crossOrigin": False, **more}).encode()

    def data(self, flags, rp):
        count = 0 if self.count is None else self.count
        self.count = None if self.count is None else self.count + 1
        return hashlib.sha256(rp.encode()).digest() + bytes([flags]) + count.to_bytes(4, "big")

    def create(self, challenge, origin, *, rp="localhost", flags=PRESENT | VERIFIED, user=b"", **more):
        """Return (client data, attestation object)."""
        self.user = user
        head = self.data(flags | ATTESTED, rp)
        attested = bytes(16) + len(self.credential).to_bytes(2, "big") + self.credential + self.public
        return self.client("webauthn.create", challenge, origin, **more), cbor2.dumps(
            {"fmt": "none", "attStmt": {}, "authData": head + attested}
        )

    def get(self, challenge, origin, *, rp="localhost", flags=PRESENT | VERIFIED, kind="webauthn.get", **more):
        """Return (credential, authenticator data, client data, signature, user handle)."""
        client, data = self.client(kind, challenge, origin, **more), self.data(flags, rp)
        signed = data + hashlib.sha256(client).digest()
        signature = self.key.sign(signed) if self.eddsa else self.key.sign(signed, ec.ECDSA(hashes.SHA256()))
        return self.credential, data, client, signature, self.user

    def answer(self, step, origin):
        """Answer a step of the page, as its script would."""
        options = step["options"]
        challenge = base64.urlsafe_b64decode(options["challenge"] + "==")
        if step["kind"] == "create":
            client, attestation = self.create(challenge, origin)
            return {"client": text(client), "attestation": text(attestation)}
        names = ("credential", "authenticator", "client", "signature", "user")
        return dict(zip(names, map(text, self.get(challenge, origin)), strict=True))
