"""Issue 4, done when 5: raced by two processes, approvals are used once. Real processes, which meet between decision and commit."""

from __future__ import annotations

import multiprocessing

import pytest

from hermetic.errors import ApprovalNeeded
from hermetic.formats.messages.approvals import ShowRequest
from hermetic.formats.messages.catalogue import ShowVersion
from hermetic.formats.messages.destruction import ShredVersions
from hermetic.formats.messages.keys import ListKeys, RotateKey
from hermetic.formats.messages.roots import AddRoot, ListRoots
from tests.unit.custody import racing
from tests.unit.custody.approving import Person, the_request
from tests.world import START, change_policy, kinds, seal

STRICT = {
    "administer-keys: {mfa: 15m, from: separated}": "administer-keys: {approvals: 2}",
    "delete: {approvals: 2, approvals_in: {development: 0, staging: 1}}": "delete: {approvals: 2}",
    "change-roots: {approvals: 2, approvals_in: {development: 0, staging: 1}}": "change-roots: {approvals: 2}",
}


@pytest.fixture
def port(world):
    return world.port()


@pytest.fixture
def people(world, port):
    made = [Person("bob"), Person("carol")]
    for person in made:
        person.enrol(port)
    seal(port)

    def strict(text):
        for loose, tight in STRICT.items():
            text = text.replace(loose, tight)
        return text

    change_policy(world, port, strict)
    return made


def raced(world, request, where):
    """What became of the same request, asked by two processes at once."""
    context = multiprocessing.get_context("spawn")
    barrier, answers = context.Barrier(2), context.Queue()
    given = (world.root, request, where, barrier, answers)
    processes = [context.Process(target=racing.attempt, args=given) for _ in range(2)]
    for process in processes:
        process.start()
    found = [answers.get(timeout=120) for _ in processes]
    for process in processes:
        process.join()
    answers.close()
    answers.join_thread()
    return sorted(found)


def rotating(port):
    return RotateKey(port.ask(ListKeys()).keys[0].kek, "schedule"), ("hermetic.custody.keyring", "custody.rotate.committed")


def shredding(port):
    version = port.ask(ShowVersion("dataset/patients@1")).version
    request = ShredVersions(("dataset/patients@1",), (version,), "consent withdrawn")
    return request, ("hermetic.custody.shredding", "custody.shred.committed")


def adding(_port):
    return AddRoot("local:insecure-file", "moving"), ("hermetic.custody.rooting", "custody.root.announced")


@pytest.mark.parametrize("what", [rotating, shredding, adding])
def test_two_processes_use_one_set_of_approvals_once(world, port, people, what):
    request, where = what(port)
    with pytest.raises(ApprovalNeeded):
        port.ask(request)
    row = the_request(port)
    for person in people:
        person.answers(port, row, START)
    found = raced(world, request, where)
    assert kinds(port).count("approval.used") == 1
    assert port.ask(ShowRequest(row.id)).state == "used"
    if what is adding:  # the second one is told of the root that the first announced: one approval, one root
        assert found[-1] == "done"
        assert len(port.ask(ListRoots()).roots) == 2
        return
    assert found.count("done") == 1, found
    assert set(found) - {"done"} <= {"Conflict", "ApprovalNeeded", "KeyUnusable"}
    if what is rotating:
        assert [len(key.versions) for key in port.ask(ListKeys()).keys] == [2]


def test_a_statement_raced_by_two_processes_counts_once(world, port, people):
    """An approver's answer, handed in twice at the same moment, is one voice."""
    from hermetic.formats.messages.approvals import AddStatement

    request, _ = rotating(port)
    with pytest.raises(ApprovalNeeded):
        port.ask(request)
    row = the_request(port)
    raw = people[0].statement(row, START)
    found = raced(world, AddStatement(raw), ("hermetic.custody.approving", "custody.approval.given"))
    assert found == ["Conflict", "done"]
    with pytest.raises(ApprovalNeeded, match="has 1"):
        port.ask(request)
