"""Second factors: shown anew for what policies ask, refused when replayed, old, for another, or shown by somebody else."""

from __future__ import annotations

import base64
import os
import threading

import pyotp
import pytest

from hermetic.access import factor_attempts, identity
from hermetic.access import second_factors as factors
from hermetic.crypto.hpke import PrivateKey
from hermetic.custody.call import Vouched
from hermetic.errors import (
    ApprovalNeeded,
    Conflict,
    Denied,
    FormatError,
    HermeticError,
    NotFound,
    PolicyDenied,
    SignatureError,
    UsageError,
)
from hermetic.formats import factor_secret
from hermetic.formats.messages.approvals import EnrolApprover
from hermetic.formats.messages.domain import GatherFacts
from hermetic.formats.messages.log import VerifyLog
from hermetic.formats.messages.policy import Explain, SetRoles
from hermetic.formats.messages.second_factors import (
    BeginTotp,
    BeginWebauthn,
    ConfirmTotp,
    ConfirmWebauthn,
    FinishTotp,
    FinishWebauthn,
    InviteFactor,
    ListFactors,
    RemoveFactor,
)
from hermetic.ids import Enforcement
from tests import world as w
from tests.authenticator import PRESENT, Authenticator
from tests.unit.custody.approving import Person, the_request

OTHER = 65534
PORT, ORIGIN = 8123, "http://localhost:8123"
ENROLS = SetRoles("nobody", ("auditor",), "joins")  # asks `enrol`, which takes a second factor from `separated` on
STEP_S = 30


@pytest.fixture
def world(tmp_path):
    made = w.World.make(tmp_path / "world")
    yield made
    made.close()


def tick(world, seconds=STEP_S):
    world.clock.now += seconds * 1000


def apart(port):
    """From now on custody is in another process than who asks."""
    port._custodian.enforcement = Enforcement.SEPARATED


class Phone:
    """A code app."""

    def __init__(self, ask, world, invitation=""):
        self.world, key = world, PrivateKey.generate()
        self.begun = ask(BeginTotp("phone", key.public, invitation))
        secret = key.open(self.begun.sealed, factor_secret.binding(self.begun.domain, self.begun.factor, "totp"))
        self.app = pyotp.TOTP(base64.b32encode(bytes(secret.view())).decode())
        self.factor = ask(FinishTotp(self.begun.factor, self.code())).factor.id

    def code(self, steps=0):
        return self.app.at(self.world.clock.now // 1000, counter_offset=steps)


def invited(port, ask, name="nobody"):
    """The code of an invitation, as the owner reads it out."""
    key = PrivateKey.generate()
    made = ask(InviteFactor(name, key.public, "joins"))
    return bytes(key.open(made.sealed, factor_secret.binding(made.domain, made.factor, "invitation")).view()).decode()


def with_key(ask, key, **how):
    """Register an authenticator."""
    begun = ask(BeginWebauthn(adding=True, port=PORT, invitation=how.pop("invitation", "")))
    return ask(FinishWebauthn("key", *key.create(begun.challenge, ORIGIN, user=begun.user, **how))).factor.id


def touch(ask, key, **how):
    begun = ask(BeginWebauthn(adding=False, port=PORT))
    return ask(ConfirmWebauthn(*key.get(how.pop("challenge", begun.challenge), how.pop("origin", ORIGIN), **how)))


def refused(port, ask, request, error):
    """The request is refused with this error; returns it."""
    with pytest.raises(error) as caught:
        ask(request)
    return caught.value


def kinds(world):
    return [row[0] for row in w.sql(world, "SELECT kind FROM log_leaf ORDER BY idx")]


# Codes


def test_a_code_makes_the_session_fresh_for_what_policies_ask(world):
    port = world.port()
    phone = Phone(port.ask, world)
    apart(port)
    ask = lambda request: port.ask_for(0, request)  # noqa: E731
    hint = refused(port, ask, ENROLS, ApprovalNeeded)
    assert "hermetic identity confirm" in f"{hint} {hint.hint}"
    assert hint.exit_code == 5
    tick(world)
    ask(ConfirmTotp(phone.code()))
    ask(ENROLS)
    assert "second-factor" not in str(ask(Explain("enrol", "")).obligations)
    tick(world, 15 * 60 + 1)
    refused(port, ask, ENROLS, ApprovalNeeded)


def test_in_cooperative_mode_nothing_is_asked(world):
    port = world.port()
    port.ask(ENROLS)
    assert port.ask(ListFactors()).invitation is False


@pytest.mark.parametrize(("steps", "error"), [(0, Denied), (-1, Denied), (-2, Denied), (2, Denied)])
def test_codes_that_are_used_old_or_of_tomorrow(world, steps, error):
    port = world.port()
    phone = Phone(port.ask, world)
    tick(world)
    port.ask(ConfirmTotp(phone.code()))
    refused(port, port.ask, ConfirmTotp(phone.code(steps)), error)
    assert kinds(world)[-2:] == ["factor.refused", "access.denied"]
    tick(world)
    port.ask(ConfirmTotp(phone.code()))


def test_a_code_is_not_one_for_somebody_else(world):
    port = world.port()
    phone = Phone(port.ask, world)
    w.enrol(port, "nobody", ("auditor",))
    code = invited(port, port.ask)
    other = lambda request: port.ask_for(OTHER, request)  # noqa: E731
    Phone(other, world, code)
    tick(world)
    refused(port, other, ConfirmTotp(phone.code()), Denied)


def test_the_session_is_of_one_credential(world):
    port = world.port()
    phone = Phone(port.ask, world)
    apart(port)
    tick(world)
    me = identity.local_id(world.domain, os.geteuid())
    port.ask_for(0, ConfirmTotp(phone.code()))
    with port._custodian.database.read(port._custodian.row_keys) as session:
        assert factors.shown_ms(session, me, "") == world.clock.now
        assert factors.shown_ms(session, me, "another") is None
    assert Vouched(me, credential="another").credential == "another"


def test_a_clock_set_back_makes_nothing_fresh(world):
    port = world.port()
    phone = Phone(port.ask, world)
    apart(port)
    ask = lambda request: port.ask_for(0, request)  # noqa: E731
    tick(world)
    ask(ConfirmTotp(phone.code()))
    at = world.clock.now
    world.clock.now = at - 1000  # before it was shown
    refused(port, ask, ENROLS, ApprovalNeeded)
    world.clock.now = at + w.HOUR
    refused(port, ask, ENROLS, ApprovalNeeded)  # on record, an hour later
    world.clock.now = at + 60_000
    refused(port, ask, ENROLS, ApprovalNeeded)  # the log knows better
    world.clock.now = at
    refused(port, ask, ConfirmTotp(phone.code()), Denied)


def test_two_that_race_with_one_code(world):
    port, second = world.port(), world.port()
    phone = Phone(port.ask, world)
    tick(world)
    code, came, gate = phone.code(), [], threading.Barrier(2)

    def go(one):
        gate.wait()
        try:
            came.append(one.ask(ConfirmTotp(code)))
        except HermeticError as error:
            came.append(error)

    threads = [threading.Thread(target=go, args=(one,)) for one in (port, second)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert sorted(isinstance(one, Denied) for one in came) == [False, True]
    assert kinds(world).count("factor.confirmed") == 1


def test_attempts_are_limited(world):
    port = world.port()
    phone = Phone(port.ask, world)
    tick(world)
    wrong = f"{(int(phone.code()) + 1) % 10**6:06}"
    for _ in range(factor_attempts.FREE):
        assert "not one of now" in str(refused(port, port.ask, ConfirmTotp(wrong), Denied))
    held = refused(port, port.ask, ConfirmTotp(phone.code()), Denied)  # even the right one
    assert "5 attempts" in str(held)
    assert "wait 30 seconds" in held.hint
    tick(world)
    assert "not one of now" in str(refused(port, port.ask, ConfirmTotp(wrong), Denied))
    assert "wait 60 seconds" in refused(port, port.ask, ConfirmTotp(phone.code()), Denied).hint
    tick(world, 60)
    port.ask(ConfirmTotp(phone.code()))
    tick(world)
    refused(port, port.ask, ConfirmTotp(wrong), Denied)
    port.ask(ConfirmTotp(phone.code()))  # counted anew


def test_beginning_something_does_not_count_attempts_anew(world):
    port = world.port()
    phone, key = Phone(port.ask, world), Authenticator()
    tick(world)
    port.ask(ConfirmTotp(phone.code()))
    with_key(port.ask, key)
    for _ in range(factor_attempts.FREE):
        port.ask(BeginWebauthn(adding=False, port=PORT))
        refused(port, port.ask, ConfirmTotp("000000"), Denied)
    refused(port, port.ask, BeginWebauthn(adding=False, port=PORT), Denied)


def test_the_hundredth_failure_is_the_last(world):
    port = world.port()
    phone = Phone(port.ask, world)
    with port._custodian.database.write(port._custodian.row_keys) as session:
        for _ in range(factor_attempts.MOST):
            _, until = factor_attempts.failed(session, identity.local_id(world.domain, os.geteuid()), now_ms=world.clock.now)
    assert until == factor_attempts.FOR_EVER
    tick(world, 10 * 365 * 86400)
    assert "nothing more" in str(refused(port, port.ask, ConfirmTotp(phone.code()), Denied))


def test_secrets_are_nowhere_in_plain(world):
    port = world.port()
    phone = Phone(port.ask, world)
    raw = base64.b32decode(phone.app.secret)
    assert raw not in world.database.read_bytes()
    assert raw not in world.database.with_name("custody.db-wal").read_bytes()
    assert phone.app.secret not in repr(phone.begun)
    port.ask(RemoveFactor(phone.factor, "lost"))
    with port._custodian.database.read(port._custodian.row_keys) as session:
        assert len(factors.find(session, phone.factor).material) == 1


# The first factor


def test_a_first_factor_takes_an_invitation(world):
    """Who has what authenticates a person, and no invitation, adds nothing, so that it does not pass for both."""
    port = world.port()
    w.enrol(port, "nobody", ("auditor",))
    other = lambda request: port.ask_for(OTHER, request)  # noqa: E731
    key = PrivateKey.generate().public
    assert other(ListFactors()).invitation
    refused(port, other, BeginTotp("mine", key), Denied)
    refused(port, other, BeginWebauthn(adding=True, port=PORT), Denied)
    code = invited(port, port.ask)
    refused(port, other, BeginTotp("mine", key, "AAAA-AAAA-AAAA-AAAA"), Denied)
    Phone(other, world, code.lower().replace("-", " "))
    refused(port, port.ask, InviteFactor("nobody", key, "again"), Conflict)
    assert [kind for kind in kinds(world) if kind.startswith("factor.")] == [
        "factor.invited", "factor.refused", "factor.begun", "factor.added",
    ]  # fmt: skip


def test_an_invitation_is_for_one_person_once_for_a_day(world):
    port = world.port()
    w.enrol(port, "nobody", ("auditor",))
    w.enrol(port, "daemon", ("auditor",))
    key, other, third = PrivateKey.generate().public, lambda one: port.ask_for(OTHER, one), lambda one: port.ask_for(1, one)
    code = invited(port, port.ask)
    refused(port, third, BeginTotp("mine", key, code), Denied)
    other(BeginTotp("mine", key, code))
    refused(port, other, BeginTotp("mine", key, code), Denied)
    late = invited(port, port.ask)
    tick(world, 86_401)
    refused(port, other, BeginTotp("mine", key, late), Denied)


def test_nobody_invites_themselves(world):
    port = world.port()
    refused(port, port.ask, InviteFactor("root", PrivateKey.generate().public, "me"), Denied)
    w.enrol(port, "nobody", ("auditor",))
    refused(port, lambda one: port.ask_for(OTHER, one), InviteFactor("nobody", PrivateKey.generate().public, "me"), PolicyDenied)


def test_another_factor_takes_one_that_is_fresh(world):
    port = world.port()
    phone = Phone(port.ask, world)
    refused(port, port.ask, BeginWebauthn(adding=True, port=PORT), ApprovalNeeded)
    tick(world)
    port.ask(ConfirmTotp(phone.code()))
    with_key(port.ask, Authenticator())


# Removing


def test_removing_ends_sessions_and_the_last_one_is_for_those_who_enrol(world):
    port = world.port()
    w.enrol(port, "nobody", ("auditor",))
    other = lambda request: port.ask_for(OTHER, request)  # noqa: E731
    phone = Phone(other, world, invited(port, port.ask))
    refused(port, other, RemoveFactor(phone.factor, "tired of it"), PolicyDenied)
    tick(world)
    other(ConfirmTotp(phone.code()))
    key = with_key(other, Authenticator())
    other(RemoveFactor(key, "sold"))
    assert other(ListFactors()).confirmed_ms is None
    tick(world)
    other(ConfirmTotp(phone.code()))
    port.ask(RemoveFactor(phone.factor, "phone lost"))
    assert other(ListFactors()).confirmed_ms is None
    refused(port, port.ask, RemoveFactor(phone.factor, "twice"), Conflict)
    refused(port, port.ask, RemoveFactor(phone.factor, " "), UsageError)
    assert ("factor-removed", "nobody") in _notes(port)
    tick(world, 8 * 86_400)
    assert "factor-removed" not in dict(_notes(port))


def _notes(port):
    return [(note.name, note.value) for note in port.ask(GatherFacts()).critical]


def test_what_was_begun_ends_when_somebody_else_removes_a_factor(world):
    port = world.port()
    w.enrol(port, "nobody", ("auditor",))
    other = lambda request: port.ask_for(OTHER, request)  # noqa: E731
    phone, key = Phone(other, world, invited(port, port.ask)), Authenticator()
    tick(world)
    other(ConfirmTotp(phone.code()))
    begun = other(BeginWebauthn(adding=True, port=PORT))
    port.ask(RemoveFactor(phone.factor, "stolen"))
    refused(port, other, FinishWebauthn("key", *key.create(begun.challenge, ORIGIN)), Denied)


# Authenticators


@pytest.mark.parametrize(
    "key", [Authenticator(), Authenticator(eddsa=True), Authenticator(count=None)], ids=["es256", "eddsa", "passkey"]
)
def test_an_authenticator_makes_the_session_fresh(world, key):
    port = world.port()
    with_key(port.ask, key)
    apart(port)
    touch(lambda one: port.ask_for(0, one), key)
    port.ask_for(0, ENROLS)
    assert port.ask_for(0, ListFactors()).factors[0].kind == "webauthn"


WRONG = {
    "another challenge": ({"challenge": bytes(32)}, SignatureError),
    "another origin": ({"origin": "http://evil.example"}, SignatureError),
    "another port": ({"origin": "http://localhost:8124"}, SignatureError),
    "https": ({"origin": "https://localhost:8123"}, SignatureError),
    "another relying party": ({"rp": "evil.example"}, SignatureError),
    "nobody verified": ({"flags": PRESENT}, SignatureError),
    "nobody there": ({"flags": 4}, SignatureError),
    "from within another page": ({"crossOrigin": True}, SignatureError),
    "for another purpose": ({"kind": "webauthn.create"}, SignatureError),
}


@pytest.mark.parametrize("what", WRONG)
def test_answers_that_are_wrong(world, what):
    port, key = world.port(), Authenticator()
    with_key(port.ask, key)
    how, error = WRONG[what]
    begun = port.ask(BeginWebauthn(adding=False, port=PORT))
    given = {"challenge": begun.challenge, "origin": ORIGIN, **how}
    answer = ConfirmWebauthn(*key.get(given.pop("challenge"), given.pop("origin"), **given))
    refused(port, port.ask, answer, error)
    assert kinds(world)[-2:] == ["factor.refused", "access.denied"]
    right = ConfirmWebauthn(*key.get(begun.challenge, ORIGIN))
    refused(port, port.ask, right, Denied)  # the challenge went with the wrong answer
    touch(port.ask, key)


def test_answers_that_are_replayed_copied_stale_or_somebody_elses(world):
    port, key, stranger = world.port(), Authenticator(), Authenticator()
    with_key(port.ask, key)
    begun = port.ask(BeginWebauthn(adding=False, port=PORT))
    answer = ConfirmWebauthn(*key.get(begun.challenge, ORIGIN))
    port.ask(answer)
    refused(port, port.ask, answer, Denied)  # replayed
    key.count = 1  # a copy of it, or an old state
    begun = port.ask(BeginWebauthn(adding=False, port=PORT))
    assert "count" in str(refused(port, port.ask, ConfirmWebauthn(*key.get(begun.challenge, ORIGIN)), SignatureError))
    key.count = 100
    begun = port.ask(BeginWebauthn(adding=False, port=PORT))
    refused(port, port.ask, ConfirmWebauthn(*stranger.get(begun.challenge, ORIGIN)), SignatureError)
    stranger.credential = key.credential
    begun = port.ask(BeginWebauthn(adding=False, port=PORT))
    refused(port, port.ask, ConfirmWebauthn(*stranger.get(begun.challenge, ORIGIN)), SignatureError)
    begun = port.ask(BeginWebauthn(adding=False, port=PORT))
    key.user = b"another handle"
    assert "somebody else" in str(refused(port, port.ask, ConfirmWebauthn(*key.get(begun.challenge, ORIGIN)), SignatureError))
    tick(world, 600)  # those were five in a row
    key.user = b""
    begun = port.ask(BeginWebauthn(adding=False, port=PORT))
    tick(world, 301)
    refused(port, port.ask, ConfirmWebauthn(*key.get(begun.challenge, ORIGIN)), Denied)  # stale


@pytest.mark.parametrize(
    ("how", "error"),
    [
        ({"flags": PRESENT}, SignatureError),
        ({"rp": "evil.example"}, SignatureError),
        ({"challenge": bytes(32)}, SignatureError),
        ({"origin": "http://localhost.evil.example"}, SignatureError),
    ],
)
def test_credentials_that_are_not_taken(world, how, error):
    port, key = world.port(), Authenticator()
    begun = port.ask(BeginWebauthn(adding=True, port=PORT))
    given = {"challenge": begun.challenge, "origin": ORIGIN, **how}
    made = key.create(given.pop("challenge"), given.pop("origin"), **given)
    refused(port, port.ask, FinishWebauthn("key", *made), error)
    assert port.ask(ListFactors()).factors == ()


@pytest.mark.parametrize(
    "client", [b"", b"{}", b"[]", b'"x"', b"\xff", b'{"challenge":1}', b'{"challenge":"!"}', b"{" * 5000, b"x" * 9000]
)
def test_browsers_that_say_nonsense(world, client):
    port, key = world.port(), Authenticator()
    with_key(port.ask, key)
    port.ask(BeginWebauthn(adding=False, port=PORT))
    refused(port, port.ask, ConfirmWebauthn(key.credential, bytes(40), client, b"x", b""), (FormatError, SignatureError))


def test_a_key_of_one_is_not_anothers_too(world):
    port, key = world.port(), Authenticator()
    with_key(port.ask, key)
    touch(port.ask, key)
    refused(port, lambda one: with_key(port.ask, one), key, Conflict)
    refused(port, port.ask, ListFactors("there is none"), NotFound)
    assert len(port.ask(ListFactors("*")).factors) == 1


def test_rows_put_back_are_found(world):
    """A used counter, or a session that ended, put back by whoever writes the database file."""
    port = world.port()
    phone = Phone(port.ask, world)
    row = w.row_of(world, "second_factor", phone.factor)
    tick(world)
    port.ask(ConfirmTotp(phone.code()))
    w.put_back(world, "second_factor", phone.factor, row)
    problems = port.ask(VerifyLog())
    assert "second_factor" in str(problems)


# Approving with a key file


def test_a_key_file_approves_with_a_second_factor_of_its_holder(world):
    port, bob, carol = world.port(), Person("nobody"), Person("carol from outside")
    w.enrol(port, "nobody", ("auditor",))
    bob.enrol(port)
    carol.enrol(port)
    other = lambda request: port.ask_for(OTHER, request)  # noqa: E731
    phone = Phone(other, world, invited(port, port.ask))
    mine = Phone(port.ask, world)
    apart(port)
    tick(world)
    port.ask_for(0, ConfirmTotp(mine.code()))
    with pytest.raises(ApprovalNeeded):
        port.ask_for(0, EnrolApprover("dave", Person("dave").public, "x"))
    row = the_request(port)
    with pytest.raises(ApprovalNeeded, match="second factor of nobody"):
        bob.answers(port, row, world.clock.now)
    with pytest.raises(ApprovalNeeded, match="second factor of carol"):
        carol.answers(port, row, world.clock.now)
    other(ConfirmTotp(phone.code()))
    assert bob.answers(port, row, world.clock.now).statements[0].verdict == "approve"
