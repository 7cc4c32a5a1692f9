"""Approving by touch: the authenticator signs this statement and nothing else, for this approver, once."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hermetic.crypto.authenticator import Assertion
from hermetic.crypto.sign import SigningKey
from hermetic.errors import ApprovalNeeded, Conflict, Denied, FormatError, SignatureError
from hermetic.formats import canonical
from hermetic.formats.approval import PAYLOAD_TYPE, Statement
from hermetic.formats.dsse import Envelope, pae
from hermetic.formats.messages.approvals import AddStatement, EnrolApprover, ListApprovers
from hermetic.ids import Enforcement
from hermetic.keys import approver_key, webauthn_approver
from tests import world as w
from tests.authenticator import PRESENT, Authenticator
from tests.unit.custody.approving import Person, the_request, to_shred

ORIGIN = "http://localhost:40123"


class Toucher(Person):
    """An approver with an authenticator."""

    def __init__(self, name, key=None):
        self.name, self.key = name, key or Authenticator()
        self.kept = webauthn_approver.kept(self.key.credential, self.key.public)
        self.key_id = webauthn_approver.key_id_of(self.kept)

    @property
    def public(self):
        challenge = webauthn_approver.proof_challenge(self.kept)
        return webauthn_approver.public_file(self.kept, Assertion(*self.key.get(challenge, ORIGIN)))

    def statement(self, row, now_ms, verdict="approve", *, how=None, signs=None, **changes):
        """A statement signed by touch; `how` is done wrong by the browser, `signs` another payload than it hands in."""
        said = Statement(
            row.domain, row.id, row.hash, row.requester_id, row.requester, verdict, self.key_id, "looked at it", now_ms, row.expires_ms
        )
        payload = replace(said, **changes).encode()
        given = {
            "challenge": webauthn_approver.approval_challenge(pae(PAYLOAD_TYPE, signs or payload)),
            "origin": ORIGIN,
            **(how or {}),
        }
        answer = Assertion(*self.key.get(given.pop("challenge"), given.pop("origin"), **given))
        return Envelope(PAYLOAD_TYPE, payload, self.key_id, webauthn_approver.signature_of(answer)).encode()


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    """A shred that waits for one approval, and the request that says so."""
    world = w.World.make(tmp_path_factory.mktemp("touch") / "world")
    port = world.port()
    bob, carol = Toucher("bob"), Toucher("carol", Authenticator(eddsa=True))
    bob.enrol(port)
    carol.enrol(port)
    w.change_policy(world, port, lambda text: text.replace("delete: {", "delete: {approvals: 2} #"))
    w.seal(port)
    request = to_shred(port)
    with pytest.raises(ApprovalNeeded):
        port.ask(request)
    yield world, port, bob, carol, request
    world.close()


def refused(port, raw, error):
    before = len(w.leaves(port))
    port._custodian.clock.now += 15_000  # equal refusals of a few seconds are counted in one entry
    with pytest.raises(error) as caught:
        port.ask(AddStatement(raw))
    assert [kind for kind, _, _ in w.leaves(port)[before:]] == ["access.denied"]
    return str(caught.value)


HOW = {
    "another challenge": {"challenge": bytes(32)},
    "another origin": {"origin": "https://localhost:40123"},
    "an origin that only begins like ours": {"origin": "http://localhost:1.evil.example"},
    "a port that is none": {"origin": "http://localhost:99999"},
    "another relying party": {"rp": "evil.example"},
    "nobody verified": {"flags": PRESENT},
    "nobody there": {"flags": 4},
    "from within another page": {"crossOrigin": True},
    "for a new credential": {"kind": "webauthn.create"},
}


@pytest.mark.parametrize("what", HOW)
def test_what_the_browser_or_the_authenticator_does_wrong(asked, what):
    _world, port, bob, _carol, _request = asked
    refused(port, bob.statement(the_request(port), w.START, how=HOW[what]), SignatureError)


def test_what_is_for_something_else(asked):
    _world, port, bob, carol, _request = asked
    row = the_request(port)
    for changes, error in [
        ({"request_hash": bytes(32)}, Denied),
        ({"requester": "os:somebody:1"}, Denied),
        ({"domain": "a" * 26}, Denied),
        ({"made_ms": w.START - w.DAY}, Denied),
        ({"approver": carol.key_id}, SignatureError),
    ]:
        refused(port, bob.statement(row, w.START, **changes), error)
    # touched for a no, or for another reason or end, and handed in as a yes
    said = Statement(row.domain, row.id, row.hash, row.requester_id, row.requester, "deny", bob.key_id, "no", w.START, row.expires_ms)
    for other in (
        said,
        replace(said, verdict="approve"),
        replace(said, verdict="approve", reason="looked at it", expires_ms=row.expires_ms - 1),
    ):
        refused(port, bob.statement(row, w.START, signs=other.encode()), SignatureError)


def test_one_approvers_touch_is_not_anothers(asked):
    """Carol's key over a statement that names Bob, and the other way."""
    _world, port, bob, carol, _request = asked
    row = the_request(port)
    forged = Toucher("bob", carol.key)
    forged.kept, forged.key_id = bob.kept, bob.key_id
    refused(port, forged.statement(row, w.START), SignatureError)
    stranger = Toucher("mallory")
    assert "no approver" in refused(port, stranger.statement(row, w.START), SignatureError)
    ed25519 = SigningKey.generate()
    payload = Statement(
        row.domain, row.id, row.hash, row.requester_id, row.requester, "approve", bob.key_id, "x", w.START, row.expires_ms
    )
    raw = Envelope(PAYLOAD_TYPE, payload.encode(), bob.key_id, ed25519.sign(pae(PAYLOAD_TYPE, payload.encode()))).encode()
    refused(port, raw, FormatError)


def test_it_counts_once_and_an_older_count_is_refused(tmp_path):
    world = w.World.make(tmp_path / "world")
    port, bob, carol = world.port(), Toucher("bob"), Toucher("carol", Authenticator(count=None))
    bob.enrol(port)
    carol.enrol(port)
    w.change_policy(world, port, lambda text: text.replace("delete: {", "delete: {approvals: 2} #"))
    w.seal(port)
    w.seal(port)
    for ref in ("dataset/patients@1", "dataset/patients@2"):
        world.clock.now += 1000  # they are listed by their age
        with pytest.raises(ApprovalNeeded):
            port.ask(to_shred(port, ref))
    first, second = _requests(port)
    old = bob.statement(second, w.START)
    yes = bob.statement(first, w.START)
    port.ask(AddStatement(yes))
    assert "answered" in refused(port, yes, Conflict)  # replayed
    assert "count" in refused(port, old, SignatureError)  # signed before what was handed in since
    bob.answers(port, second, w.START)
    for row in (first, second):
        carol.answers(port, row, w.START)  # a passkey, which does not count
    port.ask(to_shred(port, "dataset/patients@1"))
    assert "used" in refused(port, Toucher.statement(bob, first, w.START), Conflict)
    world.close()


def _requests(port):
    from hermetic.formats.messages.approvals import ListRequests

    return port.ask(ListRequests()).requests


def test_nobody_approves_their_own_request(tmp_path):
    world = w.World.make(tmp_path / "world")
    port, root, bob = world.port(), Toucher("root"), Toucher("bob")
    root.enrol(port)
    bob.enrol(port)
    with pytest.raises(ApprovalNeeded):
        port.ask(EnrolApprover("dave", Toucher("dave").public, "x"))
    assert "their own" in refused(port, root.statement(the_request(port), w.START), Denied)
    port._custodian.enforcement = Enforcement.SEPARATED
    assert bob.answers(port, the_request(port), w.START).statements[0].approver == "bob"  # a touch is a second factor itself
    world.close()


def test_public_files_that_are_not_taken(asked):
    _world, port, bob, _carol, _request = asked
    fields = canonical.decode(bob.public, limit=20_000)
    other = canonical.decode(Toucher("x").public, limit=20_000)
    for name in ("credential", "key", "proof", "public"):
        with pytest.raises((FormatError, SignatureError)):
            approver_key.parse_public(canonical.encode({**fields, name: other[name]}))
    with pytest.raises(FormatError):
        approver_key.parse_public(bob.public[:-1])
    assert {row.name for row in port.ask(ListApprovers()).approvers} == {"bob", "carol"}
