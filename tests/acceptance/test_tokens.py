"""Capability AC1: a token of a trusted issuer enrols a key, once, for somebody who is known, and is no good for anything else."""

from __future__ import annotations

import json

import pytest
from joserfc import jwk, jwt

from hermetic.access.issuers import PERSON, Issuer, IssuerKeys, Rule
from hermetic.access.tokens import TokenDesk, key_nonce
from hermetic.crypto import x509
from hermetic.custody import identities
from hermetic.custody.call import Vouched
from hermetic.errors import NotAuthenticated, UsageError
from hermetic.formats.messages import identity
from hermetic.formats.messages.keys import ListKeys
from tests import world as w

WHY = "because the test says so"


def test_AC1_a_token_becomes_a_certificate_once(world):
    port, uri = world.port(), f"spiffe://{world.domain}/person/ben"
    key = jwk.ECKey.generate_key("P-256")
    published = json.dumps({"keys": [key.as_dict(private=False) | {"kid": "a"}]}).encode()
    issuer = Issuer("https://login.example", "hermetic", PERSON, (Rule("ben", {"sub": "7"}),), "https://login.example/jwks", 600)
    port.custodian.tokens = TokenDesk([IssuerKeys(issuer, lambda _place: published, lambda: 0)])
    port.ask(identity.CreateAuthority(WHY))
    csr = x509.new_request(uri)[1]
    now = w.START // 1000
    said = {"iss": issuer.url, "aud": "hermetic", "sub": "7", "iat": now, "exp": now + 300}
    said["nonce"] = key_nonce(x509.parse_request(csr).public)
    token = jwt.encode({"alg": "ES256", "kid": "a"}, said, key)

    def exchange(csr):
        return port.exchange(Vouched("login", "192.0.2.1"), identity.ExchangeToken(token, csr))

    with pytest.raises(NotAuthenticated, match="not known"):
        exchange(csr)
    port.ask(identity.EnrolIdentity("ben", "person", ("data-steward",), WHY))
    made = exchange(csr)
    principal, credential = identities.vouch_certificate(port.custodian, made.chain[0])
    assert principal == uri
    assert port.ask_as(Vouched(principal, None, credential), ListKeys()).keys == ()
    with pytest.raises(NotAuthenticated):
        exchange(x509.new_request(uri)[1])
    with pytest.raises(UsageError):
        port.ask(identity.ExchangeToken(token, csr))
    world.clock.now = made.not_after_ms
    with pytest.raises(NotAuthenticated, match=r"expired|time"):
        identities.vouch_certificate(port.custodian, made.chain[0])
