"""A key service that speaks the REST protocol of Azure Key Vault and Managed HSM, and the identity endpoint that gives tokens for it.

Without a token it answers 401 with a challenge, as the real one does; RSA keys wrap with RSA-OAEP-256, AES keys (oct-HSM, whose bytes
are never shown) with A256KW. Versions have attributes; a disabled one refuses; a deleted key is not found until it is recovered.
"""

from __future__ import annotations

import base64
import re
import secrets
import threading
import time
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

from cryptography.hazmat.primitives import hashes, keywrap
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from tests.interop.front import Answer

_OAEP = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
_PATH = re.compile(r"/keys/([A-Za-z0-9-]+)(?:/([0-9a-f]{32}))?(?:/(wrapkey|unwrapkey|rotationpolicy))?/?")
_TENANT = "11111111-2222-3333-4444-555555555555"
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)  # one for all tests: making them takes long


class Refused(Exception):
    def __init__(self, status, code, inner=None):
        super().__init__(code)
        error = {"code": code, "message": "words of the service"} | ({"innererror": {"code": inner}} if inner else {})
        self.answer = Answer.of(status, {"error": error})


@dataclass
class Version:
    secret: object
    attributes: dict = field(default_factory=lambda: {"enabled": True, "recoveryLevel": "Recoverable", "recoverableDays": 90})


@dataclass
class Key:
    kty: str = "RSA-HSM"
    ops: tuple = ("wrapKey", "unwrapKey", "encrypt", "decrypt")
    versions: dict = field(default_factory=dict)
    deleted: bool = False
    rotates: bool = False

    def rotate(self):
        name = secrets.token_hex(16)
        self.versions[name] = Version(secrets.token_bytes(32) if "oct" in self.kty else RSA)
        return name

    @property
    def newest(self):
        return next(reversed(self.versions.values()))


class Service:
    """An `answer` for a Front. `resource` is what its challenge says that tokens are for."""

    def __init__(self, host="team.vault.azure.net"):
        self.host, self.resource = host, f"https://{host.partition('.')[2]}"
        self.keys, self.denied, self.tokens, self._lock = {}, set(), {}, threading.Lock()

    def new_key(self, name="hermetic", **more):
        key = self.keys[name] = Key(**more)
        key.rotate()
        return f"azurekv:{self.host}/keys/{name}"

    def key(self, root):
        return self.keys[root.uri.rpartition("/")[2]]

    def identity(self, asked):
        """The managed identity of an App Service: GET with a header that only the app has."""
        if asked.headers.get("X-Identity-Header") != "of-the-app":
            return Answer(401)
        query = parse_qs(urlsplit(asked.path).query)
        token, ends = secrets.token_urlsafe(24), int(time.time()) + 86_400
        self.tokens[token] = query["resource"][0]
        return Answer.of(
            200, {"access_token": token, "expires_on": str(ends), "resource": query["resource"][0], "token_type": "Bearer"}
        )

    def __call__(self, asked):
        try:
            return self._answer(asked)
        except Refused as refused:
            return refused.answer

    def _answer(self, asked):
        kind, _, token = asked.headers.get("Authorization", "").partition(" ")
        if kind != "Bearer" or self.tokens.get(token) != self.resource:
            asks = f'Bearer authorization="https://login.microsoftonline.com/{_TENANT}", resource="{self.resource}"'
            return Answer.of(401, {"error": {"code": "Unauthorized"}}, **{"WWW-Authenticate": asks})
        parts = urlsplit(asked.path)
        found = _PATH.fullmatch(parts.path)
        if found is None or "api-version" not in parse_qs(parts.query):
            raise Refused(400, "BadParameter")
        name, version, operation = found[1], found[2], found[3] or "get"
        if operation in self.denied:
            raise Refused(403, "Forbidden", "ForbiddenByRbac")
        key = self.keys.get(name)
        if key is None or key.deleted or (version and version not in key.versions):
            raise Refused(404, "KeyNotFound")
        version = version or next(reversed(key.versions))
        with self._lock:
            return Answer.of(
                200, getattr(self, f"_{operation}")(key, version, asked) | {"kid": f"https://{self.host}/keys/{name}/{version}"}
            )

    def _get(self, key, version, asked):
        found = key.versions[version]
        name = next(name for name, one in self.keys.items() if one is key)
        shown = {"kid": f"https://{self.host}/keys/{name}/{version}", "kty": key.kty, "key_ops": list(key.ops)}
        if key.kty.startswith("RSA"):
            numbers = RSA.public_key().public_numbers()
            shown |= {"n": _b64(numbers.n.to_bytes(256, "big")), "e": _b64(b"\1\0\1")}
        return {"key": shown, "attributes": found.attributes}

    def _rotationpolicy(self, key, version, asked):
        actions = [{"trigger": {"timeAfterCreate": "P90D"}, "action": {"type": "Rotate"}}] if key.rotates else []
        return {"id": "x", "lifetimeActions": actions, "attributes": {}}

    def _wrapkey(self, key, version, asked):
        value, secret = self._taken(key, version, asked, "wrapKey")
        return {
            "value": _b64(
                secret.public_key().encrypt(value, _OAEP) if key.kty.startswith("RSA") else keywrap.aes_key_wrap(secret, value)
            )
        }

    def _unwrapkey(self, key, version, asked):
        value, secret = self._taken(key, version, asked, "unwrapKey")
        try:
            opened = secret.decrypt(value, _OAEP) if key.kty.startswith("RSA") else keywrap.aes_key_unwrap(secret, value)
        except (ValueError, keywrap.InvalidUnwrap):
            raise Refused(400, "BadParameter") from None
        return {"value": _b64(opened)}

    def _taken(self, key, version, asked, operation):
        found, body = key.versions[version], asked.json()
        if not found.attributes["enabled"]:
            raise Refused(403, "Forbidden", "KeyDisabled")
        if body["alg"] != ("RSA-OAEP-256" if key.kty.startswith("RSA") else "A256KW") or operation not in key.ops:
            raise Refused(400, "BadParameter")
        return base64.urlsafe_b64decode(body["value"] + "=" * (-len(body["value"]) % 4)), found.secret


def _b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
