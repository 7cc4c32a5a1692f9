"""Identities of the service: authorities, certificates and what ends them, on record."""

from __future__ import annotations

import threading

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from hermetic.access import credentials
from hermetic.crypto import x509
from hermetic.custody import identities
from hermetic.custody.call import Vouched
from hermetic.db import tables
from hermetic.errors import (
    Conflict,
    Denied,
    KeyUnusable,
    NotAuthenticated,
    NotFound,
    PolicyDenied,
    RowTampered,
    SignatureError,
    UsageError,
)
from hermetic.formats.messages import identity
from hermetic.formats.messages.domain import GatherFacts
from hermetic.formats.messages.keys import ListKeys
from hermetic.formats.messages.log import VerifyLog
from hermetic.formats.messages.policy import SetRoles
from hermetic.ids import KeyState
from hermetic.keys import root_exposure, roots, secret_keys
from tests import world as w

WHY = "because the test says so"
QUARTER = 15 * 60


@pytest.fixture
def port(world):
    made = world.port()
    made.ask(identity.CreateAuthority(WHY))
    made.ask(identity.EnrolIdentity("ana", "person", ("data-steward",), WHY))
    return made


def uri(world, name="ana", kind="person"):
    return f"spiffe://{world.domain}/{kind}/{name}"


def issued(world, port, name="ana", *, seconds=QUARTER):
    return port.ask(identity.IssueCertificate(name, x509.new_request(uri(world, name))[1], seconds, WHY))


def caller(port, made):
    principal, credential = identities.vouch_certificate(port._custodian, made.chain[0])
    return Vouched(principal, None, credential)


def renewed(world, port, who, name="ana"):
    return port.ask_as(who, identity.RenewCertificate(x509.new_request(uri(world, name))[1]))


def refused(port, made):
    with pytest.raises(NotAuthenticated) as error:
        identities.vouch_certificate(port._custodian, made.chain[0])
    return str(error.value)


def wrong(port):
    """What is wrong with the log, but that nobody has seen it before."""
    return {pair.name for pair in port.ask(VerifyLog()).findings} - {"log-key-first-use", "log-never-anchored"}


def of_kind(port, *kinds):
    return [(kind, facts, opened) for kind, facts, opened in w.leaves(port) if kind in kinds]


def test_a_certificate_says_who_asks(world, port):
    made = issued(world, port)
    who = caller(port, made)
    assert (who.principal, who.credential) == (uri(world), made.credential)
    assert port.ask_as(who, ListKeys()).keys == ()
    (issue,) = of_kind(port, "credential.issued")
    _, facts, opened = issue
    assert facts["principal"] == uri(world)
    assert facts["serial"] == x509.parse(made.chain[0]).serial
    assert (facts["not_after_ms"], opened["reason"]) == (made.not_after_ms, WHY)
    assert facts["policies"]
    assert made.not_after_ms == w.START + QUARTER * 1000
    assert wrong(port) == set()


def test_the_same_request_again_is_answered_with_the_same_certificate(world, port):
    """An answer that got lost is asked for again."""
    csr = x509.new_request(uri(world))[1]
    first = port.ask(identity.IssueCertificate("ana", csr, QUARTER, WHY))
    assert port.ask(identity.IssueCertificate("ana", csr, QUARTER, WHY)) == first
    with pytest.raises(Conflict, match=f"for {QUARTER} seconds, and now {2 * QUARTER}"):
        port.ask(identity.IssueCertificate("ana", csr, 2 * QUARTER, WHY))
    again = x509.new_request(uri(world))[1]
    second = port.ask_as(caller(port, first), identity.RenewCertificate(again))
    assert port.ask_as(caller(port, first), identity.RenewCertificate(again)) == second
    assert len(of_kind(port, "credential.issued", "credential.renewed")) == 2
    with pytest.raises(Conflict, match="a certificate for this key before"):  # it is no renewal of itself
        port.ask_as(caller(port, second), identity.RenewCertificate(again))


def test_a_renewal_is_for_the_caller_and_for_a_fresh_key(world, port):
    port.ask(identity.EnrolIdentity("ben", "person", ("data-steward",), WHY))
    first, other = issued(world, port), issued(world, port, "ben")
    world.clock.now += 1000
    second = renewed(world, port, caller(port, first))
    assert (second.principal, second.not_after_ms) == (uri(world), world.clock.now + QUARTER * 1000)
    assert caller(port, first).credential != caller(port, second).credential  # the old one is good until it ends
    with pytest.raises(Denied, match="for another name"):
        port.ask_as(caller(port, other), identity.RenewCertificate(x509.new_request(uri(world))[1]))
    with pytest.raises(Denied, match="not known by a certificate"):
        port.ask(identity.RenewCertificate(x509.new_request(uri(world))[1]))
    refusals = [facts["asks"] for _, facts, _ in of_kind(port, "access.denied")]
    assert refusals.count("renew-certificate") == 2


def test_a_chain_is_verified_once_and_its_rows_each_time(world, port, monkeypatch):
    made = issued(world, port)
    who = identities.vouch_certificate(port._custodian, made.chain[0])
    with monkeypatch.context() as patch:
        patch.setattr(identities.x509_chain, "verify", None)
        assert identities.vouch_certificate(port._custodian, made.chain[0]) == who
        port.ask(SetRoles("ana", (), WHY))
        assert "disabled" in refused(port, made)
    port.ask(SetRoles("ana", ("auditor",), WHY))
    monkeypatch.setattr(identities, "REMEMBERED", 1)
    other = issued(world, port)
    assert identities.vouch_certificate(port._custodian, other.chain[0])[0] == who[0]
    assert len(identities._SEEN) == 1


def test_two_renewals_at_once_both_work(world, port):
    first = issued(world, port)
    who, made, csr = caller(port, first), [], x509.new_request(uri(world))[1]
    requests = [csr, csr, x509.new_request(uri(world))[1]]
    threads = [
        threading.Thread(target=lambda csr=csr: made.append(port.ask_as(who, identity.RenewCertificate(csr)))) for csr in requests
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 3
    assert len({item.credential for item in made}) == 2
    assert all(caller(port, item).principal == uri(world) for item in made)


def test_requests_that_are_refused(world, port):
    port.ask(identity.EnrolIdentity("ben", "person", ("data-steward",), WHY))
    csr = x509.new_request(uri(world))[1]
    with pytest.raises(Denied, match="for another name"):
        port.ask(identity.IssueCertificate("ben", csr, QUARTER, WHY))
    with pytest.raises(SignatureError):
        port.ask(identity.IssueCertificate("ben", csr.replace(b"person/ana", b"person/ben"), QUARTER, WHY))
    with pytest.raises(UsageError, match="1 to"):
        port.ask(identity.IssueCertificate("ana", csr, 91 * 24 * 3600, WHY))
    with pytest.raises(UsageError):
        port.ask(identity.IssueCertificate("ana", csr, 0, WHY))
    with pytest.raises(UsageError, match="say why"):
        port.ask(identity.IssueCertificate("ana", csr, QUARTER, " "))
    with pytest.raises(UsageError, match="user of this machine"):
        port.ask(identity.IssueCertificate("root", csr, QUARTER, WHY))
    issued_ = port.ask(identity.IssueCertificate("ana", csr, QUARTER, WHY))
    world.clock.now = issued_.not_after_ms
    with pytest.raises(Conflict, match="before"):
        port.ask(identity.IssueCertificate("ana", csr, QUARTER, WHY))
    reasons = {facts["reasons"][0] for _, facts, _ in of_kind(port, "access.denied")}
    assert reasons == {"Denied", "SignatureError", "UsageError", "Conflict"}


def test_only_an_owner_makes_certificates_for_an_owner(world, port):
    port.ask(identity.EnrolIdentity("chief", "person", ("domain-owner",), WHY))
    port.ask(identity.EnrolIdentity("sec", "person", ("security-engineer",), WHY))
    sec = caller(port, issued(world, port, "sec"))
    with pytest.raises(Denied):
        port.ask_as(sec, identity.IssueCertificate("chief", x509.new_request(uri(world, "chief"))[1], QUARTER, WHY))
    assert issued(world, port, "chief").principal == uri(world, "chief")


def test_names_that_cannot_stand_in_a_certificate(world, port):
    for name in ("an a", "ana/ben", "*", "..", "ä", ""):
        with pytest.raises(UsageError):
            port.ask(identity.EnrolIdentity(name, "person", ("auditor",), WHY))
    with pytest.raises(UsageError):
        port.ask(identity.EnrolIdentity("x", "robot", ("auditor",), WHY))
    with pytest.raises(UsageError):
        port.ask(identity.EnrolIdentity("x", "person", (), WHY))
    with pytest.raises(Conflict):
        port.ask(identity.EnrolIdentity("ana", "workload", ("auditor",), WHY))


def test_revocation_acts_at_the_next_request(world, port):
    """On a connection that is open, too; and it takes what was renewed from the certificate along."""
    first = issued(world, port)
    who = caller(port, first)
    second = renewed(world, port, who)
    later = caller(port, second)
    other = issued(world, port)
    ended = port.ask(identity.RevokeCredential(x509.parse(first.chain[0]).fingerprint.hex(), WHY))
    assert set(ended.ended) == {first.credential, second.credential}
    for gone in (who, later):
        with pytest.raises(NotAuthenticated, match="was revoked"):
            port.ask_as(gone, ListKeys())
    assert "was revoked" in refused(port, second)
    assert caller(port, other).principal == uri(world)
    port.ask(identity.RevokeCredential("ana", WHY))
    assert "was revoked" in refused(port, other)
    with pytest.raises(Conflict, match="nothing of that"):
        port.ask(identity.RevokeCredential("ana", WHY))
    with pytest.raises(NotFound):
        port.ask(identity.RevokeCredential("nobody", WHY))
    assert [facts["credential"] for _, facts, _ in of_kind(port, "credential.ended")][-1] == other.credential
    shown = port.ask(identity.ShowIdentity("ana"))
    assert {row.state for row in shown.credentials} == {"revoked"}
    assert (shown.identity.active, shown.identity.not_after_ms) == (0, None)


def test_a_disabled_principal_is_nobody(world, port):
    made = issued(world, port)
    port.ask(SetRoles("ana", (), WHY))
    assert "disabled" in refused(port, made)
    with pytest.raises(Denied, match="disabled"):
        issued(world, port)


def test_time_goes_by_the_clock_of_custody(world, port):
    made = issued(world, port)
    who = caller(port, made)
    world.clock.now = made.not_after_ms
    assert "has expired" in refused(port, made)
    with pytest.raises(NotAuthenticated, match="has expired"):
        port.ask_as(who, ListKeys())
    world.clock.now = w.START  # set back: it was seen to be over
    assert "has expired" in refused(port, made)
    with pytest.raises(NotAuthenticated, match="has expired"):
        port.ask_as(who, ListKeys())
    assert [facts["count"] for _, facts, _ in of_kind(port, "credential.expired")] == [1]
    fresh = issued(world, port)
    world.clock.now = w.START - w.HOUR
    assert "not valid yet" in refused(port, fresh)


def test_what_is_over_is_marked_when_certificates_are_made(world, port):
    made = [issued(world, port) for _ in range(3)]
    world.clock.now += QUARTER * 1000
    issued(world, port)
    assert [facts["count"] for _, facts, _ in of_kind(port, "credential.expired")] == [3]
    assert {row.state for row in port.ask(identity.ShowIdentity("ana")).credentials if row.id == made[0].credential} == {"expired"}
    assert wrong(port) == set()


def aged(world, port, days):
    """Let time pass, on both clocks, and have something issued."""
    world.clock.now += days * 86_400_000
    port._custodian.steady = world.clock
    return issued(world, port)


def rows_of(port):
    return {row.id: row.state for row in port.ask(identity.ShowIdentity("ana")).credentials}


def test_what_ended_long_ago_is_removed_on_record_and_is_refused_still(world, port):
    first, revoked = issued(world, port), issued(world, port)
    port.ask(identity.RevokeCredential(revoked.credential, WHY))
    aged(world, port, 1)
    assert rows_of(port)[first.credential] == "expired"
    aged(world, port, 29)
    assert first.credential in rows_of(port), "30 days after it was seen to be over"
    aged(world, port, 1)
    assert first.credential not in rows_of(port)
    assert rows_of(port)[revoked.credential] == "revoked"
    assert [facts["count"] for _, facts, _ in of_kind(port, "credential.removed")] == [1]
    assert wrong(port) == set()
    world.clock.now = w.START  # set back: nobody knows it any more
    assert "not known" in refused(port, first) or "no record" in refused(port, first)


def test_a_clock_that_jumps_ahead_removes_nothing(world, port):
    first = issued(world, port)
    aged(world, port, 1)
    port._custodian.steady = lambda: w.START + 86_400_000
    world.clock.now += 90 * 86_400_000
    issued(world, port)
    assert rows_of(port)[first.credential] == "expired"


def test_a_family_is_revoked_by_its_first_one_when_that_is_long_gone(world, port):
    first = last = issued(world, port, seconds=30 * 86_400)
    port._custodian.steady = world.clock
    for _ in range(4):
        world.clock.now += 29 * 86_400_000
        last = renewed(world, port, caller(port, last))
    assert first.credential not in rows_of(port)
    assert last.credential in port.ask(identity.RevokeCredential(first.credential, "stolen")).ended
    assert "revoked" in refused(port, last)
    with pytest.raises(NotFound, match="no credential") as error:
        port.ask(identity.RevokeCredential(x509.parse(first.chain[0]).fingerprint.hex(), WHY))
    assert "log ls --kind credential" in error.value.hint


def test_used_tokens_are_kept_for_30_days(world, port):
    custodian = port._custodian
    end_ms = w.START + w.HOUR
    token = credentials.Credential("t" * 26, uri(world), "token", bytes(32), b"", None, end_ms, w.START, state=credentials.USED)
    with custodian.database.write(custodian.row_keys, step="test") as session:
        credentials.add(session, token)
    for days, there in ((30, True), (1, False)):
        aged(world, port, days)
        with custodian.database.read(custodian.row_keys) as session:
            assert (credentials.by_fingerprint(session, bytes(32)) is not None) == there


def test_certificates_that_custody_has_no_record_of(world, port):
    """Signed with the authority's own key: it was stolen, or the row was deleted."""
    made = issued(world, port)
    w.sql(world, "DELETE FROM credential")
    assert "no record" in refused(port, made)


def test_rows_that_were_changed_by_hand(world, port):
    made = issued(world, port)
    before = w.row_of(world, "credential", made.credential)
    port.ask(identity.RevokeCredential("ana", WHY))
    w.put_back(world, "credential", made.credential, before)
    assert wrong(port) == {"row-put-back"}
    w.sql(world, "UPDATE credential SET principal_id = ?", f"os:{world.domain}:0")
    with pytest.raises(RowTampered):
        identities.vouch_certificate(port._custodian, made.chain[0])


def test_a_credential_of_somebody_else_is_none(world, port):
    made = issued(world, port)
    with pytest.raises(NotAuthenticated, match="not known"):
        port.ask_as(Vouched(f"os:{world.domain}:0", None, made.credential), ListKeys())
    with pytest.raises(NotAuthenticated, match="not known"):
        port.ask_as(Vouched(uri(world), None, w.fresh()), ListKeys())


# Authorities


def rows(port):
    return [(row.kind, row.state) for row in port.ask(identity.ListAuthorities()).authorities]


def key_states(port, world):
    with world.custodian().database.read(port._custodian.row_keys) as session:
        return {(key.purpose, key.state.value) for use in secret_keys.AUTHORITIES for key in secret_keys.ls(session, use)}


def test_rotating_the_intermediate_breaks_nobody(world, port):
    first = issued(world, port)
    world.clock.now += 1000
    port.ask(identity.RotateAuthority(root=False, reason=WHY))
    assert rows(port) == [("root", "active"), ("intermediate", "retiring"), ("intermediate", "active")]
    assert caller(port, first).principal == uri(world)
    second = renewed(world, port, caller(port, first))
    assert second.chain[1] != first.chain[1]
    assert second.authorities == first.authorities
    assert ("authority-intermediate", "destroyed") in key_states(port, world)
    assert [facts["purpose"] for _, facts, _ in of_kind(port, "key.destroyed")] == ["authority-intermediate"]
    old = port.ask(identity.ListAuthorities()).authorities[1]
    port.ask(identity.RetireAuthority(old.id, WHY))
    assert "trusted no more" in refused(port, first)  # one whose chain was verified before
    identities._SEEN.clear()
    assert "not of an authority" in refused(port, first)
    with pytest.raises(NotAuthenticated, match="trusted no more"):  # a connection that was open
        port.ask_as(Vouched(uri(world), None, first.credential), ListKeys())
    assert caller(port, second).principal == uri(world)


def test_another_root_is_vouched_for_by_the_one_before(world, port):
    first = issued(world, port)
    port.ask(identity.RotateAuthority(root=True, reason=WHY))
    assert sorted(rows(port)) == sorted(
        [("root", "retiring"), ("intermediate", "retiring"), ("root", "active"), ("cross", "active"), ("intermediate", "active")]
    )
    second = renewed(world, port, caller(port, first))
    assert len(second.authorities) == 2
    assert second.authorities[1] == first.authorities[0]
    old = next(row for row in port.ask(identity.ListAuthorities()).authorities if (row.kind, row.state) == ("root", "retiring"))
    port.ask(identity.RetireAuthority(old.id[:8], WHY))
    assert sorted(state for kind, state in rows(port) if kind != "external") == ["active", "active", "retired", "retired", "retired"]
    assert "trusted no more" in refused(port, first)  # one whose chain was verified before
    identities._SEEN.clear()
    assert "not of an authority" in refused(port, first)
    assert caller(port, second).principal == uri(world)
    assert port.ask(identity.ExportTrust()).certificates == second.authorities[:1]


def test_a_domain_without_an_authority(world):
    port = world.port()
    port.ask(identity.EnrolIdentity("ana", "person", ("data-steward",), WHY))
    for request in (identity.ExportTrust(), identity.RotateAuthority(root=False, reason=WHY)):
        with pytest.raises(NotFound, match="no authority"):
            port.ask(request)
    with pytest.raises(NotFound, match="no authority"):
        issued(world, port)
    with pytest.raises(NotFound, match="no authority"):
        identities.server_certificate(port._custodian, ["localhost"])
    assert identities.trusted_authorities(port._custodian) == ()
    port.ask(identity.CreateAuthority(WHY))
    with pytest.raises(Conflict, match="has an authority"):
        port.ask(identity.CreateAuthority(WHY))
    retired = port.ask(identity.ListAuthorities()).authorities[0]
    port.ask(identity.RetireAuthority(retired.id, WHY))
    assert rows(port) == [("root", "retired"), ("intermediate", "retired")]
    assert {state for _, state in key_states(port, world)} == {"destroyed"}
    port.ask(identity.CreateAuthority("after the incident"))
    assert issued(world, port).chain


def test_the_keys_of_authorities_sign_nothing_else(world, port):
    with world.custodian().database.read(port._custodian.row_keys) as session:
        key = secret_keys.active(session, secret_keys.AUTHORITY_ROOT)
        with pytest.raises(KeyUnusable, match="not for this"):
            secret_keys.load(session, port._custodian.anchors, key.key_id)


def test_the_service_shows_a_certificate_of_its_own(world, port):
    chain, key = identities.server_certificate(port._custodian, ["custody.example"])
    leaf, above = x509.certificates_in(chain)
    assert (x509.public_of(key), x509.parse(leaf).uris) == (x509.parse(leaf).public, (f"spiffe://{world.domain}/service/custody",))
    assert x509.parse(leaf).end_ms == w.START + 24 * w.HOUR
    assert above in {row.certificate for row in port.ask(identity.ListAuthorities()).authorities}
    with pytest.raises(NotAuthenticated):  # it is for servers
        identities.vouch_certificate(port._custodian, leaf)
    (made,) = of_kind(port, "service.certificate")
    assert (made[1]["serial"], "custody.example" in made[2]["names"]) == (x509.parse(leaf).serial, True)


# Somebody else's authority


class Theirs:
    """An authority outside of the domain, which says what it likes."""

    def __init__(self, domain, *, span=None):
        self.key, under = x509.AuthorityKey.generate(), x509.AuthorityKey.generate()
        span = span or x509.Span.of(w.START, 365 * 24 * 3600)
        self.root = x509.root_certificate(self.key, "their root", domain, span)
        over = x509.Issuer(self.root, self.key)
        self.between = x509.intermediate_certificate(over, under.public, "theirs", domain, span=span)
        self.issuer = x509.Issuer(self.between, under)

    def leaf(self, name, seconds=QUARTER):
        key = ec.generate_private_key(ec.SECP256R1()).public_key()
        public = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        return x509.client_certificate(self.issuer, public, name, "x", span=x509.Span.of(w.START, seconds))


def test_an_authority_of_others(world, port):
    theirs = Theirs(world.domain)
    leaf = theirs.leaf(uri(world))
    w.change_policy(world, port, lambda text: text.replace("change-roots: {approvals: 2", "change-roots: {approvals: 0"))
    with pytest.raises(NotAuthenticated, match="not of an authority"):
        identities.vouch_certificate(port._custodian, leaf)
    port.ask(identity.TrustAuthority((theirs.between, theirs.root), WHY))
    assert [row.kind for row in port.ask(identity.ListAuthorities()).authorities].count("external") == 2
    assert theirs.root in identities.trusted_authorities(port._custodian)
    assert theirs.root not in port.ask(identity.ExportTrust()).certificates  # the service itself shows its own
    principal, credential = identities.vouch_certificate(port._custodian, leaf)
    assert identities.vouch_certificate(port._custodian, leaf) == (principal, credential)
    assert [facts["credential"] for _, facts, _ in of_kind(port, "credential.met")] == [credential]
    who = Vouched(principal, None, credential)
    with pytest.raises(Denied, match="did not issue"):
        port.ask_as(who, identity.RenewCertificate(x509.new_request(uri(world))[1]))
    port.ask(identity.RevokeCredential(credential, WHY))
    with pytest.raises(NotAuthenticated, match="was revoked"):
        identities.vouch_certificate(port._custodian, leaf)
    for name, why in (
        (uri(world, "nobody"), "not known"),
        (f"spiffe://{world.domain}/service/custody", "nobody of this domain"),
        (f"spiffe://{'b' * 26}/person/ana", "may not issue"),
    ):
        with pytest.raises(NotAuthenticated, match=why):
            identities.vouch_certificate(port._custodian, theirs.leaf(name))
    with pytest.raises(NotAuthenticated, match="longer than the policy"):
        identities.vouch_certificate(port._custodian, theirs.leaf(uri(world), 91 * 24 * 3600))
    with pytest.raises(Conflict, match="trusted already"):
        port.ask(identity.TrustAuthority((theirs.root,), WHY))
    external = next(row for row in port.ask(identity.ListAuthorities()).authorities if row.kind == "external" and not row.parent)
    port.ask(identity.RetireAuthority(external.id, WHY))
    assert theirs.root not in identities.trusted_authorities(port._custodian)
    with pytest.raises(NotAuthenticated, match="not of an authority"):
        identities.vouch_certificate(port._custodian, theirs.leaf(uri(world)))


def test_what_is_no_authority_is_not_trusted(world, port):
    made = issued(world, port)
    over = Theirs(world.domain, span=x509.Span(w.START - 2 * w.HOUR, w.START - w.HOUR))
    for certificates in ((made.chain[0],), (over.root,), ()):
        with pytest.raises(UsageError):
            port.ask(identity.TrustAuthority(certificates, WHY))


def test_who_may_not_enrol_issues_nothing(world, port):
    who = caller(port, issued(world, port))
    for request in (
        identity.IssueCertificate("ana", x509.new_request(uri(world))[1], QUARTER, WHY),
        identity.EnrolIdentity("eve", "person", ("auditor",), WHY),
        identity.RevokeCredential("ana", WHY),
        identity.CreateAuthority(WHY),
        identity.RotateAuthority(root=False, reason=WHY),
    ):
        with pytest.raises(PolicyDenied):
            port.ask_as(who, request)


def test_revoking_everything_of_a_principal(world, port):
    made = issued(world, port)
    with world.custodian().database.read(port._custodian.row_keys) as session:
        assert [item.id for item in credentials.of_principal(session, uri(world))] == [made.credential]
        assert credentials.get(session, made.credential).state == credentials.ACTIVE
        assert session.require(tables.credential, made.credential)["authority_id"]
        with pytest.raises(NotFound):
            credentials.get(session, w.fresh())


def test_what_ends_soon_is_a_finding(world, port):
    def ending():
        return {(pair.name, pair.value) for pair in port.ask(GatherFacts()).critical if "ending" in pair.name}

    issued(world, port)
    assert ending() == set()
    world.clock.now += 12 * 60_000
    assert ending() == {("certificate-ending", "ana|3")}
    issued(world, port)
    assert ending() == set()
    world.clock.now += 352 * w.DAY
    ((name, value),) = ending()
    assert (name, value.startswith("intermediate "), value.endswith("|12")) == ("authority-ending", True, True)
    port.ask(identity.RotateAuthority(root=False, reason=WHY))
    assert ending() == set()


def test_the_keys_of_authorities_are_exposed_with_their_root(world, port):
    """Whoever had the root can pass for the service until clients believe another one."""
    with port.custodian.database.read(port.custodian.row_keys) as session:
        (root,) = roots.ls(session)
    with port.custodian.database.write(port.custodian.row_keys, step="test.marked") as session:
        marked = root_exposure.mark(session, root.root_id, now_ms=w.START)
        left = root_exposure.remaining(session, marked)
        assert (len(left.signing), len(left.authorities), bool(left)) == (2, 2, True)
        for key_id in left.authorities:
            secret_keys.set_state(session, key_id, KeyState.DEACTIVATED)
        assert root_exposure.remaining(session, marked).authorities == ()
