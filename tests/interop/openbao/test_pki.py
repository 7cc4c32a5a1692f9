"""An authority that OpenBao keeps: short-lived certificates of a PKI role are how callers of the service are known."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from hermetic.crypto import x509
from hermetic.custody import identities
from hermetic.custody.call import Vouched
from hermetic.domain import identity_files
from hermetic.domain.opening import wall_ms
from hermetic.errors import Denied, NotAuthenticated
from hermetic.formats.messages import identity
from hermetic.formats.messages.keys import ListKeys
from tests import world as w

WHY = "because the test says so"


@pytest.fixture(scope="module")
def trusted(bao, tmp_path_factory):
    """A domain that trusts a PKI of the server, and what the PKI issues."""
    world = w.World.make(tmp_path_factory.mktemp("pki") / "world")
    port = world.port(clock=wall_ms)
    w.change_policy(world, port, lambda text: text.replace("change-roots: {approvals: 2", "change-roots: {approvals: 0"))
    bao.do("POST", "sys/mounts/pki", {"type": "pki", "config": {"max_lease_ttl": "87600h"}})
    root = bao.do(
        "POST", "pki/root/generate/internal", {"common_name": "PKI of the test", "key_type": "ec", "key_bits": 256, "ttl": "8760h"}
    )
    role = {"key_type": "ec", "key_bits": 256, "ttl": "15m", "no_store": True, "require_cn": False, "use_csr_common_name": False}
    role |= {"allowed_uri_sans": f"spiffe://{world.domain}/workload/trainer", "client_flag": True, "server_flag": False}
    bao.do("POST", "pki/roles/trainer", role)
    bao.do("POST", "pki/roles/anything", role | {"allowed_uri_sans": "*", "server_flag": True, "ttl": "2400h"})
    bao.do("POST", "pki/roles/servers", role | {"client_flag": False, "server_flag": True})
    (pem,) = x509.certificates_in(root["data"]["certificate"].encode())
    port.ask(identity.EnrolIdentity("trainer", "workload", ("ml-engineer",), WHY))
    port.ask(identity.CreateAuthority(WHY))
    port.ask(identity.TrustAuthority((pem,), WHY))
    yield world, port, bao
    world.close()


def issue(trusted, role="trainer", uri=None, **more):
    world, _, bao = trusted
    asked = {"uri_sans": uri or f"spiffe://{world.domain}/workload/trainer", **more}
    return bao.do("POST", f"pki/issue/{role}", asked)["data"]


def der(issued):
    return x509.certificates_in(issued["certificate"].encode())[0]


def test_a_certificate_of_openbao_authenticates(trusted):
    world, port, _ = trusted
    leaf = der(issue(trusted))
    principal, credential = identities.vouch_certificate(port._custodian, leaf)
    assert principal == f"spiffe://{world.domain}/workload/trainer"
    assert identities.vouch_certificate(port._custodian, leaf) == (principal, credential)
    who = Vouched(principal, None, credential)
    assert port.ask_as(who, ListKeys()).keys == ()
    with pytest.raises(Denied, match="did not issue"):
        port.ask_as(who, identity.RenewCertificate(x509.new_request(principal)[1]))
    shown = port.ask(identity.ShowIdentity("trainer"))
    assert 0 < shown.identity.not_after_ms - time.time() * 1000 <= 15 * 60_000
    port.ask(identity.RevokeCredential(shown.credentials[0].fingerprint.hex(), WHY))
    with pytest.raises(NotAuthenticated, match="was revoked"):
        port.ask_as(who, ListKeys())
    fresh = identities.vouch_certificate(port._custodian, der(issue(trusted)))
    assert fresh[1] != credential


def test_a_request_signed_by_openbao(trusted, tmp_path):
    """The private key stays with the client: OpenBao signs its request."""
    world, port, bao = trusted
    uri = f"spiffe://{world.domain}/workload/trainer"
    csr = identity_files.request(tmp_path / "identity", uri)
    signed = bao.do("POST", "pki/sign/trainer", {"csr": csr.decode(), "uri_sans": uri})["data"]
    trust = x509.to_pem(port.ask(identity.ExportTrust()).certificates)
    made = identity_files.install(
        tmp_path / "identity", signed["certificate"].encode(), world.domain, now_ms=wall_ms(), authorities=trust
    )
    assert made.certificate().uris == (uri,)
    assert made.pinned() == x509.certificates_in(trust)
    assert Path(made.key).stat().st_mode & 0o077 == 0
    assert identities.vouch_certificate(port._custodian, made.certificate().der)[0] == uri


def test_what_openbao_could_issue_and_custody_refuses(trusted):
    world, port, _ = trusted
    for role, uri, more, why in (
        ("servers", None, {}, "another use"),
        ("anything", f"spiffe://{'b' * 26}/workload/trainer", {"ttl": "15m"}, "nobody of this domain"),
        ("anything", f"spiffe://{world.domain}/workload/nobody", {"ttl": "15m"}, "not known"),
        ("anything", f"spiffe://{world.domain}/workload/trainer,spiffe://{world.domain}/person/root", {"ttl": "15m"}, "2 URIs"),
        ("anything", None, {}, "longer than the policy"),
    ):
        with pytest.raises(NotAuthenticated, match=why):
            identities.vouch_certificate(port._custodian, der(issue(trusted, role, uri, **more)))
