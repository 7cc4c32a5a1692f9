"""Certificates: the profile, and everything that is refused in a chain."""

from __future__ import annotations

import datetime as dt
import hashlib
import pickle
import ssl

import pytest
from cryptography import x509 as lib
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from hermetic.crypto import x509, x509_chain
from hermetic.crypto.secret import Secret
from hermetic.errors import FormatError, NotAuthenticated, SignatureError, UsageError

NOW, HOUR = 1_800_000_000_000, 3_600_000
DOMAIN = "a" * 26
URI = f"spiffe://{DOMAIN}/person/ana"
SPAN = x509.Span.of(NOW, 3600)
LONG = x509.Span.of(NOW, 30 * 24 * 3600)


class Pki:
    """A root, an intermediate, and what they sign."""

    def __init__(self, domain=DOMAIN, root_span=LONG, under_span=LONG):
        key, under = x509.AuthorityKey.generate(), x509.AuthorityKey.generate()
        self.root = x509.root_certificate(key, "the root", domain, root_span)
        self.over = x509.Issuer(self.root, key)
        self.between = x509.intermediate_certificate(self.over, under.public, "below", domain, span=under_span)
        self.issuer = x509.Issuer(self.between, under)

    def leaf(self, uri=URI, span=SPAN):
        return x509.client_certificate(self.issuer, x509.parse_request(x509.new_request(uri)[1]).public, uri, "ana", span=span)

    def believe(self, leaf, at_ms=NOW, **more):
        return x509_chain.verify(leaf, [self.root, self.between], [self.root], at_ms=at_ms, **more)


@pytest.fixture(scope="module")
def pki():
    return Pki()


def made(
    pki, *, key=None, subject="ana", issuer=None, digest=None, signer=None, leave=(), add=(), uris=(URI,), dates=None, usage=None
):
    """A leaf as somebody careless or hostile would make it."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    start, end = dates or (NOW - HOUR, NOW + HOUR)
    above = x509.parse(pki.between).raw
    builder = lib.CertificateBuilder().subject_name(lib.Name([lib.NameAttribute(NameOID.COMMON_NAME, "ana")]))
    builder = builder.issuer_name(issuer or above.subject).public_key(key.public_key()).serial_number(7)
    builder = builder.not_valid_before(_at(start)).not_valid_after(_at(end))
    plain = {
        "constraints": (lib.BasicConstraints(ca=False, path_length=None), True),
        "usage": (usage or _usage(digital_signature=True), True),
        "use": (lib.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), False),
        "names": (lib.SubjectAlternativeName([lib.UniformResourceIdentifier(uri) for uri in uris]), False),
    }
    for name, (extension, critical) in plain.items():
        if name not in leave:
            builder = builder.add_extension(extension, critical=critical)
    for extension, critical in add:
        builder = builder.add_extension(extension, critical=critical)
    return builder.sign(signer or pki.issuer.key.key, digest or hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def _at(ms):
    return dt.datetime.fromtimestamp(ms / 1000, dt.UTC)


def _usage(**on):
    names = "digital_signature key_cert_sign crl_sign content_commitment key_encipherment data_encipherment key_agreement"
    names += " encipher_only decipher_only"
    return lib.KeyUsage(**{name: on.get(name, False) for name in names.split()})


def test_a_chain_that_is_good(pki):
    leaf = pki.leaf()
    found = pki.believe(leaf)
    assert (found.uri, [item.der for item in found.path]) == (URI, [pki.between, pki.root])
    assert found.certificate.fingerprint == hashlib.sha256(leaf).digest()
    assert found.certificate.subject == "ana"
    assert x509_chain.parts_of(URI) == (DOMAIN, "person/ana")
    assert found.certificate.start_ms == NOW - x509.SKEW_MS


def test_what_we_make_is_believed_with_what_others_would_send_too(pki):
    assert pki.believe(made(pki)).uri == URI
    assert pki.believe(made(pki, key=ed25519.Ed25519PrivateKey.generate())).uri == URI
    assert pki.believe(made(pki, key=rsa.generate_private_key(65537, 2048))).uri == URI


WRONG = {
    "expired": ({"dates": (NOW - HOUR, NOW)}, "has expired"),
    "not yet valid": ({"dates": (NOW + 1000, NOW + HOUR)}, "not valid yet"),
    "two URIs": ({"uris": (URI, f"spiffe://{DOMAIN}/person/ben")}, "2 URIs"),
    "no name": ({"leave": ("names",)}, "0 URIs"),
    "a wildcard": ({"uris": (f"spiffe://{DOMAIN}/person/*",)}, "names nobody"),
    "a name of another scheme": ({"uris": (f"https://{DOMAIN}/person/ana",)}, "names nobody"),
    "a name with a port": ({"uris": (f"spiffe://{DOMAIN}:1/person/ana",)}, "names nobody"),
    "a name with a query": ({"uris": (f"{URI}?x",)}, "names nobody"),
    "a name that climbs": ({"uris": (f"spiffe://{DOMAIN}/person/../workload/x",)}, "names nobody"),
    "a name of a role": ({"uris": (f"spiffe://{DOMAIN}/root/ana",)}, "names nobody"),
    "another domain": ({"uris": (f"spiffe://{'b' * 26}/person/ana",)}, "may not issue for this domain"),
    "an authority as a leaf": (
        {"add": ((lib.BasicConstraints(ca=True, path_length=None), True),), "leave": ("constraints",)},
        "authority's",
    ),
    "may sign certificates": ({"usage": _usage(digital_signature=True, key_cert_sign=True)}, "not for signatures"),
    "may not sign": ({"usage": _usage(key_agreement=True)}, "not for signatures"),
    "no key usage": ({"leave": ("usage",)}, "not for signatures"),
    "for servers": ({"leave": ("use",), "add": ((lib.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False),)}, "another use"),
    "for no use": ({"leave": ("use",)}, "another use"),
    "a weak digest": ({"digest": hashes.SHA224()}, "digest"),
    "an unknown critical extension": (
        {"add": ((lib.UnrecognizedExtension(ObjectIdentifier("1.2.3.4"), b"\x05\x00"), True),)},
        "critical extension",
    ),
    "the wrong key signed it": ({"signer": ec.generate_private_key(ec.SECP256R1())}, "not of an authority"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_leaf_that_is_refused(pki, name):
    parts, why = WRONG[name]
    with pytest.raises(NotAuthenticated, match=why):
        pki.believe(made(pki, **parts))


def test_a_short_rsa_key_is_refused(pki):
    weak = rsa.generate_private_key(65537, 1024)
    with pytest.raises(NotAuthenticated, match="kind or length"):
        pki.believe(made(pki, key=weak))
    request = lib.CertificateSigningRequestBuilder().subject_name(lib.Name([])).sign(weak, hashes.SHA256())
    with pytest.raises(UsageError, match="another kind"):
        x509.parse_request(request.public_bytes(serialization.Encoding.DER))


def test_self_signed_and_foreign_authorities_are_refused(pki):
    key = ec.generate_private_key(ec.SECP256R1())
    name = lib.Name([lib.NameAttribute(NameOID.COMMON_NAME, "ana")])
    with pytest.raises(NotAuthenticated, match="not of an authority"):
        pki.believe(made(pki, key=key, issuer=name, signer=key))
    with pytest.raises(NotAuthenticated, match="not of an authority"):
        pki.believe(Pki().leaf())


def test_an_intermediate_or_a_root_is_no_leaf(pki):
    for der in (pki.between, pki.root):
        with pytest.raises(NotAuthenticated, match="authority's"):
            pki.believe(der)


def test_a_leaf_is_no_authority(pki):
    """Somebody with a certificate signs one for somebody else."""
    key = x509.AuthorityKey.generate()
    public = x509.spki(key.key.public_key())
    mine = x509.client_certificate(pki.issuer, public, URI, "ana", span=SPAN)
    forged = x509.client_certificate(x509.Issuer(mine, key), public, f"spiffe://{DOMAIN}/person/ben", "ben", span=SPAN)
    with pytest.raises(NotAuthenticated, match="not of an authority"):
        pki.believe(forged)  # custody never takes an authority from a peer
    with pytest.raises(NotAuthenticated, match="signed by one that is no authority's"):
        x509_chain.verify(forged, [mine, pki.root, pki.between], [pki.root], at_ms=NOW)


def test_too_many_authorities_in_a_path(pki):
    key, last = x509.AuthorityKey.generate(), x509.AuthorityKey.generate()
    more = x509.intermediate_certificate(pki.issuer, key.public, "more", DOMAIN, span=LONG)
    leaf = x509.client_certificate(x509.Issuer(more, key), x509.spki(last.key.public_key()), URI, "ana", span=SPAN)
    with pytest.raises(NotAuthenticated, match="more authorities stand under this one"):
        x509_chain.verify(leaf, [more, pki.between, pki.root], [pki.root], at_ms=NOW)


def test_authorities_end_too():
    short = Pki(under_span=x509.Span(NOW - HOUR, NOW + 1000))
    leaf = short.leaf(span=SPAN)
    assert short.believe(leaf).uri == URI
    with pytest.raises(NotAuthenticated, match="the authority has expired"):
        short.believe(leaf, NOW + 2000)
    with pytest.raises(UsageError, match="end before it begins"):
        short.leaf(span=x509.Span.of(NOW, 3600, at_most_ms=NOW - HOUR))


def test_an_authority_for_another_domain_signs_nothing_for_ours():
    other = Pki(domain="b" * 26)
    with pytest.raises(NotAuthenticated, match="may not issue for this domain"):
        other.believe(other.leaf(URI))


@pytest.mark.parametrize("base", [DOMAIN, DOMAIN.upper()])
def test_what_an_authority_may_not_name_it_may_not_name_in_any_spelling(pki, base):
    """RFC 5280, 4.2.1.10: hosts are compared without regard to case."""
    key, name = ec.generate_private_key(ec.SECP256R1()), lib.Name([lib.NameAttribute(NameOID.COMMON_NAME, "theirs")])
    builder = lib.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(7)
    builder = builder.not_valid_before(_at(NOW - HOUR)).not_valid_after(_at(NOW + HOUR))
    builder = builder.add_extension(lib.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_usage(key_cert_sign=True), critical=True)
    root, leaf = builder.sign(key, hashes.SHA256()), made(pki, issuer=name, signer=key)
    der = root.public_bytes(serialization.Encoding.DER)
    assert x509_chain.verify(leaf, [der], [der], at_ms=NOW).uri == URI
    never = lib.NameConstraints(None, [lib.UniformResourceIdentifier(base)])
    der = builder.add_extension(never, critical=True).sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)
    with pytest.raises(NotAuthenticated, match="may not issue for this domain"):
        x509_chain.verify(leaf, [der], [der], at_ms=NOW)


def test_two_certificates_with_one_serial_number_are_two(pki):
    first, second = x509.parse(made(pki)), x509.parse(made(pki))
    assert first.serial == second.serial == "7"
    assert first.fingerprint != second.fingerprint


def test_a_server_certificate(pki):
    der, key = x509.server_certificate(pki.issuer, f"spiffe://{DOMAIN}/service/custody", ["custody.example", "127.0.0.1"], span=SPAN)
    assert pki.believe(der, use="server").uri == f"spiffe://{DOMAIN}/service/custody"
    with pytest.raises(NotAuthenticated, match="another use"):
        pki.believe(der)
    with pytest.raises(NotAuthenticated, match="another use"):
        pki.believe(pki.leaf(), use="server")
    assert x509.public_of(key) == x509.parse(der).public
    for names in ([], ["*.example"], ["a b"], [""]):
        with pytest.raises(UsageError):
            x509.server_certificate(pki.issuer, URI, names, span=SPAN)
    assert ssl.DER_cert_to_PEM_cert(der).encode() == x509.to_pem([der])


def test_requests(pki):
    key, csr = x509.new_request(URI)
    read = x509.parse_request(csr)
    assert (read.uris, read.public) == ((URI,), x509.public_of(key))
    assert x509.parse_request(x509.request_again(key, URI)) == read
    assert x509.request_in(x509.to_pem([csr], "CERTIFICATE REQUEST")) == csr
    at = len(csr) - 5
    with pytest.raises((SignatureError, FormatError)):
        x509.parse_request(csr[:at] + bytes([csr[at] ^ 1]) + csr[at + 1 :])
    named = csr.replace(b"person/ana", b"person/bob")
    with pytest.raises(SignatureError, match="not signed"):
        x509.parse_request(named)


@pytest.mark.parametrize("raw", [b"", b"\x30", b"x" * 100, b"\x30\x80" + bytes(50), bytes(x509.DER_LIMIT + 1)])
def test_bytes_that_are_none(pki, raw):
    for read in (x509.parse, x509.parse_request):
        with pytest.raises(FormatError):
            read(raw)
    with pytest.raises(FormatError):
        x509.certificates_in(raw)
    with pytest.raises(FormatError):
        x509.parse(pki.leaf() + raw + b"\x00")


def test_keys_stay_quiet():
    key = x509.AuthorityKey.generate()
    assert "withheld" in repr(key)
    with pytest.raises(UsageError):
        pickle.dumps(key)
    assert x509.AuthorityKey(key.seed()).public == key.public
    with pytest.raises(UsageError):
        x509.AuthorityKey(Secret(bytes(32)))
