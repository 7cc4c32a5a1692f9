"""`kek: in-provider`: every release is an operation of the provider that holds the key, and nothing of it is a key of ours."""

from __future__ import annotations

import pytest

from hermetic import steps
from hermetic.db import tables
from hermetic.errors import ConfigError, Conflict, IntegrityError, KeyServiceUnavailable, KeyUnusable, Locked, RowTampered, WrongKey
from hermetic.formats.messages import keys, roots
from hermetic.ids import DataClass, Purpose
from hermetic.keys import in_provider, provider_wraps
from hermetic.keys.provider import RootId
from hermetic.keys.roots import Anchors
from hermetic.providers import registry
from hermetic.providers.place import Place
from hermetic.testing.fake_provider import FakeProvider, FakeService, Fault
from tests import world as w

SERVICE, OTHER, LOCAL = "fake:service", "fake:other", "fake:local"


class Fakes:
    """A backend of services, and of one provider that keeps nothing to itself."""

    def __init__(self):
        self.made = {}

    def open_(self, uri, place):
        return self.made[place.root_id]

    def create(self, uri, place, _asked):
        kind = FakeProvider if uri == LOCAL else FakeService
        return self.made.setdefault(place.root_id, kind(place.root_id, uri=uri))

    def __getitem__(self, uri):
        return next(one for one in self.made.values() if one.uri == uri)

    def forget(self):
        for one in self.made.values():
            one.calls.clear()


@pytest.fixture
def fakes():
    made = Fakes()
    registry.register("fake", made)
    yield made
    registry.register("fake", None)
    steps.install(None)


def add_root(world, port, uri):
    root = port.ask(roots.AddRoot(uri, "test")).root.root
    registry.create_root(uri, Place(world.data, world.domain, RootId(root)))
    while port.ask(roots.ExtendRoot(root, 400)).left:
        pass
    port.ask(roots.SetRootState(root, "activate", "test"))


@pytest.fixture
def home(world, fakes):
    """A domain with a root in a service, and a connection to it."""
    made = world.port()
    add_root(world, made, SERVICE)
    return made


def demand(world, port, place="in-provider", name="restricted", more=""):
    """Let a class want its keys there."""

    def change(text):
        head, _, rest = text.partition(f"\n  {name}:\n")
        lines = [line for line in rest.splitlines() if not line.strip().startswith(("kek:", "kek_provider:"))]
        return f"{head}\n  {name}:\n    kek: {place}\n{more}" + "\n".join(lines) + "\n"

    return w.change_policy(world, port, change)


@pytest.fixture
def sealing(world, home):
    """The same with restricted data in the service, and three versions."""
    demand(world, home)
    for _ in range(3):
        w.seal(home)
    return home


def kek(port):
    (row,) = port.ask(keys.ListKeys()).keys
    return row


def campaign(port):
    moved = 0
    while True:
        done = port.ask(keys.RewrapKey(kek(port).kek, 1000))
        moved += done.moved
        if not done.left:
            return moved


def root_of(port, uri):
    return next(row.root for row in port.ask(roots.ListRoots()).roots if row.provider == uri)


def set_root(port, uri, verb):
    return port.ask(roots.SetRootState(root_of(port, uri), verb, "test"))


def key_bytes(port, count=3, **more):
    opened = w.open_(port, *(f"dataset/patients@{number}" for number in range(1, count + 1)), **more)
    return [w.key_of(port, item.lease) for item in opened.released]


def slots(world):
    return w.sql(world, "SELECT kek_id, number, root_id, wrapped FROM kek_slot")


def asked(provider):
    return [(call.operation, call.count) for call in provider.calls]


def outcomes(port):
    return [facts for kind, facts, _ in w.leaves(port) if kind == "release.outcome"]


# What there is


def test_each_data_key_is_wrapped_by_the_service_and_no_key_of_ours_is_stored(world, home, fakes):
    demand(world, home)
    fakes.forget()
    w.seal(home)
    assert asked(fakes[SERVICE]) == [("wrap", 1)]
    (slot,) = slots(world)
    assert slot[2:] == (root_of(home, SERVICE), in_provider.MARKER)
    ((wrapped,),) = w.sql(world, "SELECT wrapped FROM data_key")
    assert provider_wraps.is_wrap(wrapped)
    row = kek(home)
    assert [(item.number, item.home, item.wraps, item.data_keys) for item in row.versions] == [(1, SERVICE, 1, 1)]
    assert row.roots == (SERVICE,)


def test_the_context_is_that_of_the_kek(world, sealing, fakes):
    (context,) = {call.context for call in fakes[SERVICE].calls if b"data-key" in call.context}
    row = kek(sealing)
    expected = (
        f'{{"class":"restricted","domain":"{world.domain}","environment":"development","for":"data-key","kek":"{row.kek}",'
        f'"project":"cardio","root":"{root_of(sealing, SERVICE)}"}}'
    )
    assert context.decode() == expected


def test_many_are_released_by_one_call(sealing, fakes):
    fakes.forget()
    first = key_bytes(sealing)
    assert asked(fakes[SERVICE]) == [("unwrap", 3)]
    assert len(set(first)) == 3
    assert key_bytes(sealing) == first


def test_a_batch_of_both_kinds_keeps_its_order(world, sealing, fakes):
    w.seal(sealing, "dataset/plain", DataClass.INTERNAL)
    alone = [
        w.key_of(sealing, w.open_(sealing, ref).released[0].lease)
        for ref in ("dataset/patients@1", "dataset/plain", "dataset/patients@3")
    ]
    fakes.forget()
    together = w.open_(sealing, "dataset/patients@1", "dataset/plain", "dataset/patients@3")
    assert [w.key_of(sealing, item.lease) for item in together.released] == alone
    assert ("unwrap", 2) in asked(fakes[SERVICE])


def test_each_release_asks_the_service(sealing, fakes):
    fakes.forget()
    for _ in range(3):
        key_bytes(sealing, 1)
    assert asked(fakes[SERVICE]) == [("unwrap", 1)] * 3


def test_the_record_comes_before_the_service_is_asked(world, sealing, fakes):
    other, seen = world.port(), []
    fakes[SERVICE]._pause = lambda _: seen.append(w.kinds(other)[-1])
    key_bytes(sealing)
    assert seen == ["release.intent"]


def test_scratch_keys_of_runs_too(world, sealing, fakes):
    from hermetic.formats.messages.runs import OpenScratch, StartRun

    fakes.forget()
    run = sealing.ask(StartRun(w.fresh(), "train", Purpose.PREPARE, {})).run
    one = sealing.ask(OpenScratch(w.fresh(), run)).lease
    two = sealing.ask(OpenScratch(w.fresh(), run)).lease
    assert w.key_of(sealing, one) == w.key_of(sealing, two)
    assert asked(fakes[SERVICE]) == [("wrap", 1), ("unwrap", 1)]


# Where there is none that can


@pytest.mark.parametrize("uri", [None, LOCAL])
def test_a_policy_that_no_root_can_serve_is_refused(world, fakes, uri):
    port = world.port()
    if uri is not None:
        add_root(world, port, uri)
    with pytest.raises(
        ConfigError, match=r"class restricted says .kek: in-provider.: .* no active root keeps keys to itself"
    ) as refused:
        demand(world, port)
    assert "hermetic key root add" in refused.value.hint
    assert w.kinds(port).count("policy.applied") == 1, "the first one stays"


def test_a_policy_that_names_another_kind_is_refused(world, home):
    with pytest.raises(ConfigError, match="no active root is of kind pkcs11"):
        demand(world, home, more="    kek_provider: pkcs11\n")


def test_while_the_root_is_suspended_other_changes_of_policy_are_taken(world, sealing):
    set_root(sealing, SERVICE, "suspend")
    w.change_policy(world, sealing, lambda text: text + "# nothing else\n")
    with pytest.raises(ConfigError, match="class internal says"):
        demand(world, sealing, name="internal")
    demand(world, sealing, "wrapped")
    assert w.seal(sealing)
    assert kek(sealing).versions[-1].home == ""


def test_a_kind_for_a_wrapped_key_is_a_mistake(world, home):
    with pytest.raises(ConfigError, match="names a provider for a wrapped key"):
        demand(world, home, "wrapped", more="    kek_provider: pkcs11\n")


def test_sealing_never_falls_back(world, sealing, fakes):
    """The service's root is suspended, then on its way out: no new data, never a key here."""
    before = slots(world)
    set_root(sealing, SERVICE, "suspend")
    with pytest.raises(KeyUnusable, match="suspended, and this key lives in it alone") as refused:
        w.seal(sealing)
    assert "hermetic key root resume" in refused.value.hint
    with pytest.raises(KeyUnusable, match="suspended"):
        key_bytes(sealing)
    set_root(sealing, SERVICE, "resume")
    set_root(sealing, SERVICE, "deactivate")
    with pytest.raises(KeyUnusable, match="no active root keeps keys to itself"):
        w.seal(sealing)
    assert slots(world) == before
    assert len(key_bytes(sealing)) == 3, "a deactivated root opens"


def test_whoever_has_every_root_here_opens_nothing_of_it(sealing, fakes):
    """The file of the local root, its database and whatever was copied of both, without the service."""
    custodian = sealing._custodian
    w.seal(sealing, "dataset/plain", DataClass.INTERNAL)
    local = {root: one for root, one in custodian.anchors.providers.items() if one.uri != SERVICE}
    custodian.anchors = Anchors(custodian.domain, local)
    assert w.open_(sealing, "dataset/plain").released
    with pytest.raises(KeyServiceUnavailable, match="is not at hand, and this key lives in it alone"):
        key_bytes(sealing)
    with pytest.raises(KeyServiceUnavailable):
        w.seal(sealing)


# What goes wrong

FAULTS = [
    (Fault.UNREACHABLE, KeyServiceUnavailable, 6),
    (Fault.THROTTLES, KeyServiceUnavailable, 6),
    (Fault.LOCKED, Locked, 6),
    (Fault.REFUSES, WrongKey, 4),
    (Fault.DELETED, IntegrityError, 4),
    (Fault.WRONG_SECRET, IntegrityError, 4),
    (Fault.SHORT_SECRET, IntegrityError, 4),
    (Fault.ANSWERS_FEWER, IntegrityError, 4),
]


@pytest.mark.parametrize(("fault", "error", "code"), FAULTS)
@pytest.mark.parametrize("at", [None, 1])
def test_a_fault_while_opening_releases_nothing(sealing, fakes, fault, error, code, at):
    service = fakes[SERVICE]
    service.fault_at = at
    service.fail_next(fault)
    with pytest.raises(error) as refused:
        key_bytes(sealing)
    assert refused.value.exit_code == code
    last = outcomes(sealing)[-1]
    assert (last["handed"], last["failure"]) == (0, type(refused.value).__name__)
    assert len(key_bytes(sealing)) == 3


@pytest.mark.parametrize("fault", [Fault.UNREACHABLE, Fault.THROTTLES, Fault.LOCKED, Fault.DELETED, Fault.ANSWERS_FEWER])
def test_a_fault_while_sealing_leaves_nothing(world, sealing, fakes, fault):
    def stored():
        counted = [w.sql(world, f"SELECT count(*) FROM {name}") for name in ("asset", "version", "data_key", "lease")]
        return counted, kek(sealing).versions

    before = stored()
    fakes[SERVICE].fail_next(fault)
    with pytest.raises((KeyServiceUnavailable, IntegrityError)):
        w.seal(sealing)
    assert stored() == before
    assert w.seal(sealing)


def test_a_wrap_in_another_row_opens_nothing(world, sealing, fakes):
    """Not even where the provider forgets what context is: the check value says which data key it is."""
    with sealing._custodian.database.write(sealing._custodian.row_keys) as session:
        one, two, _ = session.find(tables.data_key)
        session.update(tables.data_key, one["id"], one["revision"], wrapped=two["wrapped"])
    fakes[SERVICE].fault = Fault.FORGETS_CONTEXT
    with pytest.raises(IntegrityError, match="check value"):
        key_bytes(sealing)


def test_rows_that_contradict_each_other_are_refused(world, sealing):
    custodian = sealing._custodian
    local = root_of(sealing, "local:insecure-file")
    row = kek(sealing)
    with custodian.database.write(custodian.row_keys) as session:
        session.insert(tables.kek_slot, kek_id=row.kek, number=1, root_id=local, provider="local:insecure-file", wrapped=b"x")
    with pytest.raises(RowTampered, match="lives in one root alone"):
        key_bytes(sealing)


def test_what_all_kek_versions_wrap_under_one_root_is_limited_together(world, sealing):
    custodian = sealing._custodian
    w.seal(sealing, "dataset/other", project="another")
    with custodian.database.write(custodian.row_keys) as session:
        many = next(row for row in session.find(tables.kek_version) if row["wraps"] == 1)
        session.update(tables.kek_version, (many["kek_id"], 1), many["revision"], wraps=2**31 - 3)
    with pytest.raises(KeyUnusable, match="all the wraps it may"):
        w.seal(sealing)


# Changing


def test_rotation_and_a_campaign_inside_the_service(world, sealing, fakes):
    before = key_bytes(sealing)
    old = w.sql(world, "SELECT wrapped FROM data_key ORDER BY id")
    sealing.ask(keys.RotateKey(kek(sealing).kek, "yearly"))
    fakes.forget()
    assert campaign(sealing) == 3
    assert asked(fakes[SERVICE]) == [("rewrap", 3)], "what is inside stays inside"
    assert [(item.number, item.home, item.data_keys) for item in kek(sealing).versions] == [(1, SERVICE, 0), (2, SERVICE, 3)]
    assert not set(old) & set(w.sql(world, "SELECT wrapped FROM data_key ORDER BY id"))
    assert key_bytes(sealing) == before


@pytest.mark.parametrize("fault", [Fault.UNREACHABLE, Fault.DELETED, Fault.REFUSES, Fault.ANSWERS_FEWER])
def test_a_fault_in_a_campaign_moves_nothing(world, sealing, fakes, fault):
    before = key_bytes(sealing)
    sealing.ask(keys.RotateKey(kek(sealing).kek, "yearly"))
    old = w.sql(world, "SELECT id, kek_number, wrapped FROM data_key ORDER BY id")
    fakes[SERVICE].fail_next(fault)
    with pytest.raises((KeyServiceUnavailable, IntegrityError)):
        campaign(sealing)
    assert w.sql(world, "SELECT id, kek_number, wrapped FROM data_key ORDER BY id") == old
    assert campaign(sealing) == 3
    assert key_bytes(sealing) == before


def test_from_here_to_the_service_and_back(world, home, fakes):
    for _ in range(3):
        w.seal(home)
    before = key_bytes(home)
    demand(world, home)
    w.seal(home)
    row = kek(home)
    assert [(item.number, item.home, item.data_keys) for item in row.versions] == [(1, "", 3), (2, SERVICE, 1)]
    rotated = [facts for kind, facts, _ in w.leaves(home) if kind == "key.rotated"]
    assert rotated == [{"key": row.kek, "number": 2, "home": root_of(home, SERVICE)}]
    fakes.forget()
    assert campaign(home) == 3
    assert asked(fakes[SERVICE]) == [("wrap", 3), ("unwrap", 3)], "wrapped, and tried before the old wrap is overwritten"
    assert key_bytes(home) == before
    demand(world, home, "wrapped")
    home.ask(keys.RotateKey(row.kek, "back"))
    assert campaign(home) == 4
    assert [(item.number, item.home, item.data_keys) for item in kek(home).versions][-1] == (3, "", 4)
    fakes[SERVICE].fault = Fault.UNREACHABLE
    assert key_bytes(home) == before


@pytest.mark.parametrize("fault", [Fault.WRONG_SECRET, Fault.UNREACHABLE])
def test_what_the_service_does_not_give_back_replaces_nothing(world, home, fakes, fault):
    w.seal(home)
    before = key_bytes(home, 1)
    demand(world, home)
    home.ask(keys.RotateKey(kek(home).kek, "to the service"))

    def after_the_wrap(_):
        service.fault = fault if service.calls[-1].operation == "unwrap" else None

    service = fakes[SERVICE]
    service._pause = after_the_wrap
    with pytest.raises((IntegrityError, KeyServiceUnavailable)):
        campaign(home)
    assert key_bytes(home, 1) == before


STEPS = [
    *(f"custody.{name}{at}" for name in ("seal.intent", "rewrap.batch", "release.intent") for at in (".before", "")),
    "custody.release.unwrapped",
    "custody.release.outcome.before",
]


@pytest.mark.parametrize("step", STEPS)
def test_after_a_stop_at_any_step_everything_opens_and_the_move_goes_on(world, home, fakes, step):
    """A class moves into the service: the seal that makes the new version, the campaign, and a release are stopped."""

    class Stop(BaseException):
        pass

    def stop(name):
        if name == step:
            raise Stop

    for _ in range(3):
        w.seal(home)
    before = key_bytes(home)
    demand(world, home)
    steps.install(stop)
    with pytest.raises(Stop):
        w.seal(home)
        campaign(home)
        key_bytes(home)
    steps.install(None)
    again = world.port()
    assert key_bytes(again) == before
    w.seal(again)
    campaign(again)
    assert {item.home for item in kek(again).versions if item.data_keys} == {SERVICE}
    assert key_bytes(again) == before
    released = [facts for kind, facts, _ in w.leaves(again) if kind == "release.intent"]
    ended = [facts["intent"] for facts in outcomes(again)]
    assert len(released) - len(ended) <= 1, "a stop leaves an intent at most, never an outcome without one"


def test_from_one_service_to_another(world, sealing, fakes):
    before = key_bytes(sealing)
    add_root(world, sealing, OTHER)
    sealing.ask(keys.RotateKey(kek(sealing).kek, "stays"))
    assert kek(sealing).versions[-1].home == SERVICE, "a newer root takes nothing over by itself"
    campaign(sealing)
    set_root(sealing, SERVICE, "deactivate")
    w.seal(sealing)
    assert kek(sealing).versions[-1].home == OTHER, "what is on its way out takes nothing new"
    with pytest.raises(Conflict, match="lives in this root alone, with 3 data keys"):
        sealing.ask(roots.DropRoot(root_of(sealing, SERVICE), "moved"))
    assert campaign(sealing) == 3
    sealing.ask(roots.DropRoot(root_of(sealing, SERVICE), "moved"))
    fakes[SERVICE].fault = Fault.UNREACHABLE
    assert key_bytes(sealing) == before


def test_the_root_that_it_lives_in_says_so(sealing):
    """Other roots have every slot that there is to have, and none of this."""
    (row,) = [row for row in sealing.ask(roots.ListRoots()).roots if row.provider == SERVICE]
    assert (row.slots, row.keys) == (2, 2), "the signing keys"
    assert [pair.value for pair in row.findings if pair.name == "keys-live-here-alone"] == [
        "3 data keys open through this root alone, of development/restricted/cardio"
    ]


def test_adding_a_root_leaves_it_alone(world, sealing, fakes):
    add_root(world, sealing, LOCAL)
    assert {row[3] for row in slots(world)} == {in_provider.MARKER}
    assert len(key_bytes(sealing)) == 3


# States


def test_suspending_the_root_ends_leases_and_refuses_before_any_intent(sealing, fakes):
    lease = w.open_(sealing).released[0].lease
    assert w.ended(sealing, lease) is None
    before = w.kinds(sealing).count("release.intent")
    set_root(sealing, SERVICE, "suspend")
    assert w.ended(sealing, lease) == f"root {SERVICE} is suspended, and this key lives in it alone"
    fakes.forget()
    with pytest.raises(KeyUnusable, match="suspended, and this key lives in it alone"):
        key_bytes(sealing)
    assert asked(fakes[SERVICE]) == []
    assert w.kinds(sealing).count("release.intent") == before
    set_root(sealing, SERVICE, "resume")
    assert w.ended(sealing, lease) is None


def test_a_destroyed_version_says_what_its_end_relies_on(world, sealing):
    from hermetic.formats.certificate import parse_certificate
    from hermetic.formats.messages import destruction

    sealing.ask(keys.RotateKey(kek(sealing).kek, "yearly"))
    campaign(sealing)
    name = kek(sealing).kek
    sealing.ask(destruction.AnnounceDestruction(name, 1, 7, "old"))
    world.clock.now += 8 * w.DAY
    (row,) = sealing.ask(destruction.DestroyDue()).versions
    made = parse_certificate(sealing.ask(destruction.ShowCertificate(row.certificate)).payload)
    assert made.state == "destroyed"
    assert made.relies[0].startswith("no data key hangs on the version any more, and it had no key here")
    assert f"the deletion of {SERVICE} there ends that" in made.relies[0]
    assert len(key_bytes(sealing)) == 3


def test_suspended_revoked_recovered(sealing, fakes):
    name = kek(sealing).kek
    before = key_bytes(sealing)
    sealing.ask(keys.ChangeKeyState(name, "suspend", "look"))
    fakes.forget()
    with pytest.raises(KeyUnusable, match="suspended"):
        key_bytes(sealing)
    sealing.ask(keys.ChangeKeyState(name, "resume", "seen"))
    sealing.ask(keys.ChangeKeyState(name, "revoke", "lost"))
    with pytest.raises(KeyUnusable, match="revoked"):
        key_bytes(sealing)
    assert asked(fakes[SERVICE]) == []
    assert key_bytes(sealing, purpose=Purpose.RECOVER) == before
    assert [(item.state, item.home) for item in kek(sealing).versions] == [("compromised", SERVICE), ("active", SERVICE)]
    w.seal(sealing)
    assert kek(sealing).versions[-1].data_keys == 1
