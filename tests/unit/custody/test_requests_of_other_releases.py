"""Requests that wait for approval, kept by custody of another release: shown as far as they can be read, never signed blindly."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest

from hermetic.custody import asking
from hermetic.domain.approving import read_request_file, request_file, shown, unsigned
from hermetic.errors import ApprovalNeeded, FormatError, Unsupported
from hermetic.formats import canonical, codec
from hermetic.formats.messages.access import BreakGlass
from hermetic.formats.messages.approvals import ListRequests
from hermetic.formats.messages.base import hash_of
from hermetic.formats.messages.catalogue import RenameAsset
from hermetic.ids import DataClass, Purpose
from tests.unit.custody.approving import Person
from tests.world import START, enrol, seal

pytestmark = pytest.mark.embedded_only


def kept_as(monkeypatch, **fields):
    """From now on custody keeps requests as a release would that has these fields, or writes them out."""

    def encode(request):
        outer = json.loads(codec.encode(request))
        return canonical.encode({**outer, "body": outer["body"] | fields})

    monkeypatch.setattr(asking, "codec", SimpleNamespace(encode=encode))
    monkeypatch.setattr(asking, "request_hash", lambda request: hash_of(encode(request)))


@pytest.fixture
def asks(world, port):
    """Somebody asks to break the glass; two could approve."""
    seal(port, "dataset/patients", DataClass.CONFIDENTIAL)
    enrol(port, "nobody", ["research-lead"])
    for name in ("vera", "wim"):
        Person(name).enrol(port)
    other = world.port(uid=65534)

    def ask():
        with pytest.raises(ApprovalNeeded):
            other.ask(BreakGlass("dataset/patients", Purpose.DEBUG, 3600, "the nightly run writes nonsense"))
        return port.ask(ListRequests()).requests[-1]

    return ask


def test_a_request_of_a_newer_release_is_listed_and_not_signed(monkeypatch, asks):
    """What is not known might be what matters: who would sign does not see it."""
    kept_as(monkeypatch, quietly=True)
    row = asks()
    assert [(pair.name, "quietly" in pair.value) for pair in row.asks] == [("asks", True)]
    assert {pair.name for pair in row.about} >= {"asked by", "policy in force"}
    for look in (lambda: shown(row).fields(), lambda: unsigned(shown(row), "a" * 26, verdict="approve", reason="", now_ms=START)):
        with pytest.raises(Unsupported, match="quietly") as refused:
            look()
        assert "sign with that release" in refused.value.hint
    with pytest.raises(Unsupported):
        read_request_file(request_file(shown(row)))


def test_a_request_that_was_kept_with_its_defaults_is_listed_and_asked_anew(monkeypatch, asks, port):
    kept_as(monkeypatch, environment=None)
    row = asks()
    assert ("ref", "dataset/patients") in {(pair.name, pair.value) for pair in row.asks}
    with pytest.raises(FormatError, match="by default"):
        shown(row).checked()
    monkeypatch.undo()
    assert asks().id != row.id
    assert len(port.ask(ListRequests()).requests) == 2


def test_what_a_newer_release_asked_about_some_asset_ends_with_any_name(monkeypatch, asks, port):
    kept_as(monkeypatch, quietly=True)
    asks()
    seal(port, "dataset/else")
    port.ask(RenameAsset("dataset/else", "dataset/moved"))
    assert port.ask(ListRequests()).requests == ()


def test_an_answer_is_no_request_to_sign(asks):
    row = asks()
    raw = b'{"body":{},"hermetic":1,"type":"done"}'
    with pytest.raises(FormatError, match="asks for nothing"):
        shown(replace(row, request=raw, hash=hash_of(raw))).checked()
