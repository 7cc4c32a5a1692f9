"""What the crash tests let a process do. Each scenario gets the root of a `places.Place` and a function that says what is done.

What a scenario says is a promise that a crash afterwards must keep:

    sealed REF       the version is there
    removed NAME     the original is gone, and a version was sealed from it
    ended NAME       the exposed file is gone
    copied           the backup place holds all objects
    changed          the recovery passphrase is another one
    shared SET       the shares in that folder, or in a later one, open the copy in the backup place
    moved            the domain hangs on its new root alone
    certified        a client's key and certificate are there, and fit
    made             the second domain is there
    restored         the domain is there again
"""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from hermetic.crypto.secret import Secret
from hermetic.errors import NotAuthenticated

if TYPE_CHECKING:
    from pathlib import Path

PASSPHRASE, CHANGED = b"correct horse battery staple", b"incorrect donkey charger paperclip"
Say = Callable[[str], None]


def _workspace(root: Path):
    import hermetic

    return hermetic.connect(root / "project")


def seal(root: Path, say: Say) -> None:
    """Four versions: a file, a folder of shards, the file once more, and one whose original goes."""
    project = root / "project"
    with _workspace(root) as h:
        say("sealed " + h.seal(project / "one.bin", name="dataset/one", data_class="restricted", purpose="ingest").ref)
        say("sealed " + h.seal(project / "shards", name="dataset/shards", data_class="confidential", purpose="ingest").ref)
        say("sealed " + h.seal(project / "one.bin", name="dataset/one", purpose="ingest").ref)
        done = h.seal(project / "two.bin", name="dataset/two", data_class="internal", purpose="ingest", remove_original=True)
        say("sealed " + done.ref)
        if not any("power cut" in note for note in done.notes):
            say("removed two.bin")


def release(root: Path, _say: Say) -> None:
    """Open three times, once in a batch."""
    with _workspace(root) as h:
        for _ in range(2):
            with h.open("dataset/base", purpose="prepare") as file:
                file.read()
        for version in h.open_many(["dataset/base@1", "dataset/more@1"], purpose="prepare"):
            version.end()


def rotate(root: Path, _say: Say) -> None:
    """Rotate and rewrap, twice; suspend and resume."""
    from hermetic.formats.messages.keys import ChangeKeySchedule, ChangeKeyState, ListKeys, RewrapKey, RotateKey

    with _workspace(root) as h:
        ask = h.connection.ask
        for kek in [row.kek for row in ask(ListKeys()).keys] * 2:
            ask(RotateKey(kek, "schedule"))
            while ask(RewrapKey(kek, 1)).left:
                pass
        ask(ChangeKeyState(kek, "suspend", "drill"))
        ask(ChangeKeyState(kek, "resume", "drill"))
        ask(ChangeKeySchedule(kek, owner="ana", contact="ana, +49 30 5550 123", rotate_after_days=60))


def sign(root: Path, say: Say) -> None:
    """Change the keys of log and manifests, and their schedule; seal before, between and after."""
    from hermetic.formats.messages.signing import ChangeSigningCare, RotateSigningKey

    project = root / "project"
    with _workspace(root) as h:
        ask = h.connection.ask
        say("sealed " + h.seal(project / "one.bin", name="dataset/one", data_class="restricted", purpose="ingest").ref)
        for use in ("log", "manifest"):
            ask(RotateSigningKey(use, "drill"))
            say("sealed " + h.seal(project / "one.bin", name="dataset/one", purpose="ingest").ref)
        ask(ChangeSigningCare("manifest", owner="ana", rotate_after_days=365))


def certify(root: Path, say: Say) -> None:
    """An authority, a client that renews, a certificate that ends, one of somebody else's; new keys for the authority."""
    from hermetic.crypto import x509
    from hermetic.custody import identities
    from hermetic.domain import identity_files
    from hermetic.formats.messages import identity as said

    now_ms = time.time_ns() // 1_000_000
    with _workspace(root) as h:
        ask, custodian, domain = h.connection.ask, h.connection.port.custodian, h.session.domain
        ask(said.CreateAuthority("drill"))
        for name, kind in (("ana", "person"), ("train", "workload")):
            ask(said.EnrolIdentity(name, kind, ("data-steward",), "joins"))
        uri = f"spiffe://{domain}/workload/train"
        ask(said.IssueCertificate("train", x509.new_request(uri)[1], 60, "drill"))
        folder, ana = root / "identity", f"spiffe://{domain}/person/ana"
        csr = x509.request_in(identity_files.request(folder, ana))
        made = ask(said.IssueCertificate("ana", csr, 3600, "drill"))
        identity_files.install(folder, x509.to_pem((*made.chain, *made.authorities)), domain, now_ms=now_ms)
        say("certified")
        renew_identity(h, folder)
        ask(said.RotateAuthority(False, "drill"))
        ask(said.RotateAuthority(True, "drill"))
        renew_identity(h, folder)
        identities.server_certificate(custodian, ["localhost"])
        short = ask(said.IssueCertificate("train", x509.new_request(uri)[1], 1, "drill"))
        _trust(h, uri, now_ms)
        _wait_for(short.not_after_ms)
        with contextlib.suppress(NotAuthenticated):
            identities.vouch_certificate(custodian, short.chain[0])
        ask(said.RevokeCredential("train", "drill"))
        _exchange_token(h, uri, now_ms)


def _exchange_token(h, uri: str, now_ms: int) -> None:
    """Give a certificate for a token of an issuer, and refuse one that was used."""
    from joserfc import jwk, jwt

    from hermetic.access import issuers, tokens
    from hermetic.crypto import x509
    from hermetic.custody.call import Vouched
    from hermetic.formats.messages import identity as said

    key, port = jwk.ECKey.generate_key("P-256"), h.connection.port
    published = json.dumps({"keys": [key.as_dict(private=False) | {"kid": "a"}]}).encode()
    issuer = issuers.Issuer("https://issuer.example", "h", issuers.WORKLOAD, (issuers.Rule("train", {"sub": "t"}),), "https://x", 3600)
    port.custodian.tokens = tokens.TokenDesk([issuers.IssuerKeys(issuer, lambda _place: published, lambda: 0)])
    times = {"iat": now_ms // 1000, "exp": now_ms // 1000 + 600}
    token = jwt.encode({"alg": "ES256", "kid": "a"}, {"iss": issuer.url, "aud": "h", "sub": "t", **times}, key)
    port.exchange(Vouched("login"), said.ExchangeToken(token, x509.new_request(uri)[1]))
    with contextlib.suppress(NotAuthenticated):
        port.exchange(Vouched("login"), said.ExchangeToken(token, x509.new_request(uri)[1]))


def renew_identity(h, folder: Path) -> None:
    """Renew as a client of the service, which custody knows by the certificate in use."""
    from hermetic.custody import identities
    from hermetic.custody.call import Vouched
    from hermetic.domain import identity_files

    def ask(request):
        port, der = h.connection.port, identity_files.ClientIdentity.load(folder).certificate().der
        principal, credential = identities.vouch_certificate(port.custodian, der)
        return port.ask_as(Vouched(principal, None, credential), request)

    identity_files.renew(folder, ask, now_ms=time.time_ns() // 1_000_000, early=True)


def _trust(h, uri: str, now_ms: int) -> None:
    """Trust an authority elsewhere, meet a certificate of it, and trust it no more."""
    from hermetic.crypto import x509
    from hermetic.custody import identities
    from hermetic.formats.messages import identity as said

    key = x509.AuthorityKey.generate()
    root = x509.root_certificate(key, "elsewhere", h.session.domain, x509.Span.of(now_ms, 3600))
    public = x509.parse_request(x509.new_request(uri)[1]).public
    leaf = x509.client_certificate(x509.Issuer(root, key), public, uri, "train", span=x509.Span.of(now_ms, 600))
    ask = h.connection.ask
    ask(said.TrustAuthority((root,), "drill"))
    identities.vouch_certificate(h.connection.port.custodian, leaf)
    there = next(row for row in ask(said.ListAuthorities()).authorities if row.kind == "external")
    ask(said.RetireAuthority(there.id, "drill"))


def _edit(project: Path, text: str) -> None:
    """Give a project another hermetic.yaml, whole or not at all: what an editor leaves torn is not what scenarios are about."""
    beside = project / "hermetic.yaml.new"
    with beside.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(project / "hermetic.yaml")
    folder = os.open(project, os.O_RDONLY | os.O_DIRECTORY)
    os.fsync(folder)
    os.close(folder)


def retire(root: Path, say: Say) -> None:
    """Retire the suite of everything that is there, and seal it anew."""
    from hermetic.domain import project as projects
    from hermetic.formats.messages.policy import ApplyPolicy
    from hermetic.recovery.suites import reseal_retired

    project = root / "project"
    retired = "retired_suites:\n  - {suite: FLOE-AES256-GCM-1M-BLAKE3, reason: a weakness was found}\n"
    _edit(project, (project / "hermetic.yaml").read_text() + retired)
    with _workspace(root) as h:
        h.connection.ask(ApplyPolicy(projects.load(project).bundle().to_bytes()))
        for one in reseal_retired(h).anew:
            say(f"sealed {one.new}")


def promote(root: Path, _say: Say) -> None:
    """Two versions promoted into another environment, with somebody's approval each, and the second one rolled back there."""
    from hermetic.domain import project as projects
    from hermetic.formats.messages.approvals import EnrolApprover
    from hermetic.formats.messages.policy import ApplyPolicy

    project = root / "project"
    text = (project / "hermetic.yaml").read_text()
    _edit(project, text.replace("staging: {kind: named}", "staging: {kind: local, path: staged}"))
    with _workspace(root) as h:
        h.connection.ask(ApplyPolicy(projects.load(project).bundle().to_bytes()))
        bob = _Approver("bob")
        h.connection.ask(EnrolApprover(bob.name, bob.public, "approves"))
        _agreed(h, bob, lambda: h.promote("dataset/base", "staging", reason="drill"))
        h.seal(b"first", name="dataset/base", purpose="ingest")
        _agreed(h, bob, lambda: h.promote("dataset/base", "staging", reason="drill"))
        _agreed(h, bob, lambda: h.rollback("dataset/base", "staging", reason="drill"))


def _agreed(h, person: _Approver, act: Callable[[], object]) -> None:
    """Do what needs an approval, which is given in between."""
    from hermetic.errors import ApprovalNeeded

    with contextlib.suppress(ApprovalNeeded):
        act()
        return
    _all_approve(h, [person])
    act()


def run(root: Path, say: Say) -> None:
    """Runs that read, use scratch and write, in one call and in files; the last one fails."""
    os.chdir(root / "project")
    with _workspace(root) as h:
        for _ in range(2):
            with h.run("train", purpose="train") as handle:
                _work(h, handle)
            say(f"sealed {handle.outputs[0]}")
        with contextlib.suppress(KeyError), h.run("train", purpose="train") as handle:
            _work(h, handle)
            raise KeyError


def _work(h, handle) -> None:
    import fsspec

    with h.open("dataset/base") as file:
        data = file.read()
    os.environ["HERMETIC_RUN"] = handle.id
    for url in ("hermetic://scratch/part.bin", "hermetic://features/halves/first.bin", "hermetic://features/halves/second.bin"):
        with fsspec.open(url, "wb") as file:
            file.write(data[:1000])
    del os.environ["HERMETIC_RUN"]
    h.seal(data, name="model/fitted", data_class="restricted", member="weights.bin")


def locate(root: Path, say: Say) -> None:
    """Two versions at plain locations, one of a file and one of two."""
    import fsspec

    from hermetic.domain import project as projects
    from hermetic.formats.messages.policy import ApplyPolicy

    project = root / "project"
    os.chdir(project)
    rules = (project / "hermetic.yaml").read_text()
    lines = "  - {path: located/**, kind: dataset, class: internal, name: located}\n"
    _edit(project, rules.replace("rules:\n", f"rules:\n{lines}").replace("rules: []\n", f"rules:\n{lines}"))
    with _workspace(root) as h:
        h.connection.ask(ApplyPolicy(projects.load(project).bundle().to_bytes()))
        with h.open("dataset/base", purpose="prepare") as file:
            data = file.read()
    fs = fsspec.filesystem("sealed", purpose="ingest")
    fs.pipe_file(f"{project}/located/one", data[:2000])
    say("sealed dataset/located@1")
    with fs.transaction:
        for name in ("two", "three"):
            fs.pipe_file(f"{project}/located/{name}", data[:1000])
    say("sealed dataset/located@2")


def expose(root: Path, say: Say) -> None:
    """Three exposures, two of them ended."""
    project = root / "project"
    with _workspace(root) as h:
        for name in ("a.bin", "b.bin"):
            h.expose("dataset/base", project / name, seconds=600, purpose="prepare")
            h.end_exposure(project / name)
            say(f"ended {name}")
        h.expose("dataset/base", project / "c.bin", seconds=600, purpose="prepare")


def manage(root: Path, _say: Say) -> None:
    """What owners do: grants, names, decisions, roles, policy; refusals; drafts given up, garbage collected."""
    with _workspace(root) as h:
        _drafts(h)
        _people_and_policy(h)
        _grants(h)
        _tell(h)
    with _workspace(root):  # notes what has run out meanwhile
        pass


def _drafts(h) -> None:
    from hermetic.assets.sealing import Terms, begin

    with contextlib.suppress(KeyError), h.writer("dataset/more") as file:
        file.write(b"given up")
        raise KeyError
    begin(h.session, Terms(name="dataset/more")).leased.end()
    _wait_for(time.time_ns() // 1_000_000)  # a draft of this millisecond is not old
    h.gc(older_than_ms=0)


def _grants(h) -> None:
    from hermetic.formats.messages.destruction import RecordPackageDestroyed
    from hermetic.formats.messages.policy import GiveGrant, RevokeGrant, SetRoles
    from hermetic.ids import Purpose

    ask, now = h.connection.ask, time.time_ns() // 1_000_000
    ask(SetRoles("nobody", ("approver",), "may do nothing below without a grant"))
    given = ask(GiveGrant("nobody", "open", "dataset/*", (Purpose.PREPARE,), now + 3_600_000, "a look"))
    ask(RevokeGrant(given.id, "looked"))
    ask(GiveGrant("nobody", "rename", "dataset/*", (), now + 3_600_000, "order", uses=2))
    with _as_user(h, "nobody"):
        h.rename("dataset/more", "dataset/other")
        h.rename("dataset/other", "dataset/more")
    ask(GiveGrant("nobody", "share", "dataset/*", (Purpose.SHARE,), now + 3_600_000, "joint study"))
    version = h.show("dataset/more@1").version
    with _as_user(h, "nobody"):
        package = _share_version(h, version)
    ask(RecordPackageDestroyed(package, "drill"))
    until = time.time_ns() // 1_000_000 + 100
    ask(GiveGrant("nobody", "rename", "dataset/*", (), until, "soon over"))
    _wait_for(until)


def _share_version(h, version: str) -> str:
    from hermetic.crypto.hpke import PrivateKey
    from hermetic.formats.messages.packages import RecipientKey, ShareVersion

    ben = RecipientKey("ben", PrivateKey.generate().public)
    return h.connection.ask(ShareVersion("dataset/more@1", version, (ben,), 1, "joint study")).package


@contextlib.contextmanager
def _as_user(h, name: str) -> Iterator[None]:
    """Let custody take this process for another user of the machine."""
    from hermetic.access import identity

    port = h.connection.port
    before, port._caller = port._caller, identity.local_id(h.session.domain, pwd.getpwnam(name).pw_uid)
    yield
    port._caller = before


def _wait_for(moment_ms: int) -> None:
    while time.time_ns() // 1_000_000 <= moment_ms:
        os.sched_yield()


def _people_and_policy(h) -> None:
    from hermetic.audit.pins import Pin
    from hermetic.crypto.hpke import PrivateKey
    from hermetic.errors import PolicyDenied
    from hermetic.formats.messages.backup import TakeBackup
    from hermetic.formats.messages.domain import RecordRestoreCheck
    from hermetic.formats.messages.policy import ApplyPolicy, SetRoles
    from hermetic.formats.messages.second_factors import InviteFactor

    ask = h.connection.ask
    h.decide("dataset/more", "less than it seemed", retention_days=30)
    ask(SetRoles("nobody", ("data-steward",), "joins"))
    ask(InviteFactor("nobody", PrivateKey.generate().public, "joins"))
    ask(ApplyPolicy(h.connection.project.bundle().to_bytes()))
    ask(TakeBackup())
    seen = Pin.from_note(h.connection.pins.checkpoint, "pins").checkpoint
    ask(RecordRestoreCheck("dataset/base@1", seen.size, seen.root))
    with contextlib.suppress(PolicyDenied):
        h.open("dataset/base", purpose="debug").close()


def destroy(root: Path, say: Say) -> None:
    """Approvers, requests, answers; a version shredded; a key version announced, kept, and destroyed by a clock that is ahead."""
    from hermetic.errors import ApprovalNeeded
    from hermetic.formats.messages.approvals import EnrolApprover, ListRequests, RemoveApprover, WithdrawRequest
    from hermetic.formats.messages.destruction import (
        AnnounceDestruction,
        CancelDestruction,
        DestroyDue,
        PlanShred,
        RecordCopiesDestroyed,
        ShowCertificate,
        ShredVersions,
    )
    from hermetic.formats.messages.keys import ListKeys, RewrapKey, RotateKey

    with _workspace(root) as h:
        ask = h.connection.ask
        people = [_Approver(name) for name in ("bob", "carol", "dave")]
        for person in people:
            for _ in range(2):
                with contextlib.suppress(ApprovalNeeded):
                    ask(EnrolApprover(person.name, person.public, "approves"))
                    break
                _all_approve(h, people[:2])
        with contextlib.suppress(ApprovalNeeded):
            ask(RemoveApprover("dave", "leaves"))
        for row in ask(ListRequests()).requests:
            ask(WithdrawRequest(row.id, "not yet"))
        for _ in range(2):
            with contextlib.suppress(ApprovalNeeded):
                ask(RemoveApprover("dave", "leaves"))
                break
            _all_approve(h, people[:2])
        _break_glass(h, people[:2])
        h.seal(b"first", name="dataset/brief", data_class="restricted", member="x", purpose="ingest")
        plan = ask(PlanShred(("dataset/brief@1",)))
        done = ask(ShredVersions(plan.refs, plan.versions, "drill"))
        ask(RecordCopiesDestroyed(time.time_ns() // 1_000_000, "drill"))
        ask(ShowCertificate(done.certificate))
        kek = ask(ListKeys()).keys[0].kek
        ask(RotateKey(kek, "drill"))
        while ask(RewrapKey(kek, 100)).left:
            pass
        number = ask(ListKeys()).keys[0].versions[0].number
        ask(AnnounceDestruction(kek, number, 7, "drill"))
        ask(CancelDestruction(kek, number, "drill"))
        ask(AnnounceDestruction(kek, number, 7, "drill"))
        custodian = h.connection.port._custodian
        before = custodian.clock
        custodian.clock = lambda: before() + 8 * 86_400_000
        assert "copies" in ask(DestroyDue()).versions[0].problem
        custodian.clock = before
        ask(RecordCopiesDestroyed(before(), "drill"))
        custodian.clock = lambda: before() + 8 * 86_400_000
        assert [row.problem for row in ask(DestroyDue()).versions] == [""]
        custodian.clock = before
        custodian.database.rebuild()


def _break_glass(h, people: list[_Approver]) -> None:
    """Two agree to an emergency; somebody else reviews it, and leaves."""
    from hermetic.errors import ApprovalNeeded
    from hermetic.formats.messages.access import BreakGlass, DisablePrincipal, ReviewGrant
    from hermetic.formats.messages.policy import RevokeGrant, SetRoles
    from hermetic.ids import Purpose

    ask, request = h.connection.ask, BreakGlass("dataset/base", Purpose.RECOVER, 3600, "drill")
    with contextlib.suppress(ApprovalNeeded):
        ask(request)
    _all_approve(h, people)
    grant = ask(request)
    ask(RevokeGrant(grant.id, "over"))
    ask(SetRoles("nobody", ("auditor",), "reviews"))
    with _as_user(h, "nobody"):
        ask(ReviewGrant(grant.id, "nothing was opened"))
    ask(DisablePrincipal("nobody", "leaves"))


def _tell(h) -> None:
    """Somebody outside is told of something: in vain, given up, then taken."""
    from unittest import mock

    from hermetic.custody.outbox import Wants
    from hermetic.domain import notify_sending, notify_settings, notifying
    from hermetic.formats.messages.policy import SetRoles

    def fails(_target, _message):
        raise notify_sending.Failed("out of reach")

    custodian = h.connection.port._custodian
    target = notify_settings.read({"chat": {"webhook": "https://127.0.0.1:9/hook", "key": "/nowhere"}}, "")
    custodian.outbox.wants = (Wants("chat"),)
    h.connection.ask(SetRoles("nobody", (), "leaves"))
    with mock.patch.object(notifying, "TRIES", 1):
        notifying.Notifier(custodian, target, sending=fails).deliver()
    assert notifying.Notifier(custodian, target, sending=lambda *_: None).deliver(again=True).waiting == 0


class _Approver:
    """Somebody with a key, made without the cost of a passphrase."""

    def __init__(self, name: str) -> None:
        from hermetic.crypto.sign import SigningKey
        from hermetic.keys import approver_key

        self.name, self.signing = name, SigningKey.generate()
        self.public = approver_key.public_file(self.signing)
        self.key_id = approver_key.key_id_of(self.signing.public)

    def approve(self, row) -> bytes:
        from hermetic.formats.approval import PAYLOAD_TYPE, Statement
        from hermetic.signing.envelopes import sign_envelope

        now = time.time_ns() // 1_000_000
        said = Statement(
            row.domain, row.id, row.hash, row.requester_id, row.requester, "approve", self.key_id, "drill", now, row.expires_ms
        )
        return sign_envelope(said.encode(), PAYLOAD_TYPE, self.signing, self.key_id)


def _all_approve(h, people: list[_Approver]) -> None:
    from hermetic.formats.messages.approvals import AddStatement, ListRequests

    for row in h.connection.ask(ListRequests()).requests:
        for person in people:
            h.connection.ask(AddStatement(person.approve(row)))


def backup(root: Path, say: Say) -> None:
    """Copy the objects to the backup place, and what is missing back; change the recovery passphrase."""
    from hermetic.domain.recovery_wrap import set_recovery
    from hermetic.formats.messages.backup import TakeBackup
    from hermetic.recovery import objects

    with _workspace(root) as h:
        h.connection.ask(TakeBackup())
        assert objects.copy_out(h.connection, root / "backup").objects
        say("copied")
        objects.bring_back(h.connection, root / "backup")
        set_recovery(h.connection, Secret(CHANGED))
        say("changed")


def move(root: Path, say: Say) -> None:
    """Move the domain to another root; in between the new one is suspended while a key is made."""
    from hermetic.domain import root_moves
    from hermetic.domain.recovery_wrap import set_recovery
    from hermetic.formats.messages.roots import CheckRoots, DropRoot, ListRoots, SetRootState

    with _workspace(root) as h:
        ask = h.connection.ask
        (old,) = (row.root for row in ask(ListRoots()).roots)
        new = root_moves.add_root(h.connection, "local:insecure-file", reason="drill").root.root
        suspended = ask(SetRootState(new, "suspend", "drill")).root
        say("sealed " + h.seal(root / "project" / "one.bin", name="dataset/one", data_class="internal", purpose="ingest").ref)
        root_moves.resume(h.connection, suspended)
        root_moves.rewrap(h.connection, new, reason="drill")
        ask(CheckRoots())
        ask(SetRootState(old, "deactivate", "drill"))
        ask(SetRootState(old, "compromise", "drill"))
        ask(DropRoot(old, "drill"))
        say("moved")
        set_recovery(h.connection, Secret(PASSPHRASE))


def shares(root: Path, say: Say) -> None:
    """Give the domain recovery shares, replace them, and put a key into escrow."""
    from hermetic.domain import escrow, recovery_roots

    with _workspace(root) as h:
        _share(h.connection, root / "shares-one")
        say("shared one")
        say("sealed " + h.seal(root / "project" / "one.bin", name="dataset/one", data_class="internal", purpose="ingest").ref)
        (old,) = recovery_roots.listing(h.connection)
        _share(h.connection, root / "shares-two", replace=old, reason="drill")
        say("shared two")
        public, recipient = escrow.new_key(root / "ada", "Ada", Secret(PASSPHRASE))
        assert escrow.read_recipient(public) == recipient
        recovery_roots.add(h.connection, escrow.in_escrow(h.connection.project.domain, recipient, now_ms=0))


def _share(connection, folder: Path, **more) -> None:
    from hermetic.crypto.hpke import PrivateKey
    from hermetic.domain import escrow, recovery_roots, share_files

    private = PrivateKey.generate()
    made = share_files.split(private, 3, 2)
    share_files.write(connection, folder, made)
    check = recovery_roots.domain_check(connection)
    recovery_roots.add(
        connection, escrow.in_shares(connection.project.domain, private, made, "", now_ms=0, check=check), private, **more
    )


def upkeep(root: Path, _say: Say) -> None:
    """The database's own maintenance."""
    from hermetic.db import migrate
    from hermetic.db.engine import Database

    (path,) = (root / "home" / "data").glob("*/custody.db")
    migrate.upgrade(path)
    database = Database.open(path)
    database.checkpoint_truncate()
    database.scrub([b"nothing that is there"])
    database.close()


def init(root: Path, say: Say) -> None:
    """A second domain in the same home, in use at once."""
    import hermetic
    from hermetic.domain.create import create_domain
    from hermetic.domain.home import Home

    create_domain(
        root / "second",
        provider_uri="local:insecure-file",
        project_name="second",
        backup=root / "backup",
        recovery_passphrase=Secret(PASSPHRASE),
        home=Home.locate(os.environ),
    )
    say("made")
    with hermetic.connect(root / "second") as h:
        h.seal(b"first", name="dataset/first", data_class="restricted", member="x", purpose="ingest")
        say("made dataset/first@1")


def restore(root: Path, say: Say) -> None:
    """Restore into the home that HERMETIC_HOME names, and open everything."""
    from hermetic.domain.home import Home
    from hermetic.domain.restore import restore_domain

    given = lambda *_: Secret(PASSPHRASE)  # noqa: E731 - as the command line gives it
    restore_domain(root / "backup", Home.locate(os.environ), root / "project", given, provider_uri="local:insecure-file")
    say("restored")
    release(root, say)


def use(root: Path, _say: Say) -> None:
    """Opening, asking and releasing under a root whose service names its requests, which come onto the log."""
    import secrets

    from hermetic.formats.messages.log import ReadLog
    from hermetic.keys.provider import ProviderUse
    from hermetic.providers.local_root import LocalRoot

    waiting: list[ProviderUse] = []
    real = LocalRoot.unwrap

    def unwrap(self, wrapped, context):
        secret = real(self, wrapped, context)
        waiting.append(ProviderUse("unwrap", secrets.token_hex(16), time.time_ns() // 1_000_000))
        return secret

    def take_uses(_self):
        taken = tuple(waiting)
        waiting.clear()
        return taken

    LocalRoot.unwrap, LocalRoot.take_uses = unwrap, take_uses  # type: ignore[method-assign, attr-defined]
    for _ in range(2):
        with _workspace(root) as h, h.open("dataset/base", purpose="prepare") as file:
            file.read()
            assert h.connection.ask(ReadLog(kind="root.used")).rows


SCENARIOS = {
    made.__name__: made
    for made in (
        seal,
        release,
        use,
        rotate,
        sign,
        certify,
        retire,
        promote,
        run,
        locate,
        expose,
        manage,
        destroy,
        backup,
        move,
        shares,
        upkeep,
        init,
        restore,
    )
}
