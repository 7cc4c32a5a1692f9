"""The authorization matrix: every request of the port x every role x every environment, expected and asked.

`EXPECTED` is written by hand, by action and role; `ACTIONS` says which action each request asks about. `Matrix.ask` really asks, as
people of each role do from another machine, with values that would work; what it changes is undone at the end of each transaction.
A new request of the port needs a line in one of the two.
`python -m tests.authorization` prints what differs; scripts/authorization.py writes docs/reference/authorization.md from it.

    yes       the policy permits it: it is done, or refused for what it is about
    factor    permitted after a second factor (and, where the action asks for some, approvals)
    approval  permitted once others agree
    own       only one's own: runs, drafts, exposures, requests, credentials, factors; the sample is somebody else's, or not there
    no        refused by policy, on record
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

from hermetic.access import identity
from hermetic.crypto.hpke import PrivateKey
from hermetic.crypto.sign import SigningKey
from hermetic.custody.call import Vouched
from hermetic.custody.dispatch import HANDLERS
from hermetic.errors import ApprovalNeeded, Denied, HermeticError, NotAuthenticated, PolicyDenied
from hermetic.formats.messages.keys import ListKeys
from hermetic.formats.messages.policy import SetRoles
from hermetic.formats.messages.roots import ListRoots
from hermetic.formats.messages.runs import StartRun
from hermetic.formats.messages.versions import BeginVersion, ExposureTerms, OpenVersions, PublishVersion
from hermetic.ids import DataClass, Enforcement, Environment, Purpose
from hermetic.keys import approver_key
from hermetic.policy import defaults
from hermetic.policy.request import Principal, PrincipalKind
from tests import world as w
from tests.unit.server import test_others as samples

YES, FACTOR, APPROVAL, OWN, NO = "yes", "factor", "approval", "own", "no"
ROLES = (
    "domain-owner", "data-steward", "ml-engineer", "research-lead", "service", "security-engineer", "approver", "auditor",
    "data-protection-officer", "no role",
)  # fmt: skip
ENVIRONMENTS = tuple(Environment)
LEVEL = Enforcement.SERVICE
LEVELS_DIFFER = (  # where an enforcement level could make a difference: what asks for somebody else, or is the owner's
    "add-root", "apply-policy", "begin-version", "break-glass", "enrol-identity", "give-grant", "open-versions for prepare",
    "open-versions of a model for serve", "promote-version", "read-log", "rotate-key", "share-version", "shred-versions",
)  # fmt: skip


class _Undone(Exception):
    """Rolls a transaction back."""


class _Undoing:
    """A database whose writes are rolled back at their end; everything else is the database's own."""

    def __init__(self, database):
        self._database = database

    def __getattr__(self, name):
        return getattr(self._database, name)

    @contextlib.contextmanager
    def write(self, *args, **more):
        with contextlib.suppress(_Undone), self._database.write(*args, **more) as session:
            yield session
            raise _Undone


class Matrix:
    """A domain with one of everything in each environment, a person of each role, and the answers to all requests."""

    def __init__(self, folder):
        self.world = w.World.make(folder)
        self.port = self.world.port()
        self.public = PrivateKey.generate().public
        self._people()
        self.ids = {environment: self._one_of_everything(environment) for environment in ENVIRONMENTS}
        self.port._custodian.database = _Undoing(self.port._custodian.database)
        self.port._custodian.log.committed = lambda _checkpoint: None  # nothing is

    def close(self):
        self.port._custodian.database = self.port._custodian.database._database
        self.world.close()

    def _people(self):
        """One principal a role, and `somebody`, whose things the samples are about."""
        custodian = self.port._custodian
        named = {role: (role,) for role in ROLES[1:-1]} | {"no role": (), "somebody": ("data-steward", "research-lead")}
        with custodian.database.write(custodian.row_keys, step="test") as session:
            for name, roles in named.items():
                kind = PrincipalKind.WORKLOAD if name == "service" else PrincipalKind.PERSON
                who = Principal(self._id(name), name, kind, roles)
                identity._insert(session, who, w.START)
        self.port.ask(SetRoles("nobody", ("service",), "samples name it"))

    def _id(self, name):
        if name == "domain-owner":
            return identity.local_id(self.world.domain, os.geteuid())
        return f"spiffe://{self.world.domain}/person/{name.replace(' ', '-')}"

    def as_(self, name, request, level=LEVEL):
        return self.port.ask_as(Vouched(self._id(name), enforcement=level), request)

    def _one_of_everything(self, environment):
        ask = functools.partial(self.as_, "somebody")
        public = self.public
        begun = ask(BeginVersion(w.fresh(), "dataset/a", DataClass.CONFIDENTIAL, environment=environment, recipient=public))
        published = ask(PublishVersion(begun.version, (w.record(),)))
        model = ask(BeginVersion(w.fresh(), "model/a", DataClass.CONFIDENTIAL, environment=environment, recipient=public))
        ask(PublishVersion(model.version, (w.record(),)))
        draft = ask(BeginVersion(w.fresh(), "dataset/b", DataClass.CONFIDENTIAL, environment=environment, recipient=public))
        opened = ask(OpenVersions(w.fresh(), ("dataset/a",), Purpose.PREPARE, recipient=public, environment=environment))
        work = None if environment is Environment.PRODUCTION else environment
        run = ask(StartRun(w.fresh(), "prepare", Purpose.PREPARE, recipient=public, environment=work)).run
        keys = self.port.ask(ListKeys()).keys
        return SimpleNamespace(
            ref="dataset/a@1",
            name="dataset/a",
            asset=published.asset,
            version=published.version,
            draft=draft.version,
            lease=opened.released[0].lease.id,
            path="/plain/a.csv",
            run=run,
            kek=next(row.kek for row in keys if row.environment == environment),
            root=self.port.ask(ListRoots()).roots[0].root,
            public=public,
            approver=approver_key.public_file(SigningKey.generate()),
            csr=samples.x509.new_request(f"spiffe://{self.world.domain}/person/ana")[1],
            certificate=samples._authority(self.world.domain),
            bundle=defaults.default_bundle(self.world.domain, "cardio").to_bytes(),
            object=published.asset,
        )

    def sample(self, name, environment):
        """A request of this name about things of this environment."""
        request = samples.request_for(name.partition(" ")[0], self.ids[environment])
        if hasattr(request, "environment"):
            request = dataclasses.replace(request, environment=environment)
        if name == "promote-version":
            onward = Environment.PRODUCTION if environment is Environment.STAGING else Environment.STAGING
            request = dataclasses.replace(request, to=onward)
        changes = VARIANTS.get(name)
        return request if changes is None else dataclasses.replace(request, **changes)

    def ask(self, name, role, environment, level=LEVEL):
        """What comes of it."""
        request = self.sample(name, environment)
        try:
            self.as_(role, request, level)
        except ApprovalNeeded as error:
            return FACTOR if "second-factor" in str(error) else APPROVAL
        except (NotAuthenticated, PolicyDenied):
            return NO
        except Denied as error:
            return OWN if name in SELF or type(error) is Denied else YES
        except HermeticError:
            return OWN if name in SELF else YES
        return OWN if name in SELF else YES

    def row(self, name):
        """Answers by role, one for each environment; a request that says nothing of the environment is asked once."""
        same = all(self.sample(name, other) == self.sample(name, ENVIRONMENTS[0]) for other in ENVIRONMENTS[1:])
        asked = ENVIRONMENTS[:1] if same and "request" not in name else ENVIRONMENTS
        found = {role: tuple(self.ask(name, role, environment) for environment in asked) for role in ROLES}
        return {role: answers * (3 // len(answers)) for role, answers in found.items()}


VARIANTS = {
    "open-versions for prepare": {"purpose": Purpose.PREPARE},
    "open-versions for train": {"purpose": Purpose.TRAIN},
    "open-versions for debug": {"purpose": Purpose.DEBUG},
    "open-versions for audit": {"purpose": Purpose.AUDIT},
    "open-versions of a model for serve": {"purpose": Purpose.SERVE, "refs": ("model/a@1",)},
    "open-versions to expose": {"purpose": Purpose.PREPARE, "exposure": ExposureTerms("/plain/b.csv", w.START + w.HOUR)},
    "place-objects": {"purpose": Purpose.INGEST},
    "begin-version of a secret": {"name": "secret/token", "purpose": Purpose.INGEST},
    "begin-version": {"name": "dataset/new", "purpose": Purpose.INGEST, "data_class": DataClass.CONFIDENTIAL},
}
REQUESTS = tuple(sorted({*HANDLERS, *VARIANTS} - {"open-versions"}))
SELF = frozenset((
    "abandon-version", "begin-totp", "begin-webauthn", "check-leases", "confirm-totp", "confirm-webauthn", "end-exposure",
    "end-leases", "finish-run", "finish-totp", "finish-webauthn", "list-runs", "open-scratch", "remove-factor", "renew-certificate",
    "withdraw-request",
))  # fmt: skip
"""Requests that everybody may make about what is theirs, and nobody else's."""

# Written by hand: what each role may do, by the name of the action; `dev/staging/production` where the environment matters.
# A role that is not named gets `no`.
_READERS = ROLES[:-1]
_RECORDS = ("domain-owner", "security-engineer", "auditor", "data-protection-officer")
EXPECTED = {
    "anybody": dict.fromkeys(ROLES, YES),
    "own things": dict.fromkeys(ROLES, OWN),
    "read-catalog": dict.fromkeys(_READERS, YES),
    "read-log": dict.fromkeys(_RECORDS, YES),
    "seal": {"data-steward": YES, "ml-engineer": "yes/yes/no", "research-lead": "yes/yes/no", "service": YES},
    "seal a secret": {
        "data-steward": YES, "ml-engineer": "yes/yes/no", "research-lead": "yes/yes/no", "service": YES, "security-engineer": YES,
    },
    "sign": {"data-steward": OWN, "ml-engineer": "own/own/no", "research-lead": OWN},
    "open to prepare": {"data-steward": YES, "ml-engineer": "yes/yes/no", "research-lead": "yes/yes/no"},
    "open to train": {"ml-engineer": "yes/yes/no", "research-lead": "yes/yes/no"},
    "open to debug confidential data": {},
    "open to audit": {"data-steward": YES},
    "open to serve": {"service": YES},
    "expose": {},
    "share": {"research-lead": YES},
    "promote": {"research-lead": APPROVAL},
    "roll back": {"research-lead": YES},  # refused for what the sample names, before anybody is asked
    "rename": {"data-steward": YES},
    "classify": {"data-steward": YES},
    "break-glass": {"data-steward": FACTOR, "ml-engineer": FACTOR, "research-lead": FACTOR},
    "grant": {"data-steward": YES, "research-lead": YES},
    "collect garbage": {"data-steward": YES, "data-protection-officer": YES},
    "delete": {"data-steward": "yes/approval/approval", "data-protection-officer": "yes/approval/approval"},
    "start-run": {"data-steward": YES, "ml-engineer": "yes/yes/no", "research-lead": "yes/yes/no", "service": YES},
    "enrol": {"domain-owner": FACTOR, "security-engineer": FACTOR},
    "apply-policy": {"domain-owner": FACTOR, "security-engineer": FACTOR},
    "administer-keys": {"security-engineer": FACTOR},
    "announce a destruction": {"security-engineer": YES},  # refused for what hangs on the key, before anybody is asked
    "vouch for destruction": {"security-engineer": APPROVAL},
    "backup": {"security-engineer": YES},
}  # fmt: skip
ACTIONS = {
    "anybody": "hello show-policy export-trust add-statement",
    "read-catalog": (
        "destroy-due explain find-objects gather-facts gather-measures list-approvers list-assets list-authorities list-exposures "
        "list-factors list-grants list-identities list-keys list-principals list-requests list-roots list-signing-keys list-suites "
        "plan-destruction plan-shred recognise-digests show-certificate show-identity show-key show-request show-run show-version "
        "trace-lineage"
    ),
    "read-log": "export-log prove-entry read-log review-grant verify-log",
    "sign": "publish-version",
    "rename": "rename-asset",
    "classify": "record-decision",
    "break-glass": "break-glass",
    "share": "share-version",
    "promote": "promote-version",
    "roll back": "roll-back",
    "grant": "give-grant revoke-grant",
    "collect garbage": "collect-garbage",
    "delete": "shred-versions",
    "start-run": "start-run",
    "enrol": (
        "disable-principal enrol-approver enrol-identity invite-factor issue-certificate remove-approver revoke-credential set-roles"
    ),
    "apply-policy": "apply-policy",
    "administer-keys": (
        "add-root cancel-destruction change-key-schedule change-key-state change-signing-care check-roots create-authority drop-root "
        "extend-root record-recovery retire-authority rewrap-key rewrap-root rotate-authority rotate-key rotate-signing-key "
        "set-root-state trust-authority"
    ),
    "announce a destruction": "announce-destruction",
    "vouch for destruction": "record-copies-destroyed record-package-destroyed",
    "backup": "record-check",
}
OF = (
    {request: action for action, listed in ACTIONS.items() for request in listed.split()}
    | {
        "open-versions for prepare": "open to prepare",
        "open-versions for train": "open to train",
        "open-versions for debug": "open to debug confidential data",
        "open-versions for audit": "open to audit",
        "open-versions of a model for serve": "open to serve",
        "open-versions to expose": "expose",
        "begin-version": "seal",
        "begin-version of a secret": "seal a secret",
        "place-objects": "seal",
    }
    | dict.fromkeys(SELF, "own things")
)


def expected(name):
    """Answers by role for a request, one for each environment. Raises KeyError for a request that nobody has decided about."""
    said = EXPECTED[OF[name]]
    answers = {role: tuple(said.get(role, NO).split("/")) for role in ROLES}
    return {role: found * (3 // len(found)) for role, found in answers.items()}


def short(answers):
    """`yes`, or `yes/yes/no` where environments differ."""
    return answers[0] if len(set(answers)) == 1 else "/".join(answers)


def line(name, row):
    """A row of the page: what came, with what was expected beside it where that is something else."""
    wanted = expected(name)
    cells = (short(row[role]) if row[role] == wanted[role] else f"**{short(row[role])}, not {short(wanted[role])}**" for role in ROLES)
    return f"| `{name}` | {OF[name]} | {' | '.join(cells)} |"


def main():
    """Print every request whose answers are not those expected."""
    with tempfile.TemporaryDirectory() as folder:
        matrix = Matrix(Path(folder) / "world")
        for name in sys.argv[1:] or REQUESTS:
            row = matrix.row(name)
            if row != expected(name):
                print(f"{name:38}", *(short(row[role]) for role in ROLES))
                print(f"{'':32}wanted", *(short(expected(name)[role]) for role in ROLES))
        matrix.close()


if __name__ == "__main__":
    main()
