"""Custody behind a Unix socket: what crosses it, what must not, and what happens when either side goes away."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import resource
import socket
import threading
import time
from pathlib import Path

import pytest

from hermetic import steps
from hermetic.crypto import hpke
from hermetic.custody import between
from hermetic.domain import framing, remote
from hermetic.domain.socket_place import check_folders
from hermetic.domain.unix_port import UnixPort
from hermetic.errors import (
    Conflict,
    Denied,
    FormatError,
    HermeticError,
    IntegrityError,
    KeyServiceUnavailable,
    LeaseEnded,
    NotFound,
    PolicyDenied,
    UsageError,
    WrongKey,
)
from hermetic.formats import codec, lease_key
from hermetic.formats.messages.base import KeyBlob, Refusal
from hermetic.formats.messages.greeting import Hello
from hermetic.formats.messages.keys import ListKeys, RotateKey
from hermetic.formats.messages.runs import OpenScratch, StartRun
from hermetic.formats.messages.versions import ExposureTerms, OpenVersions
from hermetic.ids import Purpose
from hermetic.server import unix_socket
from hermetic.server.unix_socket import UnixServer
from tests import world as w
from tests.unit.server.serving import served


@pytest.fixture
def world(tmp_path):
    made = w.World.make(tmp_path / "world")
    yield made
    made.close()


@pytest.fixture
def place(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir(mode=0o755)
    return folder / "custody.sock"


@pytest.fixture
def port(world, place):
    with served(world.port(), place), contextlib.closing(UnixPort(place, world.domain)) as port:
        yield port


def test_seal_open_and_scratch(world, port):
    draft, _ = w.seal(port, "dataset/a")
    opened = w.open_(port, "dataset/a")
    assert w.key_of(port, opened.released[0].lease) == w.key_of(port, draft.lease)
    run = port.ask(StartRun(w.fresh(), "train", Purpose.TRAIN)).run
    first, second = (port.ask(OpenScratch(w.fresh(), run)) for _ in range(2))
    assert w.key_of(port, first.lease) == w.key_of(port, second.lease)
    assert w.ended(port, opened.released[0].lease) is None


def test_many_versions_in_one_request(port):
    drafts = [w.seal(port, f"dataset/d{number}")[0] for number in range(5)]
    opened = w.open_(port, *(f"dataset/d{number}" for number in range(5)))
    assert [w.key_of(port, item.lease) for item in opened.released] == [w.key_of(port, draft.lease) for draft in drafts]
    with pytest.raises(UsageError, match="at most 200"):
        w.open_(port, *["dataset/d0"] * (between.BATCH + 1))


def test_as_many_versions_as_one_request_may_name_fit_into_its_answer(port):
    w.seal(port, "dataset/a", objects=tuple(w.record(number, member=f"file-{number}") for number in range(8)))
    assert len(w.open_(port, *["dataset/a@1"] * between.BATCH).released) == between.BATCH


def test_the_key_crosses_sealed_to_the_key_that_the_log_names(world, place):
    """What stands on the wire holds no key, opens with the caller's private key only, and for its own request only."""
    plain = world.port()
    w.seal(plain, "dataset/a")
    wire = []
    with served(plain, place, seen=wire), contextlib.closing(UnixPort(place, world.domain)) as port:
        key = w.key_of(port, w.open_(port, "dataset/a").released[0].lease)
    assert not any(key in raw for raw in wire)
    asked, answered = next(
        (codec.decode(a), codec.decode(b)) for a, b in zip(wire[::2], wire[1::2], strict=True) if b"open-versions" in a
    )
    blob = answered.released[0].lease.key
    assert blob.handle is None
    assert len(blob.sealed) == 32 + 1136
    intent = next(facts for kind, facts, _ in w.leaves(plain) if kind == "release.intent" and facts.get("recipient"))
    from hermetic.custody.call import recipient_hash
    from hermetic.formats.binary_text import to_base64url

    assert intent["recipient"] == to_base64url(recipient_hash(asked.recipient))


def with_key(released, blob):
    return dataclasses.replace(released, lease=dataclasses.replace(released.lease, key=blob))


def test_a_key_of_another_answer_does_not_open(world, place):
    """Somebody in between who exchanges sealed keys, or the request that they belong to, gets an error and no key."""
    plain = world.port()
    for name in ("dataset/a", "dataset/b"):
        w.seal(plain, name)

    def swap(answer):
        if not hasattr(answer, "released"):
            return answer
        one, two = answer.released
        exchanged = [
            dataclasses.replace(item, lease=dataclasses.replace(item.lease, key=other.lease.key))
            for item, other in ((one, two), (two, one))
        ]
        return dataclasses.replace(answer, released=tuple(exchanged))

    with served(plain, place, change=swap), contextlib.closing(UnixPort(place, world.domain)) as port, pytest.raises(WrongKey):
        w.open_(port, "dataset/a", "dataset/b")


@pytest.mark.parametrize("how", ["relayed", "replayed", "another request"])
def test_a_key_from_somebody_in_between_is_not_taken(world, place, how):
    """A user who may ask custody too answers with a key that they know, under a receipt that custody gave to them."""
    plain = world.port()
    w.seal(plain, "dataset/a")

    class Between:
        knows = staticmethod(lambda _user: True)
        first = None

        def ask_for(self, _user, request):
            private = hpke.PrivateKey.generate()
            mine = dataclasses.replace(request, recipient=private.public)
            if how == "another request":
                mine = dataclasses.replace(request, request=w.fresh())
            said = plain.ask_for(os.geteuid(), mine)
            if how == "replayed":
                said = self.first = self.first or plain.ask_for(os.geteuid(), request)
            info = lease_key.binding(world.domain, request.request, said.receipt.index, said.lease, request.recipient)
            known = KeyBlob(handle=None, sealed=hpke.seal(request.recipient, bytes(32), info))
            return dataclasses.replace(said, lease=dataclasses.replace(said.lease, key=known))

    with served(Between(), place), contextlib.closing(UnixPort(place, world.domain)) as port:
        if how == "replayed":
            w.begin(port, "dataset/b")
        with pytest.raises(IntegrityError, match="not about this request"):
            w.begin(port, "dataset/b")


@pytest.mark.parametrize(
    "blob", [KeyBlob(handle="x", sealed=None), KeyBlob(handle=None, sealed=None), KeyBlob(handle="x", sealed=b"y")]
)
def test_a_key_that_is_not_sealed_is_refused(world, place, blob):
    plain = world.port()
    w.seal(plain, "dataset/a")

    def change(answer):
        if not hasattr(answer, "released"):
            return answer
        return dataclasses.replace(answer, released=(with_key(answer.released[0], blob),))

    with served(plain, place, change=change), contextlib.closing(UnixPort(place, world.domain)) as port, pytest.raises(IntegrityError):
        w.open_(port, "dataset/a")


def test_what_names_no_recipient_is_refused_before_anything_is_decided(world, place):
    plain = world.port()
    w.seal(plain, "dataset/a")
    before = len(w.leaves(plain))
    for recipient, error in ((None, UsageError), (b"short", FormatError), (bytes(1216), FormatError)):
        with pytest.raises(error):
            plain.ask_for(os.geteuid(), OpenVersions(w.fresh(), ("dataset/a",), Purpose.PREPARE, recipient=recipient))
    kinds = [kind for kind, _, _ in w.leaves(plain)[before:]]
    assert "release.intent" not in kinds
    assert "release.outcome" not in kinds


def test_a_key_is_collected_once(port):
    w.seal(port, "dataset/a")
    lease = w.open_(port, "dataset/a").released[0].lease
    w.key_of(port, lease)
    with pytest.raises(LeaseEnded):
        port.redeem(lease.key)
    with pytest.raises(LeaseEnded):
        port.redeem(KeyBlob(handle=None, sealed=b"x"))


def test_the_caller_is_who_the_kernel_says(world, place):
    """No field of a message says who asks."""
    plain = world.port()
    w.seal(plain, "dataset/a")
    with pytest.raises(Denied, match="not known"):
        plain.ask_for(65533, Hello())
    w.enrol(plain, "nobody", ("auditor",))
    with pytest.raises(PolicyDenied):
        plain.ask_for(65534, dataclasses.replace(OpenVersions(w.fresh(), ("dataset/a",), Purpose.PREPARE), recipient=_public()))


def _public():
    from hermetic.crypto.hpke import PrivateKey

    return PrivateKey.generate().public


def test_refusals_come_over_as_what_they_are(port):
    w.seal(port, "dataset/a")
    with pytest.raises(PolicyDenied) as refused:
        w.open_(port, "dataset/a", purpose=Purpose.DEBUG)
    assert refused.value.reasons
    with pytest.raises(NotFound):
        w.open_(port, "dataset/none")


def test_many_threads_share_a_port(port):
    w.seal(port, "dataset/a")
    wrong = []

    def work():
        try:
            for _ in range(10):
                w.key_of(port, w.open_(port, "dataset/a").released[0].lease)
        except HermeticError as error:
            wrong.append(error)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_process_with_very_many_open_files_asks_again_on_a_kept_connection(world, place):
    """A training process has thousands; select() takes no descriptor above 1,023."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(before[0], min(4096, before[1])), before[1]))
    try:
        with served(world.port(), place), contextlib.ExitStack() as stack:
            for _ in range(1100):
                stack.callback(os.close, os.open(os.devnull, os.O_RDONLY))
            with contextlib.closing(UnixPort(place, world.domain)) as port:
                for _ in range(2):
                    port.ask(Hello())
                assert min(peer.fileno() for peer in port._transport._idle) > 1023
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_a_forked_child_is_told_to_dial_anew(port):
    port.ask(Hello())
    child = os.fork()
    if child == 0:
        try:
            port.ask(Hello())
        except UsageError:
            os._exit(0)
        os._exit(1)
    assert os.waitpid(child, 0)[1] == 0


# custody goes away


def test_custody_comes_back(world, place):
    """A restart between two requests is not noticed; while nobody is there, KeyServiceUnavailable."""
    plain = world.port()
    with contextlib.closing(UnixPort(place, world.domain)) as port:
        with pytest.raises(KeyServiceUnavailable, match="out of reach"):
            port.ask(Hello())
        for _ in range(2):
            with served(plain, place):
                port.ask(Hello())
        with pytest.raises(KeyServiceUnavailable, match="out of reach"):
            port.ask(Hello())


@pytest.mark.parametrize(("request_", "again"), [(ListKeys(), True), (RotateKey("x", "y"), False)])
def test_what_may_be_repeated_is(world, place, request_, again):
    """A connection that breaks while custody answers: a request that changes nothing is sent once more, another is told."""
    plain, asked = world.port(), []

    class Breaks:
        knows = staticmethod(lambda _user: True)

        def ask_for(self, user, request):
            asked.append(type(request))
            if len(asked) == 1:
                for peer in list(server._open):
                    peer.shutdown(socket.SHUT_RDWR)
            return plain.ask_for(user, request)

    server = UnixServer(Breaks(), place)
    thread = threading.Thread(target=server.serve)
    thread.start()
    try:
        with contextlib.closing(UnixPort(place, world.domain)) as port:
            if again:
                assert port.ask(request_).keys is not None
            else:
                with pytest.raises(KeyServiceUnavailable, match="is not known"):
                    port.ask(request_)
        assert len(asked) == (2 if again else 1)
    finally:
        server.close()
        thread.join()


def test_a_release_that_is_asked_for_again_is_another_on_record(world, place):
    """The log knows requests by their ids: an id that is used twice would look like a key without its entry."""
    plain, broke = world.port(), []
    w.seal(plain, "dataset/a")

    class BreaksOnce:
        knows = staticmethod(lambda _user: True)

        def ask_for(self, user, request):
            said = plain.ask_for(user, request)
            if not broke:
                broke.append(request.request)
                for peer in list(server._open):
                    peer.shutdown(socket.SHUT_RDWR)
            return said

    with served(BreaksOnce(), place) as server, contextlib.closing(UnixPort(place, world.domain)) as port:
        w.key_of(port, w.open_(port, "dataset/a").released[0].lease)
    opened = [facts["request"] for kind, facts, _ in w.leaves(plain) if kind == "release.intent" and facts["action"] == "open"]
    assert opened[0] == broke[0]
    assert len(set(opened)) == 2


def test_an_id_of_a_request_that_is_at_work(world):
    """Somebody who uses it meanwhile would make the log look as if a key had left without its entry."""
    plain = world.port()
    w.seal(plain, "dataset/a")
    opening = OpenVersions(w.fresh(), ("dataset/a",), Purpose.PREPARE, recipient=_public())
    told = []

    def hook(name):
        if name == "custody.release.intent" and not told:
            with pytest.raises(Conflict, match="at work") as refused:
                plain.ask_for(os.geteuid(), opening)
            told.append(refused.value)

    steps.install(hook)
    try:
        plain.ask_for(os.geteuid(), opening)
    finally:
        steps.install(None)
    assert len(told) == 1
    plain.ask_for(os.geteuid(), dataclasses.replace(opening, request=w.fresh()))


def test_who_is_slow_is_not_asked_twice(world, place, monkeypatch):
    """A request that takes long is at work still: sent again it would be done twice at the same time."""
    plain, asked, go_on = world.port(), [], threading.Event()

    class Slow:
        knows = staticmethod(lambda _user: True)

        def ask_for(self, user, request):
            asked.append(request)
            go_on.wait(20)
            return plain.ask_for(user, request)

    monkeypatch.setattr(remote, "ANSWER_S", 0.2)
    with served(Slow(), place), contextlib.closing(UnixPort(place, world.domain)) as port:
        with pytest.raises(KeyServiceUnavailable, match="in time"):
            port.ask(ListKeys())
        go_on.set()
    assert len(asked) == 1


def test_an_exposure_is_not_asked_for_twice(world, place):
    """The second would find the first one's path taken."""
    asked = []

    class Breaks:
        knows = staticmethod(lambda _user: True)

        def ask_for(self, _user, request):
            asked.append(request)
            for peer in list(server._open):
                peer.shutdown(socket.SHUT_RDWR)

    with served(Breaks(), place) as server, contextlib.closing(UnixPort(place, world.domain)) as port:
        exposing = OpenVersions(w.fresh(), ("dataset/a",), Purpose.PREPARE, exposure=ExposureTerms("/plain/a", 2 * w.START))
        with pytest.raises(KeyServiceUnavailable, match="is not known"):
            port.ask(exposing)
    assert len(asked) == 1


def test_every_request_that_is_sent_again_exists():
    assert set(codec.registered()) >= remote.AGAIN


# who sends what is no message


def raw_peer(place):
    peer = socket.socket(socket.AF_UNIX)
    peer.connect(str(place))
    return peer


@pytest.mark.parametrize(
    "sent",
    [
        b"\x7f\xff\xff\xff",
        b"\x00\x00\x00\x02{}",
        b"\x00\x00\x00\x00",
        len(b'{"body":{},"hermetic":1,"type":"done"}').to_bytes(4, "big") + b'{"body":{},"hermetic":1,"type":"done"}',
        b"\x00\x01\x00\x00" + b"[" * 65536,
        b"\x00\x00\x00\x04\xff\xff\xff\xff",
    ],
)
def test_no_message_ends_the_connection_and_nothing_else(world, place, port, sent):
    with contextlib.closing(raw_peer(place)) as peer:
        peer.sendall(sent)
        said = codec.decode(framing.receive(peer, wait_s=10))
        assert isinstance(said, Refusal)
        assert said.error == "FormatError"
        assert peer.recv(1) == b""
    port.ask(Hello())


def test_who_stalls_in_a_message_is_hung_up_on(place, port, monkeypatch):
    monkeypatch.setattr(framing, "WHOLE_S", 0.2)
    with contextlib.closing(raw_peer(place)) as peer:
        peer.sendall(b"\x00\x00")
        peer.settimeout(20)
        assert peer.recv(1) == b""
    port.ask(Hello())


def test_who_never_reads_and_who_sends_slowly_stand_in_nobody_elses_way(world, place, monkeypatch):
    """One user's places are taken by messages that never end; another user is answered all the while."""
    monkeypatch.setattr(unix_socket, "AT_ONCE", 2)
    plain, users = world.port(), iter([1, 1, 1, 2])
    w.enrol(plain, "nobody", ("auditor",))
    monkeypatch.setattr(unix_socket, "peer_user", lambda _peer: {1: os.geteuid(), 2: 65534}[next(users)])
    answered = []
    with served(plain, place) as server, contextlib.ExitStack() as stack:
        slow = [stack.enter_context(contextlib.closing(raw_peer(place))) for _ in range(2)]
        for peer in slow:
            peer.sendall((1 << 20).to_bytes(4, "big") + b"{")
        until = time.monotonic() + 20
        while server._turns.get(os.geteuid()) is None or server._turns[os.geteuid()]._value:
            assert time.monotonic() < until
        waits = stack.enter_context(contextlib.closing(raw_peer(place)))
        framing.send(waits, codec.encode(Hello()))
        other = stack.enter_context(contextlib.closing(raw_peer(place)))
        framing.send(other, codec.encode(Hello()))
        answered.append(codec.decode(framing.receive(other, wait_s=20)))
        assert answered[0].domain == world.domain
        with pytest.raises(KeyServiceUnavailable):
            framing.receive(waits, wait_s=0.2)
        slow[0].close()
        assert codec.decode(framing.receive(waits, wait_s=20)).domain == world.domain


def test_strangers_share_a_few_connections(world, place, monkeypatch):
    """However many user ids they come with; who is known is let in beside them."""
    monkeypatch.setattr(unix_socket, "OF_STRANGERS", 2)
    uids = iter([70001, 70002, 70003, os.geteuid()])
    monkeypatch.setattr(unix_socket, "peer_user", lambda _peer: next(uids))
    with served(world.port(), place), contextlib.ExitStack() as stack:
        for expected in ("NotAuthenticated", "NotAuthenticated", "KeyServiceUnavailable", None):
            peer = stack.enter_context(contextlib.closing(raw_peer(place)))
            with contextlib.suppress(KeyServiceUnavailable):  # it may have been refused already
                framing.send(peer, codec.encode(Hello()))
            said = codec.decode(framing.receive(peer, wait_s=20))
            assert getattr(said, "error", None) == expected


def test_no_more_threads(world, place, monkeypatch):
    """The service says so, and goes on once there are some again."""
    real, fails = threading.Thread.start, [True]

    def start(thread):
        if thread.name.startswith("custody-") and fails:
            fails.clear()
            raise RuntimeError("can't start new thread")
        real(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    with served(world.port(), place) as server, contextlib.closing(UnixPort(place, world.domain)) as port:
        with contextlib.closing(raw_peer(place)) as peer:
            assert codec.decode(framing.receive(peer, wait_s=20)).error == "KeyServiceUnavailable"
        port.ask(Hello())
        assert len(server._open) == 1


def test_one_user_has_so_many_connections(world, place, monkeypatch):
    monkeypatch.setattr(unix_socket, "OF_A_USER", 3)
    with served(world.port(), place), contextlib.ExitStack() as stack:
        peers = [stack.enter_context(contextlib.closing(raw_peer(place))) for _ in range(3)]
        for peer in peers:
            framing.send(peer, codec.encode(Hello()))
            framing.receive(peer, wait_s=20)
        one_more = stack.enter_context(contextlib.closing(raw_peer(place)))
        said = codec.decode(framing.receive(one_more, wait_s=20))
        assert said.error == "KeyServiceUnavailable"
        peers[0].close()
        with contextlib.closing(UnixPort(place, world.domain)) as port:
            until = time.monotonic() + 20
            while True:  # the server notices the free place in its own time
                with contextlib.suppress(KeyServiceUnavailable):
                    port.ask(Hello())
                    break
                assert time.monotonic() < until


def test_a_defect_tells_the_caller_nothing(world, place, caplog):
    class Defect:
        knows = staticmethod(lambda _user: True)

        def ask_for(self, _user, _request):
            raise ValueError("secret detail")

    with served(Defect(), place), contextlib.closing(UnixPort(place, world.domain)) as port:
        with pytest.raises(HermeticError, match=r"custody failed; its log has it under [0-9a-f]{8}") as told:
            port.ask(Hello())
        assert "secret detail" not in str(told.value)
    assert "secret detail" in caplog.text


# the place


def test_a_place_that_is_taken(world, place):
    plain = world.port()
    with served(plain, place), pytest.raises(Conflict, match="already"):
        UnixServer(plain, place)
    place.write_text("something else")
    with pytest.raises(Conflict, match="not a socket"):
        UnixServer(plain, place)
    assert place.read_text() == "something else"


def test_a_socket_that_a_killed_service_left_is_replaced(world, place):
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(place))
    left.close()
    with served(world.port(), place), contextlib.closing(UnixPort(place, world.domain)) as port:
        assert port.ask(Hello()).domain == world.domain
    assert not place.exists()


def test_places_that_the_client_does_not_believe(world, place):
    with pytest.raises(UsageError):
        UnixPort(Path("relative"), world.domain).ask(Hello())
    place.write_text("no socket")
    with pytest.raises(Denied, match="not a socket"):
        UnixPort(place, world.domain).ask(Hello())
    place.unlink()
    with served(world.port(), place):
        place.parent.chmod(0o777)
        with pytest.raises(Denied, match="others can write"):
            UnixPort(place, world.domain).ask(Hello())


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o775])
def test_places_that_a_service_does_not_take(world, place, mode):
    """Whoever can write the folder can exchange the socket; sticky or not, they can put one there while nobody serves."""
    place.parent.chmod(mode)
    with pytest.raises(Denied, match="others can write"):
        UnixServer(world.port(), place)
    assert not place.exists()


def test_the_whole_way_to_the_socket_counts(world, place, tmp_path):
    """A folder higher up that others can write lets them move the one below away; a sticky one does not."""
    with served(world.port(), place):
        tmp_path.chmod(0o777)
        with pytest.raises(Denied, match="others can write"):
            UnixPort(place, world.domain).ask(Hello())
        tmp_path.chmod(0o1777)
        with contextlib.closing(UnixPort(place, world.domain)) as port:
            port.ask(Hello())


def test_links_on_the_way(world, place, tmp_path):
    """Followed, where those who made them are trusted; round and round they end."""
    link, back = tmp_path / "link", tmp_path / "a" / "back"
    link.symlink_to("run")
    back.parent.mkdir()
    back.symlink_to("../link")
    (tmp_path / "round").symlink_to("round")
    with served(world.port(), place):
        for folder in (link, back):
            with contextlib.closing(UnixPort(folder / place.name, world.domain)) as port:
                port.ask(Hello())
        with pytest.raises(KeyServiceUnavailable):
            UnixPort(tmp_path / "round" / place.name, world.domain).ask(Hello())
        tmp_path.chmod(0o777)
        with pytest.raises(Denied, match="others can write"):
            UnixPort(link / place.name, world.domain).ask(Hello())
    tmp_path.chmod(0o755)
    with pytest.raises(Denied, match="one of too many"):
        check_folders(tmp_path / "round", frozenset({0, os.geteuid()}))


@pytest.mark.skipif(os.geteuid() != 0, reason="gives files to another user")
def test_folders_and_links_of_others(world, place, tmp_path):
    link = tmp_path / "link"
    link.symlink_to("run")
    with served(world.port(), place):
        os.lchown(link, 65533, 65533)
        with pytest.raises(Denied, match="a link that others made"):
            UnixPort(link / place.name, world.domain).ask(Hello())
        os.chown(place.parent, 65533, 65533)
        with pytest.raises(Denied, match="belongs to another user"):
            UnixPort(place, world.domain).ask(Hello())
        os.chown(place.parent, 0, 0)


def test_of_two_services_at_one_place_one_is_told(world, place):
    """Also when both find a socket that was left behind; and one that ends leaves the socket of another alone."""
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(place))
    left.close()
    made, told, plain = [], [], world.port()

    def start():
        try:
            made.append(UnixServer(plain, place))
        except Conflict as error:
            told.append(error)

    threads = [threading.Thread(target=start) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(made), len(told)) == (1, 5)
    made[0]._listener.close()  # as if killed
    with served(plain, place):
        made[0].close()
        with contextlib.closing(UnixPort(place, world.domain)) as port:
            port.ask(Hello())
