"""A key service that speaks the REST protocol of Google Cloud KMS: what google-cloud-kms asks and understands.

Bearer tokens are what the SDK signs itself with a service account's key (self-signed JWT); signature, audience, lifetime are checked.
Keys have versions with states; encrypt takes the primary one, decrypt the one that the ciphertext names; CRC32C is checked and given.
"""

from __future__ import annotations

import base64
import json
import os
import re
import threading
import time
from dataclasses import dataclass, field

import google_crc32c
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tests.interop.front import Answer

RING = "projects/team-1/locations/europe-west1/keyRings/hermetic"
ACCOUNT = "pipeline@team-1.iam.gserviceaccount.com"
AUDIENCE = "https://cloudkms.googleapis.com/"
_KEY = re.compile(r"/v1/(projects/[^:?]+/cryptoKeys/[^/:?]+)(?::(encrypt|decrypt))?(?:\?.*)?")


class Refused(Exception):
    def __init__(self, code, status, message="words of the service"):
        super().__init__(message)
        self.answer = Answer.of(code, {"error": {"code": code, "message": message, "status": status}})


@dataclass
class Version:
    state: str = "ENABLED"
    secret: bytes = field(default_factory=lambda: os.urandom(32))
    destroy_time: str | None = None


@dataclass
class Key:
    purpose: str = "ENCRYPT_DECRYPT"
    level: str = "HSM"
    versions: list[Version] = field(default_factory=lambda: [Version()])
    more: dict = field(default_factory=dict)

    @property
    def primary(self):
        return self.versions[-1]


class Service:
    """An `answer` for a Front."""

    def __init__(self):
        self.keys, self.denied, self._lock = {}, set(), threading.Lock()
        self._account = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    def account_file(self, path):
        """Write the service account that this service knows, as Google hands them out."""
        kinds = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        text = {
            "type": "service_account",
            "project_id": "team-1",
            "private_key_id": "1",
            "private_key": self._account.private_bytes(*kinds).decode(),
            "client_email": ACCOUNT,
            "client_id": "1",
            "token_uri": "https://oauth2.googleapis.com/token",
        }
        path.write_text(json.dumps(text))
        return path

    def new_key(self, name, **more):
        self.keys[f"{RING}/cryptoKeys/{name}"] = Key(**more)
        return f"gcpkms:{RING}/cryptoKeys/{name}"

    def key(self, root):
        return self.keys[root.uri.partition(":")[2]]

    def __call__(self, asked):
        try:
            return self._answer(asked)
        except Refused as refused:
            return refused.answer

    def _answer(self, asked):
        self._authenticate(asked)
        found = _KEY.fullmatch(asked.path)
        operation = found and (found[2] or "get")
        if operation in self.denied:
            raise Refused(403, "PERMISSION_DENIED")
        key = found and self.keys.get(found[1])
        if key is None:
            raise Refused(404, "NOT_FOUND")
        with self._lock:
            return Answer.of(200, getattr(self, f"_{operation}")(found[1], key, asked))

    def _authenticate(self, asked):
        try:
            kind, _, token = asked.headers["Authorization"].partition(" ")
            head, body, signature = token.split(".")
            signed = self._account.public_key()
            signed.verify(_b64url(signature), f"{head}.{body}".encode(), padding.PKCS1v15(), hashes.SHA256())
            claims = json.loads(_b64url(body))
        except (KeyError, ValueError, InvalidSignature):
            raise Refused(401, "UNAUTHENTICATED") from None
        scope = claims.get("scope", "")
        known = claims["iss"] == claims["sub"] == ACCOUNT and (claims.get("aud") == AUDIENCE or "cloud" in scope)
        if kind != "Bearer" or not known or not claims["iat"] - 60 <= time.time() <= claims["exp"]:
            raise Refused(401, "UNAUTHENTICATED")

    def _get(self, name, key, asked):
        number, primary = len(key.versions), key.primary
        version = {"name": f"{name}/cryptoKeyVersions/{number}", "state": primary.state, "protectionLevel": key.level}
        if primary.destroy_time:
            version["destroyTime"] = primary.destroy_time
        return {"name": name, "purpose": key.purpose, "primary": version, "destroyScheduledDuration": "2592000s"} | key.more

    def _encrypt(self, name, key, asked):
        body = asked.json()
        plaintext, aad = self._taken(body, "plaintext"), self._taken(body, "additionalAuthenticatedData")
        if len(plaintext) + len(aad) > 8192:
            raise Refused(400, "INVALID_ARGUMENT")
        self._usable(key, key.primary)
        nonce = os.urandom(12)
        sealed = len(key.versions).to_bytes(4, "big") + nonce + AESGCM(key.primary.secret).encrypt(nonce, plaintext, aad)
        return {
            "name": f"{name}/cryptoKeyVersions/{len(key.versions)}",
            "ciphertext": base64.b64encode(sealed).decode(),
            "ciphertextCrc32c": str(google_crc32c.value(sealed)),
            "verifiedPlaintextCrc32c": "plaintextCrc32c" in body,
            "verifiedAdditionalAuthenticatedDataCrc32c": "additionalAuthenticatedDataCrc32c" in body,
            "protectionLevel": key.level,
        }

    def _decrypt(self, name, key, asked):
        body = asked.json()
        sealed, aad = self._taken(body, "ciphertext"), self._taken(body, "additionalAuthenticatedData")
        number = int.from_bytes(sealed[:4], "big")
        wrong = Refused(400, "INVALID_ARGUMENT", "Decryption failed: verify that 'name' refers to the correct CryptoKey.")
        if not 1 <= number <= len(key.versions) or len(sealed) < 32:
            raise wrong
        version = key.versions[number - 1]
        self._usable(key, version)
        try:
            plaintext = AESGCM(version.secret).decrypt(sealed[4:16], sealed[16:], aad)
        except InvalidTag:
            raise wrong from None
        return {"plaintext": base64.b64encode(plaintext).decode(), "plaintextCrc32c": str(google_crc32c.value(plaintext))}

    def _usable(self, key, version):
        if key.purpose != "ENCRYPT_DECRYPT" or version.state != "ENABLED":
            raise Refused(400, "FAILED_PRECONDITION")

    def _taken(self, body, name):
        value = base64.b64decode(body.get(name, ""), validate=True)
        told = body.get(f"{name}Crc32c")
        if told is not None and int(told) != google_crc32c.value(value):
            raise Refused(400, "INVALID_ARGUMENT", "checksum")
        return value


def _b64url(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
