"""Port messages as bytes: strict both ways, and nowhere a key."""

from __future__ import annotations

import dataclasses
import typing

import pytest

from hermetic.crypto.secret import Secret
from hermetic.custody.dispatch import HANDLERS
from hermetic.errors import FormatError, UsageError
from hermetic.formats import canonical, codec
from hermetic.formats.messages import backup, base, greeting, versions
from hermetic.formats.messages.identity import ExchangeToken
from hermetic.ids import Purpose

REQUEST = "a" * 26
OPEN = versions.OpenVersions(REQUEST, ("dataset/patients@3",), Purpose.PREPARE)


def parts(cls, seen=None):
    """Every dataclass that a message holds, itself included."""
    seen = set() if seen is None else seen
    if cls in seen:
        return seen
    seen.add(cls)
    for hint in typing.get_type_hints(cls).values():
        for kind in inner_types(hint):
            if dataclasses.is_dataclass(kind):
                parts(kind, seen)
    return seen


def inner_types(hint):
    arguments = typing.get_args(hint)
    return {hint} if not arguments else {kind for item in arguments for kind in inner_types(item)}


def test_the_words_of_the_specification():
    assert codec.encode(greeting.Hello()) == b'{"body":{},"hermetic":1,"type":"hello"}'
    assert codec.encode(greeting.Hello(size=7)) == b'{"body":{"size":7},"hermetic":1,"type":"hello"}'


def test_every_request_is_answered_or_is_the_backup():
    requests = {cls for cls in codec.registered().values() if issubclass(cls, base.Request)}
    assert {codec.name_of(request) for request in requests} == {
        *HANDLERS,
        codec.name_of(backup.TakeBackup),
        codec.name_of(ExchangeToken),
    }


def test_every_answer_is_a_message():
    for cls in codec.registered().values():
        if issubclass(cls, base.Request):
            (named,) = typing.get_args(cls.__orig_bases__[0])
            name = named.__forward_arg__ if isinstance(named, typing.ForwardRef) else named.__name__
            assert name in {answer.__name__ for answer in codec.registered().values()}, cls


@pytest.mark.parametrize("cls", sorted(codec.registered().values(), key=lambda cls: cls.__name__))
def test_a_key_is_never_a_field(cls):
    for part in parts(cls):
        hints = typing.get_type_hints(part)
        assert not [name for name, hint in hints.items() if Secret in inner_types(hint)]
        keys = {name for name, hint in hints.items() if "key" in name.split("_") and bytes in inner_types(hint)}
        assert keys == set(), part
        if part is base.KeyBlob:
            assert hints == {"handle": str | None, "sealed": bytes | None}


@pytest.mark.parametrize("cls", sorted(codec.registered().values(), key=lambda cls: cls.__name__))
def test_messages_are_frozen_and_hold_what_the_codec_knows(cls):
    for part in parts(cls):
        assert part.__dataclass_params__.frozen
        assert part.__slots__ is not None


def change(message, **changes):
    outer = canonical.decode(codec.encode(message), limit=codec.MESSAGE_LIMIT)
    return canonical.encode({**outer, "body": {**outer["body"], **changes}})


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b'{"body":{},"hermetic":1}',
        b'{"body":{},"hermetic":1,"type":["hello"]}',
        b'{"body":{"protocol":3},"hermetic":2,"type":"hello"}',
        b'{"body":{"protocol":3},"hermetic":true,"type":"hello"}',
        b'{"body":{"protocol":3},"extra":0,"hermetic":1,"type":"hello"}',
        b'{"body":{"protocol":true},"hermetic":1,"type":"hello"}',
        b'{"body":{"protocol":"1"},"hermetic":1,"type":"hello"}',
        b'{"body":{"protocol":1.0},"hermetic":1,"type":"hello"}',
        b'{"body":{"protocol":null},"hermetic":1,"type":"hello"}',
        b'{"body":{},"crit":["size"],"hermetic":1,"type":"hello"}',
        b'{"body":{"generation":0},"hermetic":1,"type":"hello"}',
        b'{"body":{},"hermetic":1,"type":"list-assets","more":0}',
        b'{"body":{},"hermetic":1,"type":"abandon-version"}',
        b'{"body":[],"hermetic":1,"type":"hello"}',
        b'{ "body":{"protocol":3},"hermetic":1,"type":"hello"}',
        b'{"hermetic":1,"body":{"protocol":1},"type":"hello"}',
        b'{"body":{"protocol":3,"protocol":3},"hermetic":1,"type":"hello"}',
        b'{"body":{"protocol":3},"hermetic":1,"type":"hello"}\n',
        b"\xff\xfe",
        b"[" * 100_000,
    ],
)
def test_what_is_no_message_is_refused(raw):
    with pytest.raises(FormatError):
        codec.decode(raw)


@pytest.mark.parametrize(
    "changes",
    [
        {"refs": "dataset/patients@3"},
        {"refs": None},
        {"refs": [None]},
        {"refs": [["dataset/patients"]]},
        {"purpose": 1},
        {"recipient": "YQ=="},
        {"recipient": "YR"},
        {"recipient": "Y"},
        {"recipient": "ä"},
        {"recipient": [1]},
        {"run": 7},
        {"exposure": {"path": "/x"}},
        {"exposure": []},
        {"approvals": [{"approver": "ana", "expires_ms": 1, "signature": 2}]},
    ],
)
def test_a_field_of_another_type_is_refused(changes):
    with pytest.raises(FormatError):
        codec.decode(change(OPEN, **changes))


@pytest.mark.parametrize(
    "value",
    [
        object(),
        base.Pair("not", "a message by itself"),
        dataclasses.replace(OPEN, refs=(b"\xff",), purpose={1, 2}),
        dataclasses.replace(OPEN, run=1.5),
        dataclasses.replace(OPEN, run="\ud800"),
        greeting.Hello(2**53),
    ],
)
def test_what_no_message_can_hold_is_not_encoded(value):
    with pytest.raises((FormatError, UsageError)):
        codec.encode(value)


def test_a_message_has_a_limit():
    with pytest.raises(FormatError, match="4194304"):
        codec.encode(dataclasses.replace(OPEN, recipient=bytes(codec.MESSAGE_LIMIT)))
    with pytest.raises(FormatError):
        codec.decode(b" " * (codec.MESSAGE_LIMIT + 1))


def test_the_request_hash_leaves_approvals_out():
    approved = dataclasses.replace(OPEN, approvals=(base.Approval("ben", b"yes", 1),))
    assert base.request_hash(approved) == base.request_hash(OPEN)
    assert base.request_hash(dataclasses.replace(OPEN, purpose=Purpose.TRAIN)) != base.request_hash(OPEN)
    assert len(base.request_hash(greeting.Hello())) == 32
