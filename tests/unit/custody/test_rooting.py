"""Roots: added, extended, suspended, resumed, deactivated, dropped; beside other processes, with providers that fail, and refused."""

from __future__ import annotations

import concurrent.futures
import pwd
import time

import pytest

from hermetic.crypto.secret import Secret
from hermetic.custody import rooting
from hermetic.domain import root_moves
from hermetic.domain.root_home import HomeRoots
from hermetic.errors import (
    ApprovalNeeded,
    Conflict,
    IntegrityError,
    KeyServiceUnavailable,
    NotFound,
    PolicyDenied,
    Unsupported,
    UsageError,
)
from hermetic.formats.messages import keys, log, roots
from hermetic.formats.messages.domain import GatherFacts
from hermetic.ids import DataClass
from hermetic.keys.domain_file import DomainFile
from hermetic.keys.provider import RootId
from hermetic.providers import private_file, registry
from hermetic.providers.place import Place
from hermetic.testing.fake_provider import FakeProvider, Fault
from tests import world as w
from tests.unit.custody.approving import Person, the_request

LOCAL, FAKE = "local:insecure-file", "fake:one"


class Fakes:
    """A backend whose roots are in this process; all of a URI are the same one."""

    def __init__(self):
        self.made = {}

    def open_(self, uri, place):
        return self.made[place.root_id]

    def create(self, uri, place, _asked):
        return self.made.setdefault(place.root_id, FakeProvider(place.root_id, uri=uri))


@pytest.fixture
def fakes():
    made = Fakes()
    registry.register("fake", made)
    yield made
    registry.register("fake", None)


def listed(port):
    return {row.root: row for row in port.ask(roots.ListRoots()).roots}


def first(port):
    return next(iter(listed(port)))


def place(world, root):
    return Place(world.data, world.domain, RootId(root))


def extend(port, root, limit=100):
    added = 0
    while True:
        answer = port.ask(roots.ExtendRoot(root, limit))
        added += answer.added
        if not answer.left:
            return added


def add(world, port, uri=LOCAL):
    """What `root_moves.add_root` does, message by message; returns the root's id."""
    root = port.ask(roots.AddRoot(uri, "moving")).root.root
    registry.create_root(uri, place(world, root))
    extend(port, root)
    port.ask(roots.SetRootState(root, "activate", "moving"))
    return root


def drop(port, root):
    port.ask(roots.SetRootState(root, "deactivate", "moving"))
    return port.ask(roots.DropRoot(root, "moving"))


def key_of(port, name="dataset/patients"):
    return w.key_of(port, w.open_(port, name).released[0].lease)


def test_a_whole_move(world, port):
    w.seal(port)
    before, old = key_of(port), first(port)
    new = add(world, port)
    assert {(row.state, row.slots, row.keys, row.opens_domain) for row in listed(port).values()} == {("active", 3, 3, True)}
    done = drop(port, old)
    assert (done.slots, done.material) == (3, "its file was overwritten and removed")
    row = listed(port)[old]
    assert (row.state, row.status, row.slots, row.opens_domain, row.wiped_ms) == ("destroyed", "absent", 0, False, w.START)
    assert key_of(port) == before
    assert {path.name for path in world.data.glob("root-*")} == {f"root-{new}.json"}
    assert {item.root_id for item in DomainFile.decode((world.data / "domain.json").read_bytes()).roots} == {new}
    assert key_of(world.port()) == before, "a process that starts afterwards"
    with pytest.raises(Conflict, match="dropped already"):
        port.ask(roots.DropRoot(old, "again"))
    findings = port.ask(log.VerifyLog()).findings
    assert not [pair for pair in findings if pair.value.startswith("high") or pair.name.startswith("row-")]


def test_every_step_is_on_the_log_with_who_why_and_the_policies(world, port):
    old = first(port)
    w.seal(port)
    new = add(world, port)
    drop(port, old)
    found = [entry for entry in w.leaves(port) if entry[0].startswith("root.")][1:]
    assert [(kind, facts["root"]) for kind, facts, _ in found] == [
        ("root.added", new),
        ("root.extended", new),
        ("root.extended", new),
        ("root.state", new),
        ("root.state", old),
        ("root.reduced", old),
        ("root.removed", old),
        ("root.wiped", old),
    ]
    assert all(facts["policies"] == ["owner-administers"] for _, facts, _ in found)
    assert all(opened["principal"] for _, _, opened in found)
    assert {opened["reason"] for _, _, opened in found if "reason" in opened} == {"moving"}


def test_processes_that_run_meanwhile_read_write_and_make_keys(world):
    admin, other = world.port(), world.port()
    w.seal(other)
    before, old = key_of(other), first(admin)
    new = add(world, admin)
    w.seal(other, "dataset/second", DataClass.INTERNAL)
    assert {row.slots for row in listed(other).values()} == {4}, "its new key has a slot under both"
    drop(admin, old)
    assert key_of(other) == before
    w.seal(other, "dataset/third", DataClass.CONFIDENTIAL)
    assert key_of(world.port(), "dataset/third") == key_of(other, "dataset/third")
    assert listed(other)[new].slots == 5


def test_a_key_made_between_extension_and_activation_is_not_missed(world, monkeypatch):
    """A few are wrapped by the activation itself, more only by another extension."""
    monkeypatch.setattr(rooting, "FEW", 2)
    port = world.port()
    root = port.ask(roots.AddRoot(LOCAL)).root.root
    registry.create_root(LOCAL, place(world, root))
    extend(port, root)
    for number, data_class in enumerate(DataClass):
        w.seal(port, f"dataset/of-{number}", data_class)
    with pytest.raises(Conflict, match="4 of 6 keys have no slot"):
        port.ask(roots.SetRootState(root, "activate"))
    assert port.ask(roots.ExtendRoot(root, 2)).left == 2
    row = port.ask(roots.SetRootState(root, "activate")).root
    assert (row.state, row.slots, row.keys) == ("active", 6, 6)


def test_in_batches_of_one(world, port):
    for number, data_class in enumerate(DataClass):
        w.seal(port, f"dataset/of-{number}", data_class)
    root = port.ask(roots.AddRoot(LOCAL)).root.root
    registry.create_root(LOCAL, place(world, root))
    assert port.ask(roots.ExtendRoot(root, 1)) == roots.RootExtended(root, 1, 5)
    assert extend(port, root, 1) == 5
    assert extend(port, root) == 0
    for limit in (0, 401):
        with pytest.raises(UsageError):
            port.ask(roots.ExtendRoot(root, limit))


def test_what_was_announced_is_taken_up_again(world, port):
    root = port.ask(roots.AddRoot(LOCAL)).root.root
    again = port.ask(roots.AddRoot(LOCAL))
    assert (again.root.root, again.root.state, again.receipt) == (root, "pre-active", None)
    for request in (roots.SetRootState(root, "activate"), roots.ExtendRoot(root)):
        with pytest.raises(KeyServiceUnavailable, match="cannot be read"):
            port.ask(request)
    assert listed(port)[root].opens_domain is False
    done = port.ask(roots.DropRoot(root, "never made"))
    assert (done.slots, done.material) == (0, "its file was gone already")


def test_a_root_that_does_not_open_the_domain_yet_is_not_activated(world, port):
    root = port.ask(roots.AddRoot(LOCAL)).root.root
    registry.create_root(LOCAL, place(world, root))
    with pytest.raises(Conflict, match="does not open the domain secret yet"):
        port.ask(roots.SetRootState(root, "activate"))


def test_a_drop_that_stopped_before_the_wipe_is_finished(world, monkeypatch):
    port = world.port()
    old, new = first(port), add(world, port)
    port.ask(roots.SetRootState(old, "deactivate"))
    with monkeypatch.context() as patch:
        patch.setattr(HomeRoots, "remove", lambda *_: (_ for _ in ()).throw(KeyServiceUnavailable("the keyring is away")))
        with pytest.raises(KeyServiceUnavailable):
            port.ask(roots.DropRoot(old, "moving"))
    assert (listed(port)[old].state, listed(port)[old].wiped_ms) == ("destroyed", None)
    assert listed(world.port())[new].state == "active"
    assert {(fact.id, fact.state) for fact in port.ask(GatherFacts()).roots} == {(old, "destroyed"), (new, "active")}
    done = port.ask(roots.DropRoot(old, "moving"))
    assert (done.slots, done.root.wiped_ms) == (0, w.START)
    assert [fact.id for fact in port.ask(GatherFacts()).roots] == [new], "what is gone is no news"


@pytest.mark.embedded_only
def test_that_a_root_opens_the_domain_is_on_record_after_a_crash_too(world, port, monkeypatch):
    """The file is replaced within the transaction: a crash in between leaves the entry and no record of it."""
    root = port.ask(roots.AddRoot(LOCAL)).root.root
    registry.create_root(LOCAL, place(world, root))
    put = HomeRoots.put

    def put_and_die(home, file):
        put(home, file)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(HomeRoots, "put", put_and_die)
        with pytest.raises(KeyboardInterrupt):
            port.ask(roots.ExtendRoot(root))
    assert listed(port)[root].opens_domain
    assert not [facts for kind, facts, _ in w.leaves(port) if kind == "root.extended"]
    extend(port, root)
    extend(port, root)
    assert [facts["count"] for kind, facts, _ in w.leaves(port) if kind == "root.extended" and facts.get("domain")] == [0]


def test_another_secret_in_domain_json_keeps_roots_from_going(world):
    """Whoever wrote it may have the other root open what they like: the last true wrap must not go for it."""
    port = world.port()
    old, new = first(port), add(world, port)
    provider = registry.open_provider(LOCAL, place(world, new))
    path = world.data / "domain.json"
    good = path.read_bytes()
    file = DomainFile.decode(good).with_root(Secret(bytes(32)), LOCAL, RootId(new), {RootId(new): provider})
    private_file.write(path, file.encode(), replace=True)
    with pytest.raises(IntegrityError, match="not the one pinned"):
        port.ask(roots.SetRootState(old, "suspend", "x"))
    port.ask(roots.SetRootState(old, "deactivate", "x"))
    with pytest.raises(IntegrityError, match="not the one pinned"):
        port.ask(roots.DropRoot(old, "x"))
    private_file.write(path, good, replace=True)
    assert port.ask(roots.DropRoot(old, "x")).root.state == "destroyed"


@pytest.mark.parametrize("fault", [Fault.UNREACHABLE, Fault.LOCKED])
def test_a_service_that_wraps_and_does_not_unwrap_gets_no_slot(world, fakes, monkeypatch, fault):
    """As one whose policy allows encrypt and not decrypt: only a recovery root is believed without being opened."""
    port = world.port()
    root = port.ask(roots.AddRoot(FAKE)).root.root
    fake = registry.create_root(FAKE, place(world, root))
    wrap = fake.wrap

    def only_wraps(secret, context):
        fake.fault = None
        try:
            return wrap(secret, context)
        finally:
            fake.fault = fault

    monkeypatch.setattr(fake, "wrap", only_wraps)
    with pytest.raises(KeyServiceUnavailable):
        port.ask(roots.ExtendRoot(root))
    assert (listed(port)[root].slots, listed(port)[root].opens_domain) == (0, False)
    fake.fault = None
    monkeypatch.undo()
    extend(port, root)
    monkeypatch.setattr(fake, "wrap", only_wraps)
    with pytest.raises(KeyServiceUnavailable):
        port.ask(roots.SetRootState(root, "activate"))
    assert listed(port)[root].state == "pre-active"


def test_what_is_refused(world, port):
    only = first(port)
    for verb in ("suspend", "deactivate"):
        with pytest.raises(Conflict, match=r"no other root|nothing opens"):
            port.ask(roots.SetRootState(only, verb, "x"))
    with pytest.raises(Conflict, match="active root cannot be dropped"):
        port.ask(roots.DropRoot(only, "x"))
    with pytest.raises(UsageError, match="for a reason"):
        port.ask(roots.DropRoot(only, " "))
    with pytest.raises(UsageError):
        port.ask(roots.SetRootState(only, "burn", "x"))
    with pytest.raises(Conflict, match="no other root"):
        port.ask(roots.SetRootState(only, "compromise", "x"))
    with pytest.raises(UsageError, match="for a reason"):
        port.ask(roots.SetRootState(only, "compromise", " "))
    for text in ("", "abc", "zzzzzz"):
        with pytest.raises(NotFound):
            port.ask(roots.SetRootState(text, "suspend", "x"))
    for uri in ("local", "fake:user@host", "fake:x?token=1", "FAKE:x"):
        with pytest.raises(UsageError):
            port.ask(roots.AddRoot(uri))
    add(world, port)
    port.ask(roots.SetRootState(only, "deactivate", "x"))
    with pytest.raises(Conflict, match="gets no new slots"):
        port.ask(roots.ExtendRoot(only))


def test_only_key_administrators_and_refusals_are_on_the_log(world):
    w.enrol(world.port())
    stranger = world.port(uid=pwd.getpwnam("nobody").pw_uid)
    for request in (roots.AddRoot(LOCAL), roots.DropRoot("abcd", "x"), roots.ExtendRoot("abcd"), roots.CheckRoots()):
        with pytest.raises(PolicyDenied):
            stranger.ask(request)
    denied = [facts for kind, facts, _ in w.leaves(world.port()) if kind in {"access.denied", "denials.counted"}]
    assert denied[0]["action"] == "change-roots"
    assert len(listed(world.port())) == 1


def test_nothing_is_dropped_that_hangs_on_it_alone(world):
    port = world.port()
    w.seal(port)
    old, new = first(port), add(world, port)
    port.ask(roots.SetRootState(old, "deactivate"))
    w.sql(world, "DELETE FROM kek_slot WHERE root_id = ?", new)  # somebody did, around Hermetic
    with pytest.raises(Conflict, match=r"KEK .* hangs on this root alone"):
        port.ask(roots.DropRoot(old, "x"))
    assert listed(port)[old].slots == 3


def test_a_dropped_root_and_an_older_database_open_nothing_that_is_new(world):
    """What drop cannot undo: whoever kept root and wraps. What it must: no wrap under the old root is in the files."""
    port = world.port()
    w.seal(port)
    old = first(port)
    wrap = w.sql(world, "SELECT wrapped FROM kek_slot WHERE root_id = ?", old)[0][0]
    add(world, port)
    drop(port, old)
    for path in world.data.iterdir():
        assert wrap not in path.read_bytes(), path.name


def test_one_provider_down_and_the_other_serves(world, fakes):
    port = world.port()
    w.seal(port)
    before, local = key_of(port), first(port)
    root = add(world, port, FAKE)
    fake = fakes.made[root]
    fake.fault = Fault.UNREACHABLE
    assert key_of(port) == before
    w.seal(port, "dataset/more")
    with pytest.raises(KeyServiceUnavailable) as caught:
        w.seal(port, "dataset/second", DataClass.INTERNAL)
    assert f"hermetic key root suspend {root}" in caught.value.hint
    port.ask(roots.SetRootState(root, "suspend", "the service is down"))
    w.seal(port, "dataset/second", DataClass.INTERNAL)
    assert (listed(port)[root].slots, listed(port)[root].keys) == (3, 4)
    fake.fault = None
    assert port.ask(roots.SetRootState(root, "resume")).root.slots == 4
    (world.data / f"root-{local}.json").rename(world.root / "away")
    assert key_of(port) == before, "now the other one is away"
    assert key_of(world.port(), "dataset/second") == key_of(port, "dataset/second")


def test_a_suspended_root_is_not_asked(world, fakes):
    port = world.port()
    w.seal(port)
    root = add(world, port, FAKE)
    port.ask(roots.SetRootState(root, "suspend", "x"))
    fakes.made[root].calls.clear()
    key_of(port)
    w.seal(port, "dataset/second", DataClass.INTERNAL)
    assert fakes.made[root].calls == []


def test_the_only_root_that_opens_is_not_suspended(world, fakes):
    port = world.port()
    local, root = first(port), add(world, port, FAKE)
    fakes.made[root].fault = Fault.UNREACHABLE
    with pytest.raises(Conflict, match="nothing opens the domain"):
        port.ask(roots.SetRootState(local, "suspend", "x"))
    port.ask(roots.SetRootState(local, "deactivate", "it still opens"))
    with pytest.raises(Conflict, match="hangs on this root alone"):
        port.ask(roots.DropRoot(local, "x"))


@pytest.mark.parametrize("fault", [Fault.WRONG_SECRET, Fault.SHORT_SECRET, Fault.REFUSES])
def test_a_provider_that_lies_gets_no_slot(world, fakes, fault):
    port = world.port()
    w.seal(port)
    root = port.ask(roots.AddRoot(FAKE)).root.root
    registry.create_root(FAKE, place(world, root)).fault = fault
    with pytest.raises(IntegrityError):
        port.ask(roots.ExtendRoot(root))
    assert (listed(port)[root].slots, listed(port)[root].opens_domain) == (0, False)


def test_a_service_is_one_root_only(world, fakes):
    port = world.port()
    add(world, port, FAKE)
    with pytest.raises(Conflict, match="is fake:one already"):
        port.ask(roots.AddRoot(FAKE))


def test_a_provider_that_this_machine_cannot_open(world, fakes):
    """The library of one root is missing here: the other serves, and the listing says what is wrong."""
    port = world.port()
    w.seal(port)
    before, root = key_of(port), add(world, port, FAKE)
    registry.register("fake", None)
    other = world.port()
    assert key_of(other) == before
    row = listed(other)[root]
    assert (row.status, row.detail) == ("unreachable", "unknown provider 'fake'")
    with pytest.raises(KeyServiceUnavailable, match="cannot be used here"):
        w.seal(other, "dataset/second", DataClass.INTERNAL)


def test_domain_json_that_names_another_service_for_a_root(world, fakes):
    """Whoever can write that file would be handed every new key."""
    port = world.port()
    w.seal(port)
    root = add(world, port, FAKE)
    thief = FakeProvider(RootId(root), uri="fake:thief")
    fakes.made[root] = thief
    path = world.data / "domain.json"
    private_file.write(path, path.read_bytes().replace(b"fake:one", b"fake:thief"), replace=True)
    for attempt in (lambda: key_of(port), lambda: w.seal(port, "dataset/second", DataClass.INTERNAL), world.port):
        with pytest.raises(IntegrityError, match="names fake:thief for root"):
            attempt()
    assert thief.calls == []


def test_a_domain_json_that_is_away_for_now_changes_nothing(world):
    port = world.port()
    w.seal(port)
    before = key_of(port)
    path = world.data / "domain.json"
    path.rename(world.root / "away")
    assert key_of(port) == before
    (world.root / "away").rename(path)
    assert key_of(port) == before


def test_a_custody_without_a_home_changes_no_roots(world):
    custodian = world.custodian()
    custodian.roots = None
    port = w.LocalPort(custodian)
    world.ports.append(port)
    with pytest.raises(Unsupported):
        port.ask(roots.AddRoot(LOCAL))


def test_rotation_of_a_local_root(world, port):
    """Old and new of one kind: what a person does after a colleague with access has left."""
    w.seal(port)
    old, before = first(port), key_of(port)
    old_file = (world.data / f"root-{old}.json").read_bytes()
    add(world, port)
    drop(port, old)
    private_file.write(world.data / f"root-{old}.json", old_file, replace=False)
    stolen = registry.open_provider(LOCAL, place(world, old))
    rows = w.sql(world, "SELECT kek_id, wrapped FROM kek_slot")
    assert rows
    for _, wrapped in rows:
        with pytest.raises(IntegrityError):
            stolen.unwrap(wrapped, b"")
    assert key_of(port) == before
    (kek,) = port.ask(keys.ListKeys()).keys
    assert kek.roots == (LOCAL,)


def test_leases_go_on_during_a_move(world):
    port, admin = world.port(), world.port()
    w.seal(port)
    lease = w.open_(port, "dataset/patients").released[0].lease
    old = first(admin)
    add(world, admin)
    drop(admin, old)
    assert w.ended(port, lease) is None


def test_the_secret_of_a_root_is_in_no_message(world):
    """Every message of a move, as bytes."""
    from hermetic.testing.codec_port import CodecPort

    port = CodecPort(world.port())
    seen = []
    plain = port._exchange

    def exchange(raw):
        answer, received = plain(raw)
        seen.extend((raw, received))
        return answer, received

    port._exchange = exchange
    old = first(port)
    new = add(world, port)
    secret = registry.open_provider(LOCAL, place(world, new)).load_root()
    drop(port, old)
    for needle in (bytes(secret.view()), Secret(bytes(secret.view())).view().hex().encode()):
        assert not any(needle in raw for raw in seen)


def test_two_processes_add_one_root_at_once(world):
    connections = [world.connect() for _ in range(4)]
    for number, data_class in enumerate(DataClass):
        w.seal(connections[0], f"dataset/of-{number}", data_class)
    with concurrent.futures.ThreadPoolExecutor(len(connections)) as pool:
        added = list(pool.map(lambda one: root_moves.add_root(one, LOCAL).root, connections))
    listing = listed(connections[0])
    assert {row.root for row in added} <= set(listing)
    assert {(row.state, row.status, row.slots, row.keys) for row in listing.values()} == {("active", "ready", 6, 6)}
    assert len(list(world.data.glob("root-*"))) == len(listing)
    assert not list(world.data.glob(".root-*"))


def test_two_processes_drop_at_once(world):
    connections = [world.connect() for _ in range(3)]
    w.seal(connections[0])
    old = first(connections[0])
    root_moves.add_root(connections[0], LOCAL)
    connections[0].ask(roots.SetRootState(old, "deactivate", "x"))

    def attempt(connection):
        try:
            return connection.ask(roots.DropRoot(old, "x")).root.state
        except Conflict:
            return "conflict"

    with concurrent.futures.ThreadPoolExecutor(len(connections)) as pool:
        done = list(pool.map(attempt, connections))
    assert set(done) <= {"destroyed", "conflict"}
    assert "destroyed" in done
    row = listed(connections[0])[old]
    assert (row.state, row.slots, row.opens_domain, row.wiped_ms is not None) == ("destroyed", 0, False, True)
    assert len(list(world.data.glob("root-*"))) == 1


LOOSE = "change-roots: {approvals: 2, approvals_in: {development: 0, staging: 1}}"
STRICT = LOOSE.replace("development: 0", "development: 1")


@pytest.fixture
def approving(world):
    """A connection to a domain in which a change of roots needs bob's yes, and what gets it for an attempt."""
    connection = world.connect()
    w.seal(connection)
    bob = Person("bob")
    bob.enrol(connection)
    w.change_policy(world, connection, lambda text: text.replace(LOOSE, STRICT))

    def approved(attempt):
        with pytest.raises(ApprovalNeeded):
            attempt()
        row = the_request(connection)
        bob.answers(connection, row, time.time_ns() // 1_000_000)
        return row

    return connection, approved


def test_one_approval_is_for_adding_a_root_another_for_each_step_of_letting_one_go(world, approving):
    connection, approved = approving
    old = first(connection)

    def adding():
        return root_moves.add_root(connection, LOCAL, reason="moving").root

    assert approved(adding).action == "change-roots"
    new = adding()
    assert (new.state, new.slots) == ("active", 3)
    for request in (roots.SetRootState(old, "deactivate", "x"), roots.DropRoot(old, "x")):
        approved(lambda request=request: connection.ask(request))
        connection.ask(request)
    assert listed(connection)[old].state == "destroyed"
    approved(adding)  # the first approval was for one root, and not for the next one under the same URI
    stranger = world.port(uid=pwd.getpwnam("nobody").pw_uid)
    w.enrol(connection)
    with pytest.raises(PolicyDenied):
        stranger.ask(roots.ExtendRoot(new.root))


def test_suspending_needs_nobody_and_resuming_does(approving):
    connection, approved = approving
    approved(lambda: root_moves.add_root(connection, LOCAL, reason="moving"))
    new = root_moves.add_root(connection, LOCAL, reason="moving").root
    assert connection.ask(roots.SetRootState(new.root, "suspend", "stolen")).root.state == "suspended"
    for made_meanwhile in (False, True):
        if made_meanwhile:
            connection.ask(roots.SetRootState(new.root, "suspend", "stolen again"))
            w.seal(connection, "dataset/other", w.DataClass.INTERNAL)
        row = listed(connection)[new.root]
        assert (row.slots < row.keys) is made_meanwhile
        approved(lambda row=row: root_moves.resume(connection, row, reason="found"))
        assert root_moves.resume(connection, row, reason="found").root.state == "active"


def test_a_root_announced_before_approvals_were_needed_gets_no_slot_without_them(world):
    """Else an owner announces roots while working alone, and has them opened for herself when others watch."""
    connection = world.connect()
    w.seal(connection)
    begun = connection.ask(roots.AddRoot(LOCAL)).root
    bob = Person("bob")
    bob.enrol(connection)
    w.change_policy(world, connection, lambda text: text.replace(LOOSE, STRICT))
    with pytest.raises(ApprovalNeeded):
        connection.ask(roots.ExtendRoot(begun.root))
    assert listed(connection)[begun.root].slots == 0


def test_the_recovery_passphrase_and_the_word_on_copies_need_approvals_too(world, approving):
    from hermetic.formats.messages.destruction import RecordCopiesDestroyed
    from hermetic.formats.messages.domain import RecordRecovery

    connection, approved = approving
    wrap = RecordRecovery(first(connection))
    assert approved(lambda: connection.ask(wrap)).action == "change-roots"
    connection.ask(wrap)
    with pytest.raises(ApprovalNeeded):
        connection.ask(wrap)  # one passphrase, one approval
    strict = LOOSE.replace("change-roots", "destroy-keys")
    w.change_policy(world, connection, lambda text: text.replace(strict, strict.replace("development: 0", "development: 1")))
    word = RecordCopiesDestroyed(w.START - w.YEAR, "tapes burnt")
    with pytest.raises(ApprovalNeeded, match="destroy-keys"):
        connection.ask(word)


def test_the_whole_domain_asks_what_its_strictest_environment_asks(world):
    """As shipped: one person with development keys works alone; with keys of staging it takes one more, of production two."""
    connection = world.connect()
    w.seal(connection)
    assert connection.ask(roots.AddRoot(LOCAL)).root.state == "pre-active"
    text = "rules: []"
    rule = "rules:\n  - {asset: dataset/staged, class: internal, environment: staging}"
    w.change_policy(world, connection, lambda yaml: yaml.replace(text, rule))
    w.begin(connection, "dataset/staged", w.DataClass.INTERNAL)
    with pytest.raises(ApprovalNeeded, match="1 other person"):
        connection.ask(roots.SetRootState(first(connection), "deactivate", "x"))
