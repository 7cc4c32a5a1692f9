"""Between the decision about a request and the transaction that carries it out, others may have changed what it rests on."""

import pytest

from hermetic.audit.leaf import Leaf
from hermetic.custody import cataloguing, keyring, people, policies
from hermetic.custody.call import Call
from hermetic.custody.dispatch import answer
from hermetic.domain import local
from hermetic.errors import Conflict, PolicyDenied
from hermetic.formats.messages.base import request_hash
from hermetic.formats.messages.catalogue import RecordDecision, RenameAsset
from hermetic.formats.messages.keys import ChangeKeyState, ListKeys, RotateKey
from hermetic.formats.messages.policy import ApplyPolicy, ShowPolicy
from tests.world import START, change_cedar, enrol, leaves, open_, seal, sql


@pytest.fixture
def meanwhile(monkeypatch):
    """Let something happen right after a module's decision: `meanwhile(module, do)`."""

    def between(module, do):
        decide = module.allowed_caller

        def decided(*arguments, **named):
            caller = decide(*arguments, **named)
            monkeypatch.setattr(module, "allowed_caller", decide)
            do()
            return caller

        monkeypatch.setattr(module, "allowed_caller", decided)

    return between


def _forbid(port, action):
    change_cedar(port, "closed.cedar", f'@id("closed") forbid (principal, action == Action::"{action}", resource);')


def test_a_key_is_not_rotated_once_the_rules_forbid_it(world, meanwhile):
    port = world.port()
    seal(port)
    kek = port.ask(ListKeys()).keys[0].kek
    meanwhile(keyring, lambda: _forbid(world.port(), "administer-keys"))
    with pytest.raises(Conflict, match="changed while this was decided"):
        port.ask(RotateKey(kek, "a race"))
    with pytest.raises(PolicyDenied):
        port.ask(ChangeKeyState(kek, "suspend", "a race"))
    assert [len(row.versions) for row in port.ask(ListKeys()).keys] == [1]


def test_rules_that_forbid_applying_rules_are_not_replaced_by_a_late_one(world, meanwhile):
    port = world.port()
    before = port.ask(ShowPolicy()).bundle
    meanwhile(policies, lambda: _forbid(world.port(), "apply-policy"))
    with pytest.raises(Conflict, match="changed while this was decided"):
        port.ask(ApplyPolicy(before))
    assert port.ask(ShowPolicy()).bundle != before


def test_a_name_that_means_another_asset_now_is_not_touched(world, meanwhile):
    port, other = world.port(), world.port()
    for name in ("dataset/patients", "dataset/visits"):
        seal(port, name)

    def swap():
        other.ask(RenameAsset("dataset/patients", "dataset/gone"))
        other.ask(RenameAsset("dataset/visits", "dataset/patients"))

    meanwhile(cataloguing, swap)
    with pytest.raises(Conflict, match="means another asset"):
        port.ask(RecordDecision("dataset/patients", "because", owner="nobody"))


def test_what_nobody_changed_goes_on(world, meanwhile):
    port = world.port()
    seal(port)
    meanwhile(cataloguing, lambda: enrol(world.port()))
    port.ask(RenameAsset("dataset/patients", "dataset/people"))
    meanwhile(people, lambda: seal(world.port(), "dataset/other"))
    enrol(port, "daemon")


def test_entries_are_dated_when_they_are_appended(world):
    port = world.port()
    seal(port)
    request = RotateKey(port.ask(ListKeys()).keys[0].kek, "it waited for its turn")
    answer(Call(port._custodian, port._caller, request, START - 9_000))
    dates = [Leaf.parse(leaf).at_ms for leaf in _raw(world)]
    assert dates == sorted(dates)


def _raw(world):
    return [row[0] for row in sql(world, "SELECT leaf FROM log_leaf ORDER BY idx")]


def test_the_log_carries_no_hash_that_names_can_be_guessed_from(world, monkeypatch):
    port = world.port()
    seal(port)
    open_(port, "dataset/patients")
    seen = []

    def watched(call):
        seen.append((call.request_hash, request_hash(call.request)))
        return answer(call)

    monkeypatch.setattr(local, "answer", watched)
    open_(port, "dataset/patients")
    keyed, plain = seen[0]
    assert keyed != plain
    said = [facts["request_hash"] for kind, facts, _ in leaves(port) if kind == "release.intent"]
    assert len(said) == len(set(said)) == 3
