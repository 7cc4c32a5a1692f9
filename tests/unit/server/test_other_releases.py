"""Clients and custody of different releases, over a real Unix socket and over HTTPS.

What a peer of another release would send is made by hand: less than this one says, or more.
"""

from __future__ import annotations

import contextlib
import json
import logging
import socket

import pytest

from hermetic.crypto.hpke import PrivateKey
from hermetic.custody import greeting
from hermetic.domain import framing
from hermetic.domain.unix_port import UnixPort
from hermetic.errors import Unsupported
from hermetic.formats import canonical, codec
from hermetic.formats.messages.base import Refusal
from hermetic.formats.messages.catalogue import ListAssets
from hermetic.formats.messages.greeting import Hello, Welcome
from hermetic.formats.messages.versions import Lease, OpenVersions
from hermetic.formats.parts import CLIENT, CUSTODY
from hermetic.formats.release import RELEASE
from hermetic.ids import Purpose
from tests import world as w
from tests.unit.server import https_world
from tests.unit.server.https_world import Stub, call
from tests.unit.server.serving import served

OLD_HELLO = b'{"body":{},"hermetic":1,"type":"hello"}'


def more(message, **fields):
    """A message with fields that this release does not have."""
    outer = json.loads(message if isinstance(message, bytes) else codec.encode(message))
    return canonical.encode({**outer, "body": outer["body"] | fields})


def terms(raw, *, critical=True):
    """An answer with a lease of tomorrow: it may be used once, and says so as critical."""
    outer = json.loads(raw)
    if outer["type"] == "welcome":
        outer["body"]["tomorrow"] = {"new": [1]}
    if outer["type"] == "opened":
        outer["body"]["released"][0]["lease"]["uses"] = 1
        outer |= {"crit": ["released.lease.uses"]} if critical else {}
    return canonical.encode(outer)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    made = https_world.make(tmp_path_factory.mktemp("world"))
    made.enrol("ana")
    w.seal(made.plain, "dataset/a")
    with made.running():
        yield made
    made.close()


@pytest.fixture
def place(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir(mode=0o755)
    return folder / "custody.sock"


def kinds(made):
    return [kind for kind, _, _ in w.leaves(made.plain)]


def over_unix(place, *messages):
    """What custody answers to raw messages on one connection."""
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as peer:
        peer.connect(str(place))
        for raw in messages:
            framing.send(peer, raw)
            yield codec.decode(framing.receive(peer, wait_s=20))


def over_https(made, *messages):
    for raw in messages:
        status, _, body = call(made, "ana", f"/v1/{json.loads(raw)['type']}", raw)
        answer = codec.decode(body)
        assert status == (422 if isinstance(answer, Refusal) else 200)
        yield answer


@pytest.fixture(params=["unix", "https"])
def exchange(request, made, place):
    """Send raw messages, get the answers; custody is a real one behind a real socket."""
    if request.param == "https":
        yield lambda *messages: over_https(made, *messages)
        return
    with served(made.plain, place):
        yield lambda *messages: over_unix(place, *messages)


def test_an_older_client_is_answered(exchange):
    welcome, listed = exchange(OLD_HELLO, b'{"body":{},"hermetic":1,"type":"list-assets"}')
    assert (type(welcome), welcome.release) == (Welcome, RELEASE)
    assert [asset.name for asset in listed.assets] == ["dataset/a"]


def test_what_a_newer_client_asks_for_and_custody_lacks_is_refused_and_the_rest_is_answered(exchange, made):
    """The field may be what limits the request: a budget, say. The connection goes on."""
    before = kinds(made)
    more_asked, unknown, word, welcome = exchange(
        more(ListAssets(), only_mine=True),
        b'{"body":{},"hermetic":1,"type":"of-tomorrow"}',
        more(ListAssets(), environment="moon"),
        codec.encode(Hello(release="9.0.0")),
    )
    for refusal, named in ((more_asked, "only_mine"), (unknown, "of-tomorrow"), (word, "moon")):
        assert (type(refusal), refusal.error, refusal.hint) == (Refusal, "Unsupported", CUSTODY.hint)
        assert named in refusal.message
    assert isinstance(welcome, Welcome)
    assert kinds(made) == before


def test_a_newer_client_that_asks_for_a_key_with_less_than_custody_would_give_gets_none(exchange, made):
    asked = OpenVersions(w.fresh(), ("dataset/a",), Purpose.PREPARE, recipient=PrivateKey.generate().public)
    before = kinds(made)
    (refusal,) = exchange(more(asked, at_most_bytes=7))
    assert refusal.error == "Unsupported"
    assert kinds(made) == before


def test_the_services_log_has_the_release_of_who_greets(exchange, caplog):
    with caplog.at_level(logging.INFO, "hermetic.requests"):
        list(exchange(OLD_HELLO, *(codec.encode(Hello(release=said)) for said in ("9.0.0", "9\n", "9" * 40))))
    told = [record.fields["release"] for record in caplog.records if record.name == "hermetic.requests"]
    assert told == ["unknown", "9.0.0", "unknown", "unknown"]


@contextlib.contextmanager
def newer_custody(kind, made, place, rewrite):
    """A client's port to custody that says more than this release knows."""
    if kind == "https":
        custody = Stub(made.custody, lambda asked, request, raw: rewrite(made.custody.ask(asked, request, raw)))
        with made.running(custody=custody):
            yield made.port("ana")
        return
    with served(made.plain, place, rewrite=rewrite), contextlib.closing(UnixPort(place, made.world.domain)) as port:
        yield port


@pytest.mark.parametrize("kind", ["unix", "https"])
def test_what_newer_custody_says_beside_it_is_passed_over(kind, made, place):
    with newer_custody(kind, made, place, lambda raw: terms(raw, critical=False)) as port:
        assert port.ask(Hello()).domain == made.world.domain
        lease = w.open_(port, "dataset/a").released[0].lease
        assert type(lease) is Lease
        assert w.key_of(port, lease)


@pytest.mark.parametrize("kind", ["unix", "https"])
def test_what_newer_custody_demands_to_be_understood_stops_an_older_client(kind, made, place):
    with newer_custody(kind, made, place, terms) as port:
        assert port.ask(Hello()).domain == made.world.domain
        with pytest.raises(Unsupported, match=r"released\.lease\.uses") as refused:
            w.open_(port, "dataset/a")
        assert refused.value.hint == CLIENT.hint
        assert kinds(made)[-2:] == ["release.intent", "release.outcome"]


@pytest.mark.parametrize(("protocol", "said"), [(greeting.PROTOCOL + 1, CUSTODY.hint), (0, "upgrade the client")])
def test_another_protocol_is_refused_by_custody_of_either_age(made, protocol, said):
    with pytest.raises(Unsupported) as refused:
        made.plain.ask(Hello(protocol=protocol))
    assert said in refused.value.hint
    assert RELEASE in refused.value.message
