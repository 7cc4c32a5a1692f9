"""What every port to custody elsewhere does with an answer, whatever carries it."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import pytest

from hermetic.domain.refusals import refusal_of
from hermetic.domain.remote import RemotePort
from hermetic.errors import FormatError, Locked, NotFound, PolicyDenied, StorageError, Unsupported
from hermetic.formats import codec
from hermetic.formats.messages.greeting import Hello, Welcome
from hermetic.formats.messages.versions import CheckLeases
from hermetic.formats.parts import CUSTODY
from hermetic.formats.release import RELEASE
from tests.unit.formats.filled import filled


class Answers:
    """A transport that always brings the same bytes."""

    keyed, pauses, where = False, (), "unix:/somewhere"

    def __init__(self, raw):
        self.raw = raw

    def once(self, _message):
        return self.raw


@pytest.mark.parametrize("request_", [Hello(), CheckLeases(())])
def test_an_answer_of_another_release_says_where_to_look(request_):
    raw = b'{"body":{"domain":"aaaaaaaaaaaaaaaaaaaaaaaaaa"},"hermetic":1,"type":"welcome"}'
    port = RemotePort(Answers(raw), SimpleNamespace())
    with pytest.raises(FormatError) as refused:
        port.ask(request_)
    assert "another release" in refused.value.hint
    assert refused.value.exit_code == 4


def ask_a_stranger(raw, *, greeted=None):
    port = RemotePort(Answers(b""), SimpleNamespace())
    if greeted is not None:
        port._transport = Answers(codec.encode(dataclasses.replace(filled(Welcome), release=greeted)))
        port.ask(Hello())
    port._transport = Answers(raw)
    with pytest.raises(Unsupported) as refused:
        port.ask(CheckLeases(()))
    assert refused.value.exit_code == 1
    return refused.value


@pytest.mark.parametrize(
    "raw",
    [
        b'{"body":{},"hermetic":1,"type":"a-message-of-tomorrow"}',
        b'{"body":{"new":1,"states":[]},"crit":["new"],"hermetic":1,"type":"lease-states"}',
    ],
)
def test_custody_of_a_newer_release_is_said_to_be_that(raw):
    assert ask_a_stranger(raw).hint == "custody is of a newer release than this client: upgrade the client"


def test_custody_of_an_older_release_is_said_to_be_that_with_both_releases():
    raw = codec.encode(refusal_of(Unsupported("no field 'uses'", hint=CUSTODY.hint)))
    assert ask_a_stranger(raw).hint == CUSTODY.hint
    assert ask_a_stranger(raw, greeted="0.0.9").hint == f"{CUSTODY.hint}\nthis client: {RELEASE}, custody: 0.0.9"
    assert ask_a_stranger(raw, greeted="\x1b[2J").hint.endswith("custody: unknown")
    assert ask_a_stranger(raw, greeted=RELEASE).hint == CUSTODY.hint


@pytest.mark.parametrize(
    ("error", "hint"),
    [
        (Locked("root 2q is locked", hint="hermetic unlock"), "whoever runs custody: `hermetic unlock`"),
        (StorageError("the disk is full", hint="make room"), "whoever runs custody: make room"),
        (StorageError("whether it was done is not known", hint="look at what is there"), "look at what is there"),
        (Unsupported("the schema is older", hint="run `hermetic migrate`"), "whoever runs custody: run `hermetic migrate`"),
        (NotFound("no such root", hint="`hermetic key root ls` lists them"), "`hermetic key root ls` lists them"),
        (PolicyDenied("no", hint="ask", reasons=("deny-debug",)), "ask"),
        (NotFound("no such asset"), None),
    ],
)
def test_what_only_custodys_own_user_can_do_is_said_to_be_for_whoever_runs_it(error, hint):
    port = RemotePort(Answers(codec.encode(refusal_of(error))), SimpleNamespace())
    with pytest.raises(type(error)) as refused:
        port.ask(CheckLeases(()))
    assert (refused.value.message, refused.value.hint) == (error.message, hint)
    assert getattr(refused.value, "reasons", ()) == getattr(error, "reasons", ())


def test_custody_that_does_not_take_the_greeting_is_of_another_release():
    port = RemotePort(Answers(codec.encode(refusal_of(FormatError("Hello: expected the fields protocol")))), SimpleNamespace())
    with pytest.raises(Unsupported, match=f"of release {RELEASE}: Hello: expected") as refused:
        port.ask(Hello())
    assert "upgrade the older one" in refused.value.hint
    with pytest.raises(FormatError):
        port.ask(CheckLeases(()))
