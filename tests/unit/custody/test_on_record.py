"""Issue 4, done when 7: every key operation and every refusal is on the log, with who, what, why and the ids of policies."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import pwd

import pytest

from hermetic.crypto import x509
from hermetic.crypto.hpke import PrivateKey
from hermetic.custody.denial import ABOUT_KEYS
from hermetic.custody.dispatch import HANDLERS
from hermetic.domain import root_moves
from hermetic.errors import ApprovalNeeded, Conflict, HermeticError
from hermetic.formats import codec
from hermetic.formats.messages import access, approvals, destruction, domain, identity, keys, packages, policy, roots, signing
from hermetic.formats.messages import second_factors as factors
from hermetic.formats.messages.catalogue import ShowVersion
from hermetic.formats.messages.promotion import PromoteVersion, RollBack
from hermetic.ids import Environment, Purpose
from hermetic.policy.bundle import PolicyBundle
from tests import world as w
from tests.unit.custody.approving import Person, the_request

REF, WHY, NONE = "dataset/patients@1", "because the test says so", "a" * 26
LOCAL = "local:insecure-file"

HANDS_OUT_KEYS = {"open-versions", "begin-version", "open-scratch"}
"""These have a recipient: any failure of theirs was on record before."""
OTHERS = {
    *(
        "hello",
        "gather-facts",
        "gather-measures",
        "record-check",
        "take-backup",
        "publish-version",
        "abandon-version",
        "check-leases",
        "end-leases",
    ),
    *("recognise-digests", "list-assets", "show-version", "rename-asset", "record-decision", "find-objects", "place-objects"),
    *("trace-lineage", "end-exposure", "list-exposures", "collect-garbage", "start-run", "finish-run", "show-run", "list-runs"),
    *("list-identities", "show-identity", "list-authorities", "export-trust"),
    *("list-keys", "show-key", "list-signing-keys", "list-suites", "list-roots", "show-policy", "explain", "list-grants"),
    *("list-principals", "list-approvers", "list-requests", "show-request", "plan-destruction", "plan-shred", "show-certificate"),
    *("list-factors", "read-log", "verify-log", "prove-entry", "export-log", "reconcile-log", "record-uses", "list-uses"),
}
"""These change no keys, and nobody who decides about them: what is refused of them by policy, or meets changed bytes, is on record."""

OWN = {"begin-totp", "finish-totp", "begin-webauthn", "finish-webauthn", "confirm-totp", "confirm-webauthn", "remove-factor"}
"""About one's own second factors: what is wrong with them is no matter of policies."""


def test_every_request_is_of_one_kind_or_the_other():
    """A request that is added to custody has to be placed here, so that nobody forgets to ask whether its refusals count."""
    assert set(HANDLERS) - ABOUT_KEYS - HANDS_OUT_KEYS - OTHERS == set()
    assert set(HANDLERS) >= ABOUT_KEYS | HANDS_OUT_KEYS


def _bundle(port, change=lambda text: text):
    files = dict(PolicyBundle.from_bytes(port.ask(policy.ShowPolicy()).bundle).files)
    files["hermetic.yaml"] = change(files["hermetic.yaml"].decode()).encode()
    return PolicyBundle(files=files).to_bytes()


DEV, STAGING, _ = Environment


def _authority(domain):
    return x509.root_certificate(x509.AuthorityKey.generate(), "somebody's", domain, x509.Span.of(w.START, 3600))


def _recipient():
    return packages.RecipientKey("ana", PrivateKey.generate().public)


# Refused: for state, form, what is not there


def _wrong(port):
    """A request of each kind that fails for another reason than what the policy says."""
    kek = port.ask(keys.ListKeys()).keys[0].kek
    root = port.ask(roots.ListRoots()).roots[0].root
    version = port.ask(ShowVersion(REF)).version
    signer = port.ask(signing.ListSigningKeys()).keys[0]
    found = {
        "share-version": packages.ShareVersion(REF, NONE, (_recipient(),), 30, WHY),
        "promote-version": PromoteVersion(REF, NONE, DEV, STAGING, WHY),
        "roll-back": RollBack(REF, NONE, DEV, version, WHY),
        "rotate-key": keys.RotateKey(NONE, WHY),
        "rewrap-key": keys.RewrapKey(kek, 0),
        "change-key-state": keys.ChangeKeyState(kek, "resume-it", WHY),
        "change-key-schedule": keys.ChangeKeySchedule(kek, owner="x" * 5000, reason=WHY),
        "add-root": roots.AddRoot("no uri", WHY),
        "extend-root": roots.ExtendRoot(root, 0),
        "set-root-state": roots.SetRootState(root, "deactivate", WHY),
        "drop-root": roots.DropRoot(root, WHY),
        "rewrap-root": roots.RewrapRoot(NONE),
        "check-roots": roots.CheckRoots(NONE),
        "announce-destruction": destruction.AnnounceDestruction(kek, 1, 7, WHY),
        "cancel-destruction": destruction.CancelDestruction(kek, 1, WHY),
        "shred-versions": destruction.ShredVersions((REF,), (NONE,), WHY),
        "record-copies-destroyed": destruction.RecordCopiesDestroyed(w.START + w.YEAR, WHY),
        "record-package-destroyed": destruction.RecordPackageDestroyed(NONE, WHY),
        "record-recovery": domain.RecordRecovery(NONE),
        "apply-policy": policy.ApplyPolicy(b"no policy"),
        "begin-totp": factors.BeginTotp("phone", b"no key"),
        "finish-totp": factors.FinishTotp(NONE, "000000"),
        "begin-webauthn": factors.BeginWebauthn(adding=False, port=1),
        "finish-webauthn": factors.FinishWebauthn("key", b"x", b"x"),
        "confirm-totp": factors.ConfirmTotp("000000"),
        "confirm-webauthn": factors.ConfirmWebauthn(b"x", b"x", b"x", b"x", b"x"),
        "remove-factor": factors.RemoveFactor(NONE, WHY),
        "invite-factor": factors.InviteFactor("nobody here", PrivateKey.generate().public, WHY),
        "enrol-identity": identity.EnrolIdentity("no name", "person", ("auditor",), WHY),
        "issue-certificate": identity.IssueCertificate("nobody here", b"no request", 900, WHY),
        "renew-certificate": identity.RenewCertificate(b"no request"),
        "revoke-credential": identity.RevokeCredential("nobody here", WHY),
        "create-authority": identity.CreateAuthority(""),
        "rotate-authority": identity.RotateAuthority(root=False, reason=WHY),
        "retire-authority": identity.RetireAuthority(NONE, WHY),
        "trust-authority": identity.TrustAuthority((b"no certificate",), WHY),
        "enrol-approver": approvals.EnrolApprover("bob", b"no key", WHY),
        "remove-approver": approvals.RemoveApprover("nobody here", WHY),
        "add-statement": approvals.AddStatement(b"no statement"),
        "withdraw-request": approvals.WithdrawRequest(NONE, WHY),
        "give-grant": policy.GiveGrant("nobody here", "open", "**", (Purpose.TRAIN,), w.START + w.DAY, WHY, None),
        "revoke-grant": policy.RevokeGrant(NONE, WHY),
        "set-roles": policy.SetRoles("nobody", ("no-such-role",), WHY),
        "disable-principal": access.DisablePrincipal("nobody here", WHY),
        "break-glass": access.BreakGlass("dataset/not-there@1", Purpose.RECOVER, 3600, WHY),
        "review-grant": access.ReviewGrant(NONE, WHY),
    }
    assert version
    return found, signer


def _signing(signer):
    """Requests about signing keys, whose fields another room decides: each with something that is not there."""
    for cls in (signing.RotateSigningKey, signing.ChangeSigningCare):
        given = {field.name: WHY if field.name == "reason" else _nothing(field) for field in dataclasses.fields(cls)}
        yield codec.name_of(cls), cls(**given)


def _nothing(field):
    return "nothing" if "str" in str(field.type) else 0


def test_a_refusal_of_any_kind_is_on_the_log(world):
    port = world.port()
    w.seal(port)
    wrong, signer = _wrong(port)
    wrong |= dict(_signing(signer))
    assert set(wrong) == ABOUT_KEYS - {"destroy-due"}  # that one refuses nothing: what cannot be done yet is in its answer
    for name, request in wrong.items():
        before = len(w.leaves(port))
        with pytest.raises(HermeticError) as refused:
            port.ask(request)
        new = [(kind, facts, opened) for kind, facts, opened in w.leaves(port)[before:] if kind == "access.denied"]
        assert len(new) == 1, name
        _, facts, opened = new[0]
        assert (facts["asks"], facts["reasons"], facts["enforcement"]) == (name, [type(refused.value).__name__], "cooperative"), name
        assert (base64.urlsafe_b64decode(facts["policy"] + "="), bool(opened["principal"])) == (_digest(port), True), name
        assert opened["message"], name
        if getattr(request, "reason", ""):
            assert WHY in opened["reason"], name
        asked = [
            value for value in (getattr(request, at, None) for at in ("kek", "root", "ref", "grant", "principal", "name")) if value
        ]
        assert all(value in opened["asked"] for value in asked), name
    denied = [facts for kind, facts, _ in w.leaves(port) if kind == "access.denied"]
    late = [facts for facts in denied if facts["asks"] in {"announce-destruction", "drop-root", "shred-versions", "share-version"}]
    assert len(late) == 4
    permitted = {facts["asks"]: facts["policies"] for facts in denied}
    assert "owner-administers" in permitted["announce-destruction"]  # refused for its state, after policies had permitted it


def _digest(port):
    return port.ask(policy.ShowPolicy()).digest


def test_a_refusal_by_policy_names_policies_and_what_was_asked(world):
    port = world.port()
    w.seal(port)
    wrong, signer = _wrong(port)
    wrong |= dict(_signing(signer))
    kek, root, version = wrong["rewrap-key"].kek, wrong["drop-root"].root, port.ask(ShowVersion(REF)).version
    good = wrong | {
        "share-version": packages.ShareVersion(REF, version, (_recipient(),), 30, WHY),
        "promote-version": PromoteVersion(REF, version, DEV, STAGING, WHY),
        "roll-back": RollBack(REF, version, DEV, port.ask(ShowVersion("dataset/patients")).version, WHY),
        "rotate-key": keys.RotateKey(kek, WHY),
        "rewrap-key": keys.RewrapKey(kek),
        "change-key-state": keys.ChangeKeyState(kek, "suspend", WHY),
        "change-key-schedule": keys.ChangeKeySchedule(kek, owner="ana", reason=WHY),
        "add-root": roots.AddRoot(LOCAL, WHY),
        "extend-root": roots.ExtendRoot(root),
        "rewrap-root": roots.RewrapRoot(root),
        "check-roots": roots.CheckRoots(root),
        "shred-versions": destruction.ShredVersions((REF,), (version,), WHY),
        "record-copies-destroyed": destruction.RecordCopiesDestroyed(w.START - w.YEAR, WHY),
        "record-recovery": domain.RecordRecovery(root),
        "apply-policy": policy.ApplyPolicy(_bundle(port)),
        "enrol-identity": identity.EnrolIdentity("bob", "person", ("auditor",), WHY),
        "create-authority": identity.CreateAuthority(WHY),
        "trust-authority": identity.TrustAuthority((_authority(world.domain),), WHY),
        "enrol-approver": approvals.EnrolApprover("bob", Person("bob").public, WHY),
        "set-roles": policy.SetRoles("nobody", ("auditor",), WHY),
        "disable-principal": access.DisablePrincipal("nobody", WHY),
        "break-glass": access.BreakGlass(REF, Purpose.RECOVER, 3600, WHY),
    }
    w.enrol(port, "nobody", ("auditor",))
    auditor = world.port(uid=pwd.getpwnam("nobody").pw_uid)
    refused = {}
    for name, request in good.items():
        before = len(w.leaves(port))
        with pytest.raises(HermeticError):
            auditor.ask(request)
        refused[name] = [(facts, opened) for kind, facts, opened in w.leaves(port)[before:] if kind == "access.denied"]
        assert [facts["asks"] for facts, _ in refused[name]] == [name], name
    by_policy = {name for name, [(facts, _)] in refused.items() if facts["action"] is not None}
    others = {"renew-certificate", "add-statement", "withdraw-request", "review-grant"}  # about what is not there
    others |= {"rotate-signing-key", "change-signing-care", "record-package-destroyed"}
    assert by_policy >= set(good) - OWN - others
    for name in by_policy:
        ((facts, opened),) = refused[name]
        assert facts["reasons"], name
        assert opened["principal"] == "nobody", name


# Refused: what approvers say


def test_answers_that_are_refused_are_on_the_log(world):
    """Wrong approver, another request, expired, replayed: each by its kind, and who handed it in."""
    port = world.port()
    bob, mallory = Person("bob"), Person("mallory")
    bob.enrol(port)
    w.change_policy(
        world, port, lambda text: text.replace("administer-keys: {mfa: 15m, from: separated}", "administer-keys: {approvals: 1}")
    )
    w.seal(port)
    rotate = keys.RotateKey(port.ask(keys.ListKeys()).keys[0].kek, WHY)
    with pytest.raises(ApprovalNeeded):
        port.ask(rotate)
    row = the_request(port)
    yes = bob.statement(row, w.START)

    def refused(raw):
        before = len(w.leaves(port))
        with pytest.raises(HermeticError):
            port.ask(approvals.AddStatement(raw))
        ((_, facts, opened),) = [leaf for leaf in w.leaves(port)[before:] if leaf[0] == "access.denied"]
        assert (facts["asks"], bool(opened["principal"])) == ("add-statement", True)
        return facts["reasons"][0]

    assert refused(mallory.statement(row, w.START)) == "SignatureError"
    assert refused(bob.statement(row, w.START, request_hash=b"\1" * 32)) == "Denied"
    assert refused(bob.statement(row, w.START, requester="os:somebody:1")) == "Denied"
    assert refused(bob.statement(row, w.START - w.DAY, expires_ms=w.START - 1)) == "Denied"
    port.ask(approvals.AddStatement(yes))
    assert refused(yes) == "Conflict"  # said already
    port.ask(rotate)
    world.clock.now += w.HOUR
    assert refused(bob.statement(row, world.clock.now)) == "Conflict"  # used
    with pytest.raises(ApprovalNeeded):
        port.ask(rotate)
    denied = [facts for kind, facts, _ in w.leaves(port) if kind == "access.denied" and facts["asks"] == "rotate-key"]
    assert denied
    assert all("approvals" in facts["reasons"] for facts in denied)


# Done


def test_what_is_done_with_keys_says_who_what_why_and_by_which_policies(world):
    connection = world.connect()
    w.seal(connection)
    ask = connection.ask
    kek = ask(keys.ListKeys()).keys[0].kek
    old = ask(roots.ListRoots()).roots[0].root
    ask(keys.RotateKey(kek, WHY))
    ask(keys.RewrapKey(kek))
    ask(keys.ChangeKeyState(kek, "suspend", WHY))
    ask(keys.ChangeKeyState(kek, "resume", WHY))
    ask(keys.ChangeKeySchedule(kek, owner="ana", reason=WHY))
    ask(destruction.AnnounceDestruction(kek, 1, 7, WHY))
    ask(destruction.CancelDestruction(kek, 1, WHY))
    root_moves.add_root(connection, LOCAL, reason=WHY)
    ask(roots.SetRootState(old, "deactivate", WHY))
    ask(roots.DropRoot(old, WHY))
    ask(policy.SetRoles("nobody", ("auditor",), WHY))
    ask(approvals.EnrolApprover("bob", Person("bob").public, WHY))
    ask(policy.ApplyPolicy(_bundle(connection)))
    version = ask(ShowVersion(REF)).version
    ask(destruction.ShredVersions((REF,), (version,), WHY))
    entries = [
        leaf for leaf in w.leaves(connection) if leaf[0].partition(".")[0] in {"key", "root", "approver", "policy", "principal"}
    ]
    entries += [leaf for leaf in w.leaves(connection) if leaf[0] == "version.deleted"]
    with_policies = [leaf for leaf in entries if leaf[1].get("policies")]
    ours = {kind for kind, _, _ in with_policies}
    assert ours >= {
        *("key.rotated", "key.rewrapped", "key.state", "key.changed", "key.destruction-announced", "key.destruction-cancelled"),
        *("root.added", "root.extended", "root.state", "root.removed", "root.wiped"),
        *("principal.enrolled", "approver.enrolled", "policy.applied", "version.deleted"),
    }
    for kind, facts, opened in with_policies:
        assert opened["principal"], kind
        assert all(isinstance(name, str) and "-" in name for name in facts["policies"]), kind
    for kind in ("key.rotated", "key.state", "key.changed", "key.destruction-announced", "root.removed", "version.deleted"):
        assert any(WHY in opened.get("reason", "") for found, _, opened in with_policies if found == kind), kind


def test_a_release_that_fails_after_its_intent_says_so(world, monkeypatch):
    """What `share-version` promised and did not do is an outcome of its own, beside the refusal."""
    from hermetic.custody import sharing

    port = world.port()
    w.seal(port, "dataset/open", w.DataClass.INTERNAL)
    version = port.ask(ShowVersion("dataset/open@1")).version
    w.change_cedar(port, "more.cedar", '@id("may-share")\npermit (principal, action == Action::"share", resource);\n')

    def fails(*_given, **_named):
        raise Conflict("the key moved")

    monkeypatch.setattr(sharing, "_sealed", fails)
    with contextlib.suppress(Conflict):
        port.ask(packages.ShareVersion("dataset/open@1", version, (_recipient(),), 30, WHY))
    said = {kind: facts for kind, facts, _ in w.leaves(port)}
    assert said["release.outcome"]["failure"] == "Conflict"
    assert said["access.denied"]["asks"] == "share-version"
    assert "may-share" in said["access.denied"]["policies"]
