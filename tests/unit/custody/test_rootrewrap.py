"""A root whose key was rotated inside its service: every wrap comes to the newest version, on record, whatever stops it."""

from __future__ import annotations

import os

import pytest

from hermetic import steps
from hermetic.crypto.secret import Secret
from hermetic.domain import root_moves
from hermetic.errors import Conflict, IntegrityError, KeyServiceUnavailable, UsageError
from hermetic.formats.messages import keys, log, roots
from hermetic.ids import DataClass
from hermetic.keys.domain_file import DomainFile
from hermetic.keys.provider import RootId
from hermetic.providers import registry
from hermetic.testing.fake_provider import FakeProvider, Fault
from tests import world as w
from tests.unit.custody.test_rooting import LOCAL, add, first, key_of, listed, place

SERVICE = "fake:service"


HEAD = 33  # bytes of a wrap that say the version


class Service(FakeProvider):
    """A key with versions, which stand before each wrap; older ones open. Unwraps and wraps one by one."""

    version = 1

    def head(self):
        return bytes([self.version]) + os.urandom(HEAD - 1)

    def wrap(self, secret, context):
        return self.head() + super().wrap(secret, context)

    def unwrap(self, wrapped, context):
        return super().unwrap(wrapped[HEAD:], context)


class Rewraps(Service):
    """One that rewraps one wrap at a time, as AWS KMS."""

    def rewrap(self, wrapped, context):
        self._arrive("rewrap", context)
        return self.head() + wrapped[HEAD:]


class Batches(Service):
    """One that works on many at once, as OpenBao, and answers with the error of each."""

    spoil = None

    def unwrap_many(self, items):
        return [self.unwrap(*item) for item in items]

    def rewrap_many(self, items):
        self._arrive("rewrap", b"")
        made = [self.head() + wrapped[HEAD:] for wrapped, _ in items]
        if self.spoil is not None:
            made[-1] = self.spoil(*items[-1])
        return made


@pytest.fixture(params=[Service, Rewraps, Batches])
def service(request, world, port):
    """A domain with two KEKs and a second root, in a service."""

    class Backend:
        made: dict = {}  # noqa: RUF012 - of this test

        def open_(self, _uri, place_of):
            return self.made[place_of.root_id]

        def create(self, uri, place_of, _asked):
            return self.made.setdefault(place_of.root_id, request.param(place_of.root_id, uri=uri))

    registry.register("fake", Backend())
    w.seal(port)
    w.seal(port, "dataset/second", DataClass.INTERNAL)
    root = add(world, port, SERVICE)
    yield Backend.made[root]
    Backend.made.clear()
    registry.register("fake", None)
    steps.install(None)


def versions(world, root):
    """Under which version of the service's key each wrap of a root is: of KEKs, signing keys, the domain secret."""
    from hermetic.keys import slots

    keks = [row[0][0] for row in w.sql(world, "SELECT wrapped FROM kek_slot WHERE root_id = ?", root)]
    signing = [slots.decode(row[0])[RootId(root)][0] for row in w.sql(world, "SELECT wrapped FROM secret_key")]
    entries = DomainFile.decode((world.data / "domain.json").read_bytes()).roots
    return [*keks, *signing, next(item.wrapped[0] for item in entries if item.root_id == root)]


def rewrap(port, root, limit=100, **more):
    done = []
    while True:
        answer = port.ask(roots.RewrapRoot(root, "the key was rotated", limit, **more))
        done.append(answer.done)
        more.pop("restart", None)
        if not answer.left:
            return done


def test_every_wrap_comes_to_the_newest_version(world, port, service):
    root, before = service.root_id, key_of(port)
    old = [row[0] for row in w.sql(world, "SELECT wrapped FROM kek_slot WHERE root_id = ?", root)]
    assert versions(world, root) == [1] * 5
    service.version = 2
    assert rewrap(port, root) == [4, 1]
    assert versions(world, root) == [2] * 5
    (local,) = set(listed(port)) - {root}
    (world.data / f"root-{local}.json").rename(world.root / "away")
    assert key_of(port) == before, "through the service alone"
    (world.root / "away").rename(world.data / f"root-{local}.json")
    assert (listed(port)[root].slots, listed(port)[root].keys) == (4, 4)
    files = [path.read_bytes() for path in world.data.iterdir() if path.name.startswith("custody.db")]
    assert not any(wrapped[:HEAD] in raw for wrapped in old for raw in files), "nothing of the old wraps is left"
    assert not [pair for pair in port.ask(log.VerifyLog()).findings if pair.value.startswith("high") or pair.name.startswith("row-")]


def test_it_is_on_record_batch_by_batch(world, port, service):
    service.version = 2
    assert rewrap(port, service.root_id, 3) == [3, 1, 1]
    said = [(facts, opened) for kind, facts, opened in w.leaves(port) if kind == "root.rewrapped"]
    assert [(facts["count"], facts.get("domain", False)) for facts, _ in said] == [(3, False), (1, False), (0, True)]
    assert {opened["reason"] for _, opened in said} == {"the key was rotated"}
    assert all(facts["policies"] == ["owner-administers"] for facts, _ in said)


def test_an_interrupted_run_goes_on_and_can_begin_anew(world, port, service):
    root = service.root_id
    service.version = 2
    assert port.ask(roots.RewrapRoot(root, limit=1)).left == 4
    assert sorted(versions(world, root)) == [1, 1, 1, 1, 2]
    assert rewrap(port, root) == [3, 1], "behind where it stopped"
    assert versions(world, root) == [2] * 5
    service.version = 3
    assert port.ask(roots.RewrapRoot(root, limit=1)).left == 4
    service.version = 4
    assert rewrap(port, root, restart=True) == [4, 1]
    assert versions(world, root) == [4] * 5


@pytest.mark.parametrize("step", ["custody.root.rewrapped", "roots.domain-file.replaced", "custody.root.domain-rewrapped"])
@pytest.mark.embedded_only
def test_after_a_crash_at_any_step_the_same_goes_on(world, port, service, step):
    class Stop(BaseException):
        pass

    def stop(name):
        if name == step:
            raise Stop

    before, root = key_of(port), service.root_id
    service.version = 2
    steps.install(stop)
    with pytest.raises(Stop):
        rewrap(port, root)
    steps.install(None)
    assert key_of(world.port()) == before
    rewrap(port, root)
    assert versions(world, root) == [2] * 5
    assert key_of(world.port()) == before


def test_a_service_that_is_away_leaves_everything_as_it_was(world, port, service):
    service.version = 2
    service.fault = Fault.UNREACHABLE
    with pytest.raises(KeyServiceUnavailable):
        rewrap(port, service.root_id)
    service.fault = None
    assert versions(world, service.root_id) == [1] * 5


@pytest.mark.parametrize("service", [Batches], indirect=True)
@pytest.mark.parametrize("wrong", ["secret", "error", "garbage"])
def test_what_does_not_hold_the_same_is_not_stored(world, port, service, wrong):
    before, root = key_of(port), service.root_id
    spoils = {
        "secret": lambda _wrapped, context: service.wrap(Secret.random(32), context),
        "error": lambda _wrapped, _context: KeyServiceUnavailable("this one is refused"),
        "garbage": lambda wrapped, _context: wrapped[:-1] + bytes([wrapped[-1] ^ 1]),
    }
    service.version, service.spoil = 2, spoils[wrong]
    with pytest.raises((IntegrityError, KeyServiceUnavailable)):
        rewrap(port, root)
    assert versions(world, root) == [1] * 5
    assert key_of(port) == before


def test_a_key_that_changes_meanwhile_is_wrapped_by_the_next_try(world, port, service, monkeypatch):
    other, root = world.port(), service.root_id
    (kek, _) = port.ask(keys.ListKeys()).keys
    wrapped, real = [], type(service).unwrap

    def changing(self, one, context):
        if not wrapped:
            wrapped.append(one)
            other.ask(keys.RotateKey(kek.kek, "meanwhile"))
        return real(self, one, context)

    service.version = 2
    monkeypatch.setattr(type(service), "unwrap", changing)
    rewrap(port, root)
    assert set(versions(world, root)) == {2}


def test_what_is_not_rewrapped(world, port, service):
    root = service.root_id
    for limit in (0, 401):
        with pytest.raises(UsageError):
            port.ask(roots.RewrapRoot(root, limit=limit))
    port.ask(roots.SetRootState(root, "suspend", "x"))
    with pytest.raises(Conflict, match="suspended root gets no new wraps"):
        port.ask(roots.RewrapRoot(root))


def test_a_local_root_is_wrapped_anew_too(world, port):
    w.seal(port)
    root, before = first(port), key_of(port)
    assert rewrap(port, root) == [3, 1]
    assert key_of(world.port()) == before
    assert place(world, root).root_id == root


def test_as_a_person_does_it(world):
    connection = world.connect()
    w.seal(connection)
    added = root_moves.add_root(connection, LOCAL).root.root
    seen = []
    done, last = root_moves.rewrap(connection, added, reason="test", progress=lambda made, left: seen.append((made, left)))
    assert (done, last.left, seen) == (4, 0, [(3, 1), (1, 0)])
