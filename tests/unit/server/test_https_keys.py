"""Keys over HTTPS: what crosses, who is answered, and what somebody in between can do."""

from __future__ import annotations

import contextlib

import pytest

from hermetic.errors import PolicyDenied
from hermetic.formats.messages.greeting import Hello
from hermetic.formats.messages.runs import OpenScratch, StartRun
from hermetic.ids import Purpose
from tests import world as w
from tests.unit.server import https_world


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    service = https_world.make(tmp_path_factory.mktemp("https") / "world")
    for name, roles in (("ana", ("ml-engineer",)), ("ben", ("auditor",)), ("eve", ("ml-engineer",))):
        service.enrol(name, roles=roles)
    with contextlib.closing(service), service.running():
        yield service


def test_seal_open_and_scratch(made):
    port = made.port("ana")
    welcome = port.ask(Hello())
    assert (welcome.domain, welcome.enforcement) == (made.world.domain, "service")
    draft, _ = w.seal(port, "dataset/a")
    opened = w.open_(port, "dataset/a")
    assert w.key_of(port, opened.released[0].lease) == w.key_of(port, draft.lease)
    run = port.ask(StartRun(w.fresh(), "train", Purpose.TRAIN)).run
    first, second = (port.ask(OpenScratch(w.fresh(), run)) for _ in range(2))
    assert w.key_of(port, first.lease) == w.key_of(port, second.lease)
    assert w.ended(port, opened.released[0].lease) is None


def test_policy_decides(made):
    w.seal(made.port("ana"), "dataset/b")
    with pytest.raises(PolicyDenied):
        w.open_(made.port("ben"), "dataset/b")
    denied = [facts for kind, facts, _ in w.leaves(made.plain) if kind == "release.denied"]
    assert denied[-1]["enforcement"] == "service"
