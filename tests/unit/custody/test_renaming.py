"""Whoever renames an asset into or out of what somebody's grant names changes who may read it: that takes the right to grant."""

from __future__ import annotations

import pwd

import pytest

from hermetic.custody import renaming
from hermetic.errors import Conflict, PolicyDenied
from hermetic.formats.messages import policy
from hermetic.formats.messages.catalogue import RenameAsset
from hermetic.formats.messages.log import ReadLog
from hermetic.ids import DataClass, Purpose
from tests import world as w
from tests.backends import BACKENDS, behind

OTHER, MAIL = pwd.getpwnam("nobody").pw_uid, pwd.getpwnam("mail").pw_uid
SECRET, OPEN_TO_MAIL = "dataset/secret", "dataset/shared/*"


@pytest.fixture
def owner(world):
    """Who may grant, with an asset, a reader by pattern, and somebody who may rename."""
    made = world.port()
    w.seal(made, SECRET)
    w.seal(made, "dataset/shared/one", DataClass.INTERNAL)
    for name in ("nobody", "mail"):
        w.enrol(made, name, ("auditor",))
    return made


def grant(owner, world, who, action, pattern, **more):
    purposes = (Purpose.PREPARE,) if action == "open" else ()
    return owner.ask(policy.GiveGrant(who, action, pattern, purposes, world.clock.now + w.DAY, "test", **more)).id


@pytest.fixture(params=BACKENDS)
def renamer(request, world, owner, tmp_path):
    """Somebody whom a grant lets rename, behind each transport."""
    grant(owner, world, "nobody", "rename", "dataset/**")
    with behind(request.param, world.port(uid=OTHER), tmp_path) as found:
        yield found


def renamed(owner):
    return [facts for kind, facts, _ in w.leaves(owner) if kind == "asset.renamed"]


def refused(owner):
    return [facts["action"] for kind, facts, _ in w.leaves(owner) if kind == "access.denied"]


def test_a_rename_that_changes_who_may_read_takes_the_right_to_grant(world, owner, renamer):
    reads = grant(owner, world, "mail", "open", OPEN_TO_MAIL)
    for old, new in ((SECRET, "dataset/shared/secret"), ("dataset/shared/one", "dataset/one")):
        with pytest.raises(PolicyDenied, match="1 grant") as found:
            renamer.ask(RenameAsset(old, new))
        assert found.value.exit_code == 3
        assert "who may grant" in found.value.hint
    assert refused(owner) == ["grant", "grant"]
    assert renamed(owner) == []
    mail = world.port(uid=MAIL)
    with pytest.raises(PolicyDenied):
        w.open_(mail, SECRET)
    assert w.open_(mail, "dataset/shared/one")

    renamer.ask(RenameAsset("dataset/shared/one", "dataset/shared/first"))  # covered before and after
    renamer.ask(RenameAsset(SECRET, "dataset/plans"))  # neither
    into = owner.ask(RenameAsset("dataset/plans", "dataset/shared/plans", reason="they are for all"))
    out_of = owner.ask(RenameAsset("dataset/shared/first", "dataset/first"))
    covers = f"grant {reads}, mail may open {OPEN_TO_MAIL}, covers it"
    assert (into.notes, out_of.notes) == ((f"{covers} from now on",), (f"{covers} no more",))
    rows = owner.ask(ReadLog(kind="asset.renamed")).rows
    assert [[pair.value for pair in row.opened if pair.name == "reason"] for row in rows] == [[], [], ["they are for all"], []]
    changed = [(facts["grants_begin"], facts["grants_end"]) for facts in renamed(owner)]
    assert changed == [([], []), ([], []), ([reads], []), ([], [reads])]


def test_nobody_renames_into_a_grant_of_their_own(world, owner):
    """As nobody grants to themselves, not even who may grant; out of it, they give up only what is theirs."""
    steward = world.port(uid=OTHER)
    w.enrol(owner, "nobody", ("data-steward",))
    own = owner.ask(policy.GiveGrant("nobody", "open", "dataset/mine*", (Purpose.TRAIN,), world.clock.now + w.DAY, "test")).id
    with pytest.raises(PolicyDenied) as found:
        steward.ask(RenameAsset(SECRET, "dataset/mine"))
    assert "own-grant" in found.value.reasons
    owner.ask(RenameAsset(SECRET, "dataset/mine"))
    w.enrol(owner, "nobody", ("auditor",))
    grant(owner, world, "nobody", "rename", "dataset/**")
    steward.ask(RenameAsset("dataset/mine", "dataset/yours"))
    assert renamed(owner)[-1]["grants_end"] == [own]


@pytest.mark.parametrize(
    ("pattern", "changes"),
    [
        ("dataset/shared/secret", True),
        ("dataset/shared/secret@7", True),  # the number may come
        ("development:dataset/shared/*", True),
        ("production:dataset/shared/*", False),
        ("dataset/**", False),
        ("**", False),
        ("model/**", False),
    ],
)
def test_which_grants_follow_a_name(world, owner, pattern, changes):
    given = grant(owner, world, "mail", "open", pattern)
    owner.ask(RenameAsset(SECRET, "dataset/shared/secret"))
    assert renamed(owner)[-1]["grants_begin"] == ([given] if changes else [])


def test_grants_that_are_over_change_nothing(world, owner, renamer):
    owner.ask(policy.RevokeGrant(grant(owner, world, "mail", "open", OPEN_TO_MAIL), "over"))
    grant(owner, world, "mail", "open", OPEN_TO_MAIL)
    world.clock.now += 2 * w.DAY
    grant(owner, world, "nobody", "rename", "dataset/**")
    renamer.ask(RenameAsset(SECRET, "dataset/shared/secret"))
    assert renamed(owner)[-1]["grants_begin"] == []


def test_a_grant_that_is_given_meanwhile_is_looked_at_again(world, owner, monkeypatch):
    grant(owner, world, "nobody", "rename", "dataset/**")
    allowed = renaming.allowed_caller

    def late(*asked, **more):
        found = allowed(*asked, **more)
        grant(owner, world, "mail", "open", OPEN_TO_MAIL)
        return found

    monkeypatch.setattr(renaming, "allowed_caller", late)
    with pytest.raises(Conflict):
        world.port(uid=OTHER).ask(RenameAsset(SECRET, "dataset/shared/secret"))
    assert renamed(owner) == []
