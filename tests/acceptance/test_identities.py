"""Capability TL2: certificates from custody's own authority, short-lived, renewed beside work, revoked, and their ends foretold."""

from __future__ import annotations

import pytest

from hermetic.crypto import x509
from hermetic.custody import identities
from hermetic.custody.call import Vouched
from hermetic.domain import identity_files
from hermetic.errors import NotAuthenticated
from hermetic.formats.messages import identity
from hermetic.formats.messages.domain import GatherFacts
from hermetic.formats.messages.keys import ListKeys

QUARTER_MS = 15 * 60_000
WHY = "joins the team"


def test_TL2_a_certificate_from_issue_to_revocation(world, tmp_path):
    port, folder, uri = world.port(), tmp_path / "identity", f"spiffe://{world.domain}/person/ben"
    port.ask(identity.CreateAuthority("the service begins"))
    port.ask(identity.EnrolIdentity("ben", "person", ("data-steward",), WHY))

    def who():
        der = identity_files.ClientIdentity.load(folder).certificate().der
        principal, credential = identities.vouch_certificate(port.custodian, der)
        return Vouched(principal, None, credential)

    def renew():
        ask = lambda request: port.ask_as(who(), request)  # noqa: E731 - as over the connection that is open
        return identity_files.renew(folder, ask, now_ms=world.clock.now)

    csr = x509.request_in(identity_files.request(folder, uri))
    made = port.ask(identity.IssueCertificate("ben", csr, QUARTER_MS // 1000, WHY))
    bundle = x509.to_pem((*made.chain, *made.authorities))
    identity_files.install(folder, bundle, world.domain, now_ms=world.clock.now)

    serials = set()
    for _ in range(4):  # an hour of work, without a restart, across a rotation of the authority's keys
        assert port.ask_as(who(), ListKeys()).keys == ()
        world.clock.now += QUARTER_MS // 2
        assert renew()
        serials.add(identity_files.ClientIdentity.load(folder).certificate().serial)
        port.ask(identity.RotateAuthority(root=len(serials) == 2, reason="drill"))
    assert len(serials) == 4

    world.clock.now += QUARTER_MS * 4 // 5  # nobody renews
    assert "certificate-ending" in {pair.name for pair in port.ask(GatherFacts()).critical}
    open_connection = who()
    port.ask(identity.RevokeCredential("ben", "the laptop was stolen"))
    with pytest.raises(NotAuthenticated, match="was revoked"):
        port.ask_as(open_connection, ListKeys())
    with pytest.raises(NotAuthenticated, match="was revoked"):
        who()
