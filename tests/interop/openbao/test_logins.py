"""Every way to log in at a real server: token, AppRole, JWT, certificate; and tokens that end in the middle."""

from __future__ import annotations

import json
import secrets
import time
from base64 import urlsafe_b64encode
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from hermetic.crypto.secret import Secret
from hermetic.errors import IntegrityError, KeyServiceUnavailable
from hermetic.keys.provider import ProviderState
from hermetic.providers.place import boot_ms
from tests.interop.baoserver import Authority
from tests.unit.providers.contract import CONTEXT

TTL_MS = 3_600_000


class Clock:
    """The clock of this machine, which a test can put forward."""

    def __init__(self):
        self.ahead = 0

    def __call__(self):
        return boot_ms() + self.ahead


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def made(desk):
    """A root that was made by token, and what it wrapped."""
    provider = desk.create()
    return provider, provider.wrap(Secret(b"s" * 32), CONTEXT)


def opens(provider, wrapped):
    return provider.unwrap(wrapped, CONTEXT).same_as(Secret(b"s" * 32))


def method(desk, kind):
    """Enable an auth method at a path of this test."""
    path = f"{kind}-{secrets.token_hex(4)}"
    desk.do("POST", f"sys/auth/{path}", {"type": kind})
    return path


def by(desk, provider, clock=None, **settings):
    """Open the root with another login, given whole."""
    place = desk.place(clock=clock)
    where = {"address": desk.settings["address"], "ca": desk.settings["ca"]}
    return desk.open(replace(place, root_id=provider.root_id, settings={**where, **settings}))


def audited(desk, path):
    """Return how often the server answered a request for a path."""
    lines = [json.loads(line) for line in desk.server.audit.read_text().splitlines()]
    return sum(line["type"] == "response" and line["request"]["path"] == path for line in lines)


@pytest.fixture
def approle(desk):
    path = method(desk, "approle")
    role = {"token_policies": [desk.key], "token_ttl": "1h", "token_max_ttl": "4h", "secret_id_num_uses": 1}
    desk.do("POST", f"auth/{path}/role/trainer", role)
    role_id = desk.do("GET", f"auth/{path}/role/trainer/role-id")["data"]["role_id"]

    def secret_id():
        return desk.give("secret-id", desk.do("POST", f"auth/{path}/role/trainer/secret-id")["data"]["secret_id"])

    return {"auth": "approle", "auth_mount": path, "role_id": role_id}, secret_id


def test_approle_with_a_secret_id_that_is_good_once(desk, made, approle):
    provider, wrapped = made
    settings, secret_id = approle
    first = by(desk, provider, **settings, secret_id_file=secret_id())
    assert all(opens(first, wrapped) for _ in range(3)), "one login serves many calls"
    with pytest.raises(KeyServiceUnavailable, match="refuses the login by approle") as caught:
        by(desk, provider, **settings, secret_id_file=str(desk.folder / "secret-id")).unwrap(wrapped, CONTEXT)
    assert "used up" in caught.value.hint
    assert opens(by(desk, provider, **settings, secret_id_file=secret_id()), wrapped)


def test_the_token_is_renewed_and_then_replaced(desk, made, approle, clock):
    provider, wrapped = made
    settings, secret_id = approle
    root = by(desk, provider, clock, **settings, secret_id_file=secret_id())
    login = f"auth/{settings['auth_mount']}/login"
    assert opens(root, wrapped)
    renewed = audited(desk, "auth/token/renew-self")
    clock.ahead = TTL_MS * 3 // 4
    assert opens(root, wrapped)
    assert audited(desk, "auth/token/renew-self") == renewed + 1
    assert audited(desk, login) == 1
    secret_id()
    clock.ahead += TTL_MS + 1000
    assert opens(root, wrapped)
    assert audited(desk, login) == 2


def test_a_token_revoked_in_the_middle(desk, made, approle):
    provider, wrapped = made
    settings, secret_id = approle
    root = by(desk, provider, **settings, secret_id_file=secret_id())
    assert opens(root, wrapped)
    token = bytes(root.key.session.token().value.view()).decode()
    secret_id()
    desk.do("POST", "auth/token/revoke", {"token": token})
    assert opens(root, wrapped)
    assert bytes(root.key.session.token().value.view()).decode() != token


def test_a_token_whose_time_is_over_at_the_server(desk, made):
    """Its time as told, not by our clock: the server has forgotten it, the file has a new one."""
    provider, wrapped = made
    path = desk.give("short", desk.server.new_token(desk.key, ttl="1h"))
    root = desk.open(provider, token_file=path)
    assert opens(root, wrapped)
    desk.do("POST", "auth/token/revoke", {"token": (desk.folder / "short").read_text()})
    with pytest.raises(KeyServiceUnavailable, match="denies this login"):
        root.unwrap(wrapped, CONTEXT)
    assert root.status().state is ProviderState.UNREACHABLE
    desk.give("short", desk.server.new_token(desk.key))
    assert opens(root, wrapped)


def test_batch_tokens_without_a_default_policy(desk, made):
    provider, wrapped = made
    token = desk.server.new_token(desk.key, type="batch", ttl="1h", no_default_policy=True)
    assert opens(desk.open(provider, token_file=desk.give("batch", token)), wrapped)


def test_a_token_of_somebody_else(desk, made):
    provider, wrapped = made
    root = desk.open(provider, token_file=desk.give("other", desk.server.new_token("default")))
    with pytest.raises(KeyServiceUnavailable, match="denies this login to decrypt"):
        root.unwrap(wrapped, CONTEXT)


def signed(key, **claims):
    def part(raw):
        return urlsafe_b64encode(raw).rstrip(b"=")

    now = int(time.time())
    header = part(json.dumps({"alg": "ES256", "typ": "JWT"}).encode())
    body = part(json.dumps({"iss": "ci", "aud": "hermetic", "sub": "job", "iat": now, "exp": now + 600, **claims}).encode())
    r, s = decode_dss_signature(key.sign(header + b"." + body, ec.ECDSA(hashes.SHA256())))
    return (header + b"." + body + b"." + part(r.to_bytes(32, "big") + s.to_bytes(32, "big"))).decode()


def test_jwt(desk, made):
    provider, wrapped = made
    key = ec.generate_private_key(ec.SECP256R1())
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()
    path = method(desk, "jwt")
    desk.do("POST", f"auth/{path}/config", {"jwt_validation_pubkeys": [public], "bound_issuer": "ci"})
    claims = {"role_type": "jwt", "user_claim": "sub", "bound_audiences": ["hermetic"], "bound_claims": {"environment": "prod"}}
    desk.do("POST", f"auth/{path}/role/trainer", {**claims, "token_policies": [desk.key], "token_ttl": "10m"})
    settings = {"auth": "jwt", "auth_mount": path, "role": "trainer"}
    good = desk.give("good.jwt", signed(key, environment="prod"))
    assert opens(by(desk, provider, **settings, jwt_file=good), wrapped)
    for name, token in (
        ("dev", signed(key, environment="dev")),
        ("late", signed(key, environment="prod", iat=1, exp=2)),
        ("forged", signed(ec.generate_private_key(ec.SECP256R1()), environment="prod")),
    ):
        with pytest.raises(KeyServiceUnavailable, match="refuses the login by jwt"):
            by(desk, provider, **settings, jwt_file=desk.give(name, token)).unwrap(wrapped, CONTEXT)


def test_certificate(desk, made, tmp_path):
    provider, wrapped = made
    (tmp_path / "clients").mkdir()
    (tmp_path / "strangers").mkdir()
    clients, strangers = Authority(tmp_path / "clients"), Authority(tmp_path / "strangers")
    path = method(desk, "cert")
    asked = {"certificate": clients.ca.read_text(), "allowed_common_names": ["trainer"], "token_policies": [desk.key]}
    desk.do("POST", f"auth/{path}/certs/trainer", asked)
    settings = {"auth": "cert", "auth_mount": path, "role": "trainer"}
    cert, key = clients.issue("trainer")
    root = by(desk, provider, **settings, cert=str(cert), key=str(key))
    assert opens(root, wrapped)
    for authority, name in ((clients, "somebody"), (strangers, "trainer")):
        other, other_key = authority.issue(f"{name}")
        with pytest.raises(KeyServiceUnavailable, match="refuses the login by cert"):
            by(desk, provider, **settings, cert=str(other), key=str(other_key)).unwrap(wrapped, CONTEXT)
    with pytest.raises(KeyServiceUnavailable, match=r"certificates for .* cannot be read"):
        by(desk, provider, **settings, cert=str(cert), key=str(other_key)).unwrap(wrapped, CONTEXT)
    key.chmod(0o640)
    with pytest.raises(IntegrityError, match="is open to other users"):
        by(desk, provider, **settings, cert=str(cert), key=str(key)).unwrap(wrapped, CONTEXT)
