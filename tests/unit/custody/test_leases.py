"""What ends a lease at its next check, and what does not."""

from __future__ import annotations

import os

import pytest

from hermetic.custody import leasing
from hermetic.domain.leases import LeasedKey, LeaseHolder
from hermetic.errors import IntegrityError, KeyServiceUnavailable, KeyUnusable, LeaseEnded, StorageError, UsageError
from hermetic.formats.messages import catalogue, keys, policy, runs, versions
from hermetic.ids import DataClass, Purpose
from tests import world as w


def lease_of(port, *refs, **more):
    return w.open_(port, *refs, **more).released[0].lease


def state(port, verb):
    (row,) = port.ask(keys.ListKeys()).keys
    return port.ask(keys.ChangeKeyState(row.kek, verb, "test")).key


def test_a_lease_holds_until_it_is_given_back(port):
    w.seal(port)
    lease = lease_of(port)
    assert w.ended(port, lease) is None
    port.ask(versions.EndLeases((lease.id, "unknown")))
    assert w.ended(port, lease) == "it was given back"
    port.ask(versions.EndLeases((lease.id,)))


def test_checks_write_nothing_and_answer_in_order(world):
    port = world.port()
    w.seal(port)
    leases = [lease_of(port), lease_of(port)]
    commits = port._custodian.commits
    asked = (leases[0].id, "unknown", leases[1].id)
    states = port.ask(versions.CheckLeases(asked)).states
    assert [item.id for item in states] == list(asked)
    assert [item.ended for item in states] == [None, "custody does not know it", None]
    assert port._custodian.commits == commits


def test_checks_have_a_limit(port):
    for request in (versions.CheckLeases(("x",) * 1001), versions.EndLeases(("x",) * 1001)):
        with pytest.raises(UsageError):
            port.ask(request)


def test_the_terms_are_those_of_the_class(port):
    w.seal(port)
    w.seal(port, "dataset/shops", DataClass.INTERNAL)
    strict, easy = (item.lease for item in w.open_(port, "dataset/patients", "dataset/shops").released)
    assert (strict.check_ms, strict.offline_ms) == (5_000, 900_000)
    assert (easy.check_ms, easy.offline_ms) == (30_000, 8 * w.HOUR)


def test_suspending_ends_and_resuming_allows_again(port):
    w.seal(port)
    lease = lease_of(port)
    row = state(port, "suspend")
    assert row.state == "suspended"
    assert "suspended" in w.ended(port, lease)
    state(port, "resume")
    assert w.ended(port, lease) is None
    assert lease_of(port).kek_epoch > lease.kek_epoch


def test_revoking_ends_for_good(port):
    w.seal(port)
    lease = lease_of(port)
    row = state(port, "revoke")
    assert [item.state for item in row.versions] == ["compromised", "active"]
    assert w.ended(port, lease)
    with pytest.raises(KeyUnusable):
        lease_of(port)
    assert w.seal(port)[1].number == 2
    assert lease_of(port, "dataset/patients@2")


def test_what_was_suspended_can_be_revoked_and_stays_suspended(port):
    w.seal(port)
    state(port, "suspend")
    row = state(port, "revoke")
    assert row.state == "suspended"
    assert [item.state for item in row.versions] == ["compromised", "active"]
    with pytest.raises(KeyUnusable):
        w.begin(port)
    state(port, "resume")
    assert w.seal(port)[1].number == 2
    with pytest.raises(KeyUnusable):
        lease_of(port, "dataset/patients@1")


def test_rotation_and_rewrap_end_nothing(port):
    w.seal(port)
    lease = lease_of(port)
    (row,) = port.ask(keys.ListKeys()).keys
    port.ask(keys.RotateKey(row.kek))
    assert port.ask(keys.RewrapKey(row.kek)).moved == 1
    assert w.ended(port, lease) is None


def test_a_change_of_the_asset_ends_its_leases(port):
    w.seal(port)
    lease = lease_of(port)
    port.ask(catalogue.RecordDecision("dataset/patients", "moved", owner="ben"))
    assert w.ended(port, lease) == "the asset's protection was changed"
    again = lease_of(port)
    port.ask(catalogue.RecordDecision("dataset/patients", "shorter", retention_days=400))
    assert w.ended(port, again) is None
    port.ask(catalogue.RenameAsset("dataset/patients", "dataset/people"))
    assert w.ended(port, again) is None


def test_disabling_a_principal_ends_its_leases(world):
    port = world.port()
    w.seal(port, "dataset/shops", DataClass.INTERNAL)
    w.enrol(port, "nobody", ["ml-engineer"])
    other = world.port(uid=65534)
    lease = lease_of(other, "dataset/shops")
    assert w.ended(other, lease) is None
    assert w.ended(port, lease) == "it belongs to somebody else"
    w.enrol(port, "nobody", [])
    assert "disabled" in w.ended(other, lease)


def test_taking_a_role_away_ends_what_it_allowed(world):
    port = world.port()
    w.seal(port, "dataset/shops", DataClass.INTERNAL)
    w.enrol(port, "nobody", ["ml-engineer"])
    other = world.port(uid=65534)
    lease = lease_of(other, "dataset/shops")
    w.enrol(port, "nobody", ["auditor"])
    assert w.ended(other, lease) == "the policy in force no longer allows it"


def test_a_policy_that_would_refuse_ends_leases_and_no_others(port, world):
    w.seal(port)
    w.seal(port, "dataset/shops", DataClass.INTERNAL)
    strict, easy = lease_of(port), lease_of(port, "dataset/shops")
    forbid = (
        '@id("no-more")\nforbid (principal, action in Action::"release", resource) when { resource.class == Class::"restricted" };\n'
    )
    w.change_cedar(port, "more.cedar", forbid)
    assert w.ended(port, strict) == "the policy in force no longer allows it"
    assert w.ended(port, easy) is None
    w.change_cedar(port, "more.cedar", None)
    assert w.ended(port, strict) is None


def test_what_only_a_run_may_read_ends_with_the_run(port):
    w.seal(port)
    only = '@id("runs-only")\nforbid (principal, action == Action::"open", resource) unless { context.run };\n'
    w.change_cedar(port, "more.cedar", only)
    run = port.ask(runs.StartRun(w.fresh(), "work", Purpose.PREPARE)).run
    lease = port.ask(versions.OpenVersions(w.fresh(), ("dataset/patients",), run=run)).released[0].lease
    assert w.ended(port, lease) is None
    port.ask(runs.FinishRun(run, "finished"))
    assert w.ended(port, lease) == "the policy in force no longer allows it"


def test_leases_of_a_budget_hold_to_the_last_place(port, world):
    w.seal(port)
    budget = 'budgets:\n  - {asset: "dataset/*", releases_per_day: 3}\n'
    w.change_policy(world, port, lambda text: text.replace("budgets: []", budget))
    leases = [lease_of(port), lease_of(port)]  # making the key of the version was the first
    assert [w.ended(port, lease) for lease in leases] == [None, None]
    with pytest.raises(Exception, match="3 of 3 releases") as refused:
        lease_of(port)
    assert refused.value.exit_code == 3
    assert [w.ended(port, lease) for lease in leases] == [None, None]


def test_a_batch_does_not_slip_through_a_budget(port, world):
    for _ in range(4):
        w.seal(port)
    budget = 'budgets:\n  - {asset: "dataset/*", releases_per_day: 6}\n'
    w.change_policy(world, port, lambda text: text.replace("budgets: []", budget))
    with pytest.raises(Exception, match="6 of 6 releases"):
        w.open_(port, *(f"dataset/patients@{number}" for number in (1, 2, 3)))
    assert len(w.open_(port, "dataset/patients@1", "dataset/patients@2").released) == 2


# clocks


def test_setting_the_clock_ends_no_lease_and_lengthens_none(world):
    port = world.port()
    w.seal(port)
    lease = lease_of(port)
    for jump in (w.YEAR, -w.YEAR):
        world.clock.now = w.START + jump
        assert w.ended(port, lease) is None
    world.clock.now = w.START
    steady = port._custodian.steady
    port._custodian.steady = lambda: steady() + leasing.LONGEST_MS + 1
    assert w.ended(port, lease) == "it has run out"


def test_retention_is_what_the_clock_says(world):
    port = world.port()
    w.seal(port)
    lease = lease_of(port)
    world.clock.now += 3 * w.YEAR
    with pytest.raises(Exception, match="retention"):
        lease_of(port)
    assert w.ended(port, lease) == "the policy in force no longer allows it"


# the holder's side


class Boot:
    def __init__(self):
        self.now = 1_000_000

    def __call__(self):
        return self.now


class Flaky:
    """A port whose custody can be made to fail."""

    def __init__(self, inner):
        self.inner, self.error, self.asked = inner, None, 0

    def ask(self, request):
        self.asked += isinstance(request, versions.CheckLeases)
        if self.error is not None:
            raise self.error
        return self.inner.ask(request)

    def redeem(self, blob):
        return self.inner.redeem(blob)


@pytest.fixture
def held(world):
    """A leased key of restricted data (check 5 s, offline 15 min), its port and its clock."""
    port = world.port()
    w.seal(port)
    flaky, boot = Flaky(port), Boot()
    return LeasedKey(flaky, lease_of(port), clock=boot), flaky, boot


def test_custody_is_asked_when_it_is_time(held):
    leased, port, boot = held
    leased.key()
    boot.now += 4_999
    leased.key()
    assert port.asked == 0
    boot.now += 1
    leased.key()
    assert port.asked == 1
    leased.key()
    assert port.asked == 1


def test_a_no_ends_it_at_once_and_wipes(held):
    leased, port, boot = held
    secret = leased.key()
    state(port.inner, "suspend")
    leased.key()
    boot.now += 5_000
    for _ in range(2):
        with pytest.raises(LeaseEnded):
            leased.key()
    assert len(secret) == 0
    state(port.inner, "resume")
    with pytest.raises(LeaseEnded):
        leased.guard()


@pytest.mark.parametrize("error", [KeyServiceUnavailable("away"), StorageError("disk")])
def test_custody_out_of_reach_is_borne_for_a_while(held, error):
    leased, port, boot = held
    port.error = error
    boot.now += 899_999
    leased.key()
    boot.now += 1
    with pytest.raises(LeaseEnded, match="out of reach"):
        leased.key()


def test_an_answer_that_is_wrong_ends_it_and_is_told(held):
    leased, port, boot = held
    secret = leased.key()
    port.error = IntegrityError("rows were changed")
    boot.now += 5_000
    with pytest.raises(IntegrityError):
        leased.key()
    assert len(secret) == 0
    with pytest.raises(LeaseEnded):
        leased.key()


def test_ending_twice_is_once(held):
    leased, port, _ = held
    leased.end()
    leased.end()
    with pytest.raises(LeaseEnded):
        leased.key()
    assert w.ended(port.inner, leased.lease) == "it was given back"


def test_a_fork_takes_no_key_along(held):
    leased, _, _ = held
    leased.key()
    child = os.fork()
    if child == 0:
        try:
            leased.key()
        except LeaseEnded:
            os._exit(7)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    leased.key()


def test_a_holder_ends_all_in_one_message(world):
    port = world.port()
    w.seal(port)
    holder = LeaseHolder(port)
    leases = [lease_of(port) for _ in range(5)]
    held = [holder.take(lease) for lease in leases]
    held[0].end()
    commits = []
    ask = port.ask
    port.ask = lambda request: (commits.append(request), ask(request))[1]
    holder.end_all()
    assert [request.leases for request in commits] == [tuple(sorted(lease.id for lease in leases[1:]))] or (
        len(commits) == 1 and set(commits[0].leases) == {lease.id for lease in leases[1:]}
    )
    for leased in held:
        with pytest.raises(LeaseEnded):
            leased.key()
    holder.end_all()


def test_a_holder_wipes_even_if_custody_is_gone(world):
    port = world.port()
    w.seal(port)
    flaky = Flaky(port)
    holder = LeaseHolder(flaky)
    held = [holder.take(lease_of(port)) for _ in range(3)]
    secrets = [leased.key() for leased in held]
    flaky.error = StorageError("gone")
    with pytest.raises(StorageError):
        holder.end_all()
    assert [len(secret) for secret in secrets] == [0, 0, 0]


def test_an_owner_asks_the_policy_as_it_stands(port):
    w.seal(port)
    lease = lease_of(port)
    found = port.ask(policy.Explain("open", "dataset/patients", Purpose.PREPARE))
    assert found.allowed
    assert w.ended(port, lease) is None
