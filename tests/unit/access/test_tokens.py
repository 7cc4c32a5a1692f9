"""What tokens are believed: attacks on a verifier of JSON Web Tokens, each with a token that is good but for one thing."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import warnings

import pytest
from joserfc import jwk, jws

from hermetic.access.issuers import FAILED_MS, FRESH_MS, PERSON, UNKNOWN_MS, WORKLOAD, Issuer, IssuerKeys, Rule, strict_json
from hermetic.access.tokens import LIMIT, LONGEST_S, SKEW_S, TokenDesk, key_nonce
from hermetic.errors import FormatError, HermeticError, KeyServiceUnavailable, NotAuthenticated, StorageError

NOW = 1_800_000_000
URL, AUDIENCE, PUBLIC = "https://issuer.example", "hermetic", b"the device's public key"
KEYS = {
    "ES256": jwk.ECKey.generate_key("P-256"),
    "RS256": jwk.RSAKey.generate_key(2048),
    "PS256": jwk.RSAKey.generate_key(2048),
    "EdDSA": jwk.OKPKey.generate_key("Ed25519"),
}
OTHERS = jwk.ECKey.generate_key("P-256")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    WEAK = jwk.RSAKey.generate_key(1024)


def b64(raw):
    return base64.urlsafe_b64encode(raw if isinstance(raw, bytes) else json.dumps(raw).encode()).rstrip(b"=").decode()


def claims(**more):
    found = {"iss": URL, "aud": AUDIENCE, "sub": "7", "iat": NOW - 10, "exp": NOW + 300, "nonce": key_nonce(PUBLIC)} | more
    return {name: value for name, value in found.items() if value is not None}


def signed(said=None, *, header=None, key=None, algorithm="ES256"):
    """A token as an issuer makes them; the library knows EdDSA by its new name only without a warning."""
    head = {"alg": algorithm, "kid": algorithm} | (header or {})
    head = {name: value for name, value in head.items() if value is not None}
    body = said if isinstance(said, str) else b64(claims() if said is None else said)
    text = f"{b64(head)}.{body}"
    name = "Ed25519" if algorithm == "EdDSA" else algorithm
    made = jws.JWSRegistry.algorithms[name].sign(text.encode(), (key or KEYS[algorithm]))
    return f"{text}.{b64(made)}"


class Published:
    """An issuer's documents; counts how often they are asked for."""

    def __init__(self, keys=None, *, jwks=None, url=URL):
        self.asked, self.down, self.now = [], False, 0
        self.keys = keys if keys is not None else [public(key, name) for name, key in KEYS.items()]
        self.said = {"issuer": url, "jwks_uri": f"{url}/jwks"}
        self.issuer = Issuer(URL, AUDIENCE, PERSON, (Rule("ana", {"sub": "7"}),), jwks, 600)

    def fetch(self, place):
        self.asked.append(place)
        if self.down:
            raise StorageError("no answer")
        return json.dumps(self.said if place.endswith("configuration") else {"keys": self.keys}).encode()

    def desk(self, issuer=None):
        return TokenDesk([IssuerKeys(issuer or self.issuer, self.fetch, lambda: self.now)])


def public(key, kid, **more):
    return key.as_dict(private=False) | {"kid": kid, "use": "sig"} | more


def admitted(token, *, issuer=None, published=None, now=NOW, key=PUBLIC):
    desk = (published or Published()).desk(issuer)
    return desk.admit(desk.read(token), key, now_ms=now * 1000)


@pytest.mark.parametrize("algorithm", sorted(KEYS))
def test_a_good_token_says_who_it_is(algorithm):
    found = admitted(signed(algorithm=algorithm))
    assert (found.kind, found.name, found.end_ms) == (PERSON, "ana", (NOW + 300 + SKEW_S) * 1000)


def hs256_with(secret):
    text = f"{b64({'alg': 'HS256', 'kid': 'RS256'})}.{b64(claims())}"
    return f"{text}.{b64(hmac.new(secret, text.encode(), hashlib.sha256).digest())}"


def changed(token, part):
    """The token with one bit of one part another."""
    parts = token.split(".")
    raw = bytearray(base64.urlsafe_b64decode(parts[part] + "=="))
    raw[len(raw) // 2] ^= 1
    parts[part] = b64(bytes(raw))
    return ".".join(parts)


FORGED = {
    "no algorithm": lambda: f"{b64({'alg': 'none', 'kid': 'ES256'})}.{b64(claims())}.",
    "no algorithm, in capitals": lambda: f"{b64({'alg': 'NONE', 'kid': 'ES256'})}.{b64(claims())}.{b64(b'x')}",
    "no algorithm, with a signature": lambda: f"{b64({'alg': 'none', 'kid': 'ES256'})}.{signed().split('.', 1)[1]}",
    "the public key as a secret, PEM": lambda: hs256_with(KEYS["RS256"].as_pem(private=False)),
    "the public key as a secret, DER": lambda: hs256_with(KEYS["RS256"].as_der(private=False)),
    "the empty signature": lambda: signed().rpartition(".")[0] + ".",
    "padding": lambda: signed() + "=",
    "a signature of zeros": lambda: signed().rpartition(".")[0] + "." + b64(bytes(64)),
    "somebody else's key": lambda: signed(key=OTHERS),
    "a key in the header": lambda: signed(key=OTHERS, header={"jwk": OTHERS.as_dict(private=False)}),
    "an address of keys in the header": lambda: signed(key=OTHERS, header={"jku": "https://evil.example/jwks"}),
    "another claim": lambda: changed(signed(), 1),
    "another signature": lambda: changed(signed(), 2),
    "another issuer": lambda: signed(claims(iss="https://evil.example")),
    "the issuer with a slash": lambda: signed(claims(iss=URL + "/")),
    "no issuer": lambda: signed(claims(iss=None)),
    "a list of issuers": lambda: signed(claims(iss=[URL])),
    "an unknown key": lambda: signed(header={"kid": "other"}),
    "no key id": lambda: signed(header={"kid": None}),
    "the id of another kind of key": lambda: signed(header={"kid": "RS256"}),
    "an algorithm that is not allowed": lambda: signed(algorithm="ES256", header={"alg": "ES384"}),
    "RS256 for a key that is for PS256": lambda: signed(header={"kid": "PS256"}, algorithm="RS256", key=KEYS["PS256"]),
    "a header that asks for more": lambda: signed(header={"crit": ["exp"]}),
    "a payload that is not encoded": lambda: signed(header={"b64": False, "crit": ["b64"]}),
}


@pytest.mark.parametrize("what", sorted(FORGED))
def test_a_token_that_its_issuer_did_not_sign_so(what):
    kept = Published([public(key, name, alg=name) for name, key in KEYS.items()])
    with pytest.raises((NotAuthenticated, FormatError)):
        kept.desk().read(FORGED[what]())


@pytest.mark.parametrize(
    "text",
    ["", "a", "a.b.c", "..", signed() + ".x", "\x00.\x00.\x00", "é.é.é", f"{b64({})}.{b64([])}.x", "a" * (LIMIT + 1)],
)
def test_what_is_no_token(text):
    with pytest.raises(FormatError):
        Published().desk().read(text)


def test_a_name_that_stands_twice_is_refused():
    twice = b64(json.dumps(claims())[:-1].encode() + b', "sub": "8"}')
    with pytest.raises(FormatError):
        Published().desk().read(signed(twice))
    for raw in (b'{"a": NaN}', b"[]", b"\xff", b"[" * 100_000):
        with pytest.raises(ValueError, match=r"."):
            strict_json(raw)


REFUSED = {
    "another audience": {"aud": "other"},
    "two audiences": {"aud": [AUDIENCE, "other"]},
    "no audience": {"aud": None},
    "the audience in other letters": {"aud": AUDIENCE.upper()},
    "given to another client": {"azp": "other"},
    "expired": {"exp": NOW - SKEW_S, "iat": NOW - 300},
    "no end": {"exp": None},
    "no beginning": {"iat": None},
    "an end that is text": {"exp": str(NOW + 300)},
    "an end that is true": {"exp": True},
    "an end beyond all numbers": {"exp": 1e300},
    "not yet valid": {"nbf": NOW + SKEW_S + 1},
    "made in the future": {"iat": NOW + SKEW_S + 1, "exp": NOW + SKEW_S + 300},
    "too old": {"iat": NOW - 600 - SKEW_S - 1},
    "good for too long": {"exp": NOW + LONGEST_S},
    "ends before it begins": {"iat": NOW + 30, "exp": NOW + 20},
    "no nonce": {"nonce": None},
    "another key's nonce": {"nonce": key_nonce(b"another key")},
    "somebody whom no rule names": {"sub": "8"},
    "a number for a text": {"sub": 7},
    "a list with the text": {"sub": ["7"]},
}


@pytest.mark.parametrize("what", sorted(REFUSED))
def test_a_token_that_is_not_for_us_now_and_this_key(what):
    with pytest.raises(NotAuthenticated):
        admitted(signed(claims(**REFUSED[what])))


@pytest.mark.parametrize(
    "more",
    [
        {"exp": NOW - SKEW_S + 1, "iat": NOW - 300},
        {"nbf": NOW + SKEW_S},
        {"iat": NOW + SKEW_S},
        {"aud": [AUDIENCE]},
        {"azp": AUDIENCE},
    ],
)
def test_clocks_may_differ_by_a_minute(more):
    assert admitted(signed(claims(**more))).name == "ana"


def test_a_token_of_another_type_does_not_log_anybody_in():
    assert admitted(signed(header={"typ": "JWT"})).name == "ana"
    with pytest.raises(NotAuthenticated, match="type"):
        admitted(signed(header={"typ": "at+jwt"}))


def test_all_claims_of_exactly_one_principal_have_to_be_there():
    rules = (
        Rule("train", {"repository": "clinic/train", "ref": "refs/heads/main"}),
        Rule("any", {"repository": "clinic/train", "protected": True}),
    )
    issuer = Issuer(URL, AUDIENCE, WORKLOAD, rules, None, 3600)
    said = claims(nonce=None, repository="clinic/train")
    found = admitted(signed(said | {"ref": "refs/heads/main"}, header={"typ": "at+jwt"}), issuer=issuer)
    assert (found.kind, found.name) == (WORKLOAD, "train")
    for more in ({}, {"ref": "refs/heads/x"}, {"protected": "true"}, {"protected": 1}, {"ref": "refs/heads/main", "protected": True}):
        with pytest.raises(NotAuthenticated, match="claims"):
            admitted(signed(said | more), issuer=issuer)


def test_the_digest_of_a_token_does_not_change_with_its_signature():
    """Whoever has an ECDSA signature (r, s) has another one, (r, -s), that is as good."""
    token = signed()
    text, _, last = token.rpartition(".")
    raw = base64.urlsafe_b64decode(last + "==")
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    other = raw[:32] + (order - int.from_bytes(raw[32:], "big")).to_bytes(32, "big")
    desk = Published().desk()
    first, second = desk.read(token), desk.read(f"{text}.{b64(other)}")
    assert raw != other
    assert first.digest == second.digest


@pytest.mark.parametrize(
    "key",
    [
        public(KEYS["ES256"], "ES256", use="enc"),
        public(KEYS["ES256"], "ES256", alg="ES384"),
        public(KEYS["ES256"], "ES256", key_ops=["sign"]),
        KEYS["ES256"].as_dict(private=True) | {"kid": "ES256"},
        {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA", "kid": "ES256"},
        {"kty": "oct", "k": "AAAA", "kid": "ES256"},
    ],
)
def test_keys_that_are_not_for_this(key):
    with pytest.raises(NotAuthenticated):
        Published([key]).desk().read(signed())


def test_a_short_key_and_two_keys_of_one_id_are_refused():
    with pytest.raises(NotAuthenticated, match="short"):
        Published([public(WEAK, "RS256")]).desk().read(signed(algorithm="RS256", key=WEAK))
    with pytest.raises(NotAuthenticated):
        Published([public(KEYS["ES256"], "ES256"), public(OTHERS, "ES256")]).desk().read(signed())


def test_keys_are_fetched_once_and_again_at_most_every_minute():
    kept = Published()
    desk = kept.desk()
    for _ in range(3):
        desk.read(signed())
    assert kept.asked == [URL + "/.well-known/openid-configuration", URL + "/jwks"]
    new = jwk.ECKey.generate_key("P-256")
    kept.keys = [*kept.keys, public(new, "new")]
    for kid in ("new", "made up", "made up too"):
        with pytest.raises(NotAuthenticated, match="publish"):
            desk.read(signed(key=new, header={"kid": kid}))
    assert len(kept.asked) == 2
    kept.now += UNKNOWN_MS
    desk.read(signed(key=new, header={"kid": "new"}))
    assert len(kept.asked) == 4


def test_a_key_that_was_taken_back_is_good_for_ten_minutes_and_no_longer_when_the_issuer_is_away():
    kept = Published()
    desk = kept.desk()
    desk.read(signed())
    kept.keys = []
    kept.now += FRESH_MS - 1
    desk.read(signed())
    kept.down, kept.now = True, FRESH_MS
    for _ in range(3):
        with pytest.raises(KeyServiceUnavailable):
            desk.read(signed())
    assert len(kept.asked) == 3, "one try for all of them"
    kept.down = False
    kept.now += FAILED_MS
    with pytest.raises(NotAuthenticated):
        desk.read(signed())


@pytest.mark.parametrize(
    "said", [{"issuer": URL + "/", "jwks_uri": URL}, {"issuer": URL, "jwks_uri": "http://issuer.example"}, {"issuer": URL}, {}]
)
def test_discovery_that_is_not_the_issuers(said):
    kept = Published()
    kept.said = said
    with pytest.raises(KeyServiceUnavailable):
        kept.desk().read(signed())


def test_what_is_told_of_a_token_is_what_rules_look_at_and_cut():
    token = signed(claims(sub="7", email="ana@example.org", jti="j" * 500))
    told = Published().desk().read(token).told()
    assert set(told) == {"iss", "sub", "aud", "jti"}
    assert len(told["jti"]) == 200


def test_every_refusal_is_an_error_of_the_house():
    for made in FORGED.values():
        token = made()
        for cut in range(0, len(token), 97):
            with pytest.raises(HermeticError):
                Published().desk().read(token[:cut])
