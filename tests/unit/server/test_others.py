"""Every request that custody answers, as asked by somebody else: an enrolled user with no fitting role, and one nobody knows.

`CARRIES` says what each request that needs more than plausible values is about: things of the owner. `ANSWERED` lists the requests
that are not refused by policy, with what comes instead and why that is right. A new request is refused, or has a line here.
"""

from __future__ import annotations

import dataclasses
import enum
import os
import types
import typing
from types import SimpleNamespace

import pytest

from hermetic.access import identity
from hermetic.crypto import x509
from hermetic.crypto.hpke import PrivateKey
from hermetic.crypto.sign import SigningKey
from hermetic.custody.dispatch import HANDLERS
from hermetic.db import tables
from hermetic.errors import Denied, FormatError, HermeticError, NotAuthenticated, NotFound, PolicyDenied
from hermetic.formats import codec
from hermetic.formats.messages.base import Request
from hermetic.formats.messages.catalogue import RecordDecision
from hermetic.formats.messages.domain import GatherFacts
from hermetic.formats.messages.keys import ListKeys
from hermetic.formats.messages.policy import Explain
from hermetic.formats.messages.roots import ListRoots
from hermetic.formats.messages.runs import OpenScratch, ShowRun, StartRun
from hermetic.formats.messages.versions import CheckLeases, EndLeases, ExposureTerms, OpenVersions
from hermetic.ids import Enforcement, Environment, Purpose
from hermetic.keys import approver_key
from hermetic.policy import defaults
from tests import world as w

OTHER, STRANGER = 65534, 64999


def _authority(domain):
    return x509.root_certificate(x509.AuthorityKey.generate(), "somebody's", domain, x509.Span.of(w.START, 3600))


@pytest.fixture(scope="module")
def theirs(tmp_path_factory):
    """A domain in which the owner has one of everything, kept apart from now on."""
    world = w.World.make(tmp_path_factory.mktemp("others") / "world")
    port = world.port()
    w.enrol(port, "nobody", ("service",))  # a role that permits nothing to a person
    draft, published = w.seal(port, "dataset/a")
    begun = w.begin(port, "dataset/b")
    opened = w.open_(port, "dataset/a")
    path = "/plain/a.csv"
    port.ask(OpenVersions(w.fresh(), ("dataset/a",), Purpose.PREPARE, exposure=ExposureTerms(path, w.START + w.HOUR)))
    run = port.ask(StartRun(w.fresh(), "train", Purpose.TRAIN)).run
    port.ask(OpenScratch(w.fresh(), run))
    ids = SimpleNamespace(
        ref="dataset/a@1",
        name="dataset/a",
        asset=published.asset,
        version=published.version,
        draft=begun.version,
        lease=opened.released[0].lease.id,
        path=path,
        run=run,
        kek=port.ask(ListKeys()).keys[0].kek,
        root=port.ask(ListRoots()).roots[0].root,
        public=PrivateKey.generate().public,
        approver=approver_key.public_file(SigningKey.generate()),
        csr=x509.new_request(f"spiffe://{world.domain}/person/ana")[1],
        certificate=_authority(world.domain),
        bundle=defaults.default_bundle(world.domain, "cardio").to_bytes(),
        object=draft.lease.id,
    )
    port._custodian.enforcement = Enforcement.SEPARATED
    yield SimpleNamespace(world=world, port=port, ids=ids)
    world.close()


# What the fields of requests mean, by name; for single requests with the request's name before it.
MEANS = {
    "roll-back.latest": "version",
    "ref": "ref", "refs": "ref", "name": "name", "old": "name", "pattern": "name", "asset": "asset", "kek": "kek", "root": "root",
    "run": "run", "lease": "lease", "leases": "lease", "path": "path", "recipient": "public", "public": "public", "bundle": "bundle",
    "begin-totp.to": "public", "invite-factor.to": "public",
    "enrol-approver.public": "approver", "publish-version.object": "object", "shred-versions.versions": "version",
    "issue-certificate.csr": "csr", "certificates": "certificate", "renew-certificate.csr": "csr",
    "version": "version", "publish-version.version": "draft", "abandon-version.version": "draft", "object": "object",
}  # fmt: skip
SAID = {
    "promote-version.environment": Environment.DEVELOPMENT, "promote-version.to": Environment.STAGING, "promotion": None,
    "roll-back.environment": Environment.DEVELOPMENT, "begin-version.read": None,
    "action": "open", "operation": "suspend", "state": "finished", "change-key-state.state": "suspend", "purpose": Purpose.TRAIN,
    "principal": "nobody", "role": "auditor", "roles": "auditor", "place": "sealed", "key": "x.csv", "member": "data", "hint": "x",
    "new": "dataset/c", "limit": 1, "days": 7, "protocol": 1, "reason": "because", "uri": "local:keyring", "labels": None,
    "provider": "local:insecure-file", "change-key-state.verb": "suspend", "set-root-state.verb": "suspend", "use": "log",
    "record-copies-destroyed.before_ms": w.START - w.HOUR, "publish-version.root": bytes(32),
    "publish-version.labels": None, "publish-version.algorithm": "BLAKE3", "rotate-signing-key.compromised_after": None,
    "port": 8080,
    "generation": 1, "count": 1, "environment": None, "parents": None, "approvals": None, "exposure": None, "decisions": None,
    "facts": None, "kind": None, "rename-asset.new": "dataset/c", "explain.principal": None, "plaintext_length": 1, "length": 1000,
    "break-glass.purpose": Purpose.RECOVER, "seconds": 3600, "set-root-state.state": "suspend", "start-run.name": "train",
    "generated": None, "after": None,
    "open-versions.run": None, "begin-version.run": None, "begin-version.place": None,
    "enrol-identity.kind": "person", "rotate-authority.root": False, "announce-destruction.days": 30,
    "start": 0, "since": None, "size": 0, "hello.generation": 0,
}  # fmt: skip


def request_for(name, ids):
    """A request with values that would work for who may ask it."""
    return _built(codec.registered()[name], name, ids)


def _built(cls, name, ids):
    hints = typing.get_type_hints(cls)
    return cls(**{field.name: _value(hints[field.name], (name, field.name), ids) for field in dataclasses.fields(cls)})


def _value(kind, where, ids):
    key, optional = ".".join(where), isinstance(kind, types.UnionType) or typing.get_origin(kind) is typing.Union
    kind = next(one for one in typing.get_args(kind) if one is not types.NoneType) if optional else kind
    if typing.get_origin(kind) is tuple:
        one = None if key in SAID and SAID[key] is None else _value(typing.get_args(kind)[0], where, ids)
        return () if one is None else (one,)
    named = MEANS.get(key, MEANS.get(where[1]) if key not in SAID else None)
    if named is not None:
        return getattr(ids, named)
    if where[1] in SAID or key in SAID:
        said = SAID.get(key, SAID.get(where[1]))
        if said is None or not isinstance(kind, type) or not issubclass(kind, enum.Enum) or isinstance(said, kind):
            return said
    if dataclasses.is_dataclass(kind):
        return _built(kind, where[0], ids)
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return next(iter(kind))
    return {bytes: bytes(32), bool: False, int: 0}.get(kind, w.fresh())


ANSWERED = {
    # request: what comes instead of a refusal by policy, and why
    "hello": (None, "whoever is enrolled may know who custody is; it tells checkpoints, keys that are public, and one's own roles"),
    "show-policy": (None, "the rules are in everybody's project and hold no secrets; custody's copy is how to compare them"),
    "check-leases": (None, "one's own leases; of others' it says that they have ended"),
    "end-leases": (None, "one's own leases; others' are passed over"),
    "list-runs": (None, "one's own runs"),
    "open-scratch": (Denied, "one's own runs"),
    "finish-run": (Denied, "one's own runs; ids of runs are 128 random bits"),
    "abandon-version": (Denied, "one's own drafts; ids are 128 random bits"),
    "end-exposure": (
        Denied,
        "one's own, and those who respond to incidents; that a path has an exposure is told to who names the path",
    ),
    "withdraw-request": (NotFound, "one's own requests; whoever asks about others' is told that there are none"),
    "begin-totp": (Denied, "one's own factors; the first one takes an invitation"),
    "finish-totp": (NotFound, "one's own"),
    "begin-webauthn": (NotFound, "one's own, and there is none"),
    "finish-webauthn": (Denied, "answers to a challenge of one's own"),
    "confirm-totp": (NotFound, "one's own, and there is none"),
    "confirm-webauthn": (Denied, "answers to a challenge of one's own"),
    "list-factors": (None, "one's own"),
    "remove-factor": (NotFound, "an id that is random; what exists is refused by policy where it is somebody else's"),
    "export-trust": (NotFound, "what clients pin is public; this domain has no authority"),
    "renew-certificate": (Denied, "one's own certificate, by which a connection was authenticated"),
    "add-statement": (FormatError, "whoever brings it, a statement counts by the signature of an enrolled approver"),
}


def test_the_table_is_about_requests_that_there_are():
    assert set(ANSWERED) <= set(HANDLERS)
    assert {name for name in HANDLERS if not issubclass(codec.registered()[name], Request)} == set()


@pytest.mark.parametrize("name", sorted(HANDLERS))
def test_a_user_with_no_fitting_role(theirs, name):
    expected, why = ANSWERED.get(name, (PolicyDenied, "refused"))
    assert why
    request = request_for(name, theirs.ids)
    assert codec.decode(codec.encode(request)) == request
    try:
        theirs.port.ask_for(OTHER, request)
        came = None
    except HermeticError as error:
        came = error
    assert (came is None) == (expected is None), came
    assert expected is None or isinstance(came, expected), repr(came)


@pytest.mark.parametrize("name", sorted(HANDLERS))
def test_a_user_whom_nobody_knows(theirs, name):
    """Gets nothing of all that, whatever is asked."""
    request = request_for(name, theirs.ids)
    if name == "check-leases":  # who held one and was struck off is told that it has ended
        assert all(item.ended for item in theirs.port.ask_for(STRANGER, request).states)
        return
    with pytest.raises(NotAuthenticated):
        theirs.port.ask_for(STRANGER, request)


def test_what_leases_and_runs_of_others_tell(theirs):
    ids, ask = theirs.ids, lambda request: theirs.port.ask_for(OTHER, request)
    (state,) = ask(CheckLeases((ids.lease,))).states
    assert state.ended == "it belongs to somebody else"
    ask(EndLeases((ids.lease,)))
    with theirs.world.custodian().database.read(theirs.port._custodian.row_keys) as session:
        assert session.require(tables.lease, ids.lease)["state"] == "active"
    assert ask(request_for("list-runs", ids)).runs == ()
    with pytest.raises(PolicyDenied):
        ask(ShowRun(ids.run))


@pytest.mark.parametrize(
    "made",
    [
        lambda ref, public: OpenVersions(w.fresh(), (ref,), Purpose.TRAIN, recipient=public),
        lambda ref, public: OpenVersions(w.fresh(), (ref,), recipient=public),
        lambda ref, _public: Explain("open", ref, Purpose.TRAIN),
        lambda ref, _public: Explain("open", ref),
        lambda ref, _public: RecordDecision(ref, "because", owner="nobody"),
    ],
)
def test_whoever_may_not_read_the_catalogue_does_not_learn_what_is_there(theirs, made):
    said = set()
    for ref in ("dataset/a", "dataset/there-is-none"):
        with pytest.raises(PolicyDenied) as refused:
            theirs.port.ask_for(OTHER, made(ref, theirs.ids.public))
        said.add((str(refused.value), refused.value.hint, refused.value.reasons))
    assert len(said) == 1


def test_what_others_may_do_is_for_those_who_read_the_catalogue(theirs):
    owner = identity.local_id(theirs.world.domain, 0)
    for principal in (owner, "there-is-none"):
        with pytest.raises(PolicyDenied):
            theirs.port.ask_for(OTHER, Explain("start-run", "", None, principal))
    assert not theirs.port.ask_for(OTHER, Explain("read-log", "", None, identity.local_id(theirs.world.domain, OTHER))).allowed


def test_the_owner_is_told_what_is_not_there(theirs):
    """Who reads the catalogue gets the plain answer."""
    with pytest.raises(NotFound):
        theirs.port.ask_for(os.geteuid(), Explain("open", "dataset/there-is-none", Purpose.TRAIN))
    assert theirs.port.ask_for(os.geteuid(), GatherFacts()).enforcement == "separated"
