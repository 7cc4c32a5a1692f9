"""What belongs at a plain location, as custody says it."""

from __future__ import annotations

import pytest

from hermetic.errors import Denied, NotFound, PolicyDenied, UsageError
from hermetic.formats.messages import versions
from hermetic.formats.messages.catalogue import ListAssets, ShowVersion
from hermetic.formats.messages.locations import FindObjects, ObjectAt, PlaceObjects
from hermetic.ids import DataClass
from tests.world import begin, change_policy, enrol, fresh, leaves, open_, record

RULES = """rules:
  - {path: out/**, kind: dataset, class: internal, name: out}
  - {path: other/**, kind: dataset, class: internal, name: other}
"""


@pytest.fixture
def ruled(world, port):
    change_policy(world, world.port(), lambda text: text.replace("rules: []\n", RULES))
    return port


def put(port, *keys, name="dataset/out", place=""):
    """Publish a version whose objects lie at `keys`; returns (draft, records)."""
    draft = begin(port, name, DataClass.INTERNAL, place=place)
    records = tuple(record(index, member=key, content=key.encode()) for index, key in enumerate(keys))
    return draft, records, port.ask(versions.PublishVersion(draft.version, records))


def at(made, index, key, place=""):
    draft, records, _ = made
    return ObjectAt(place, key, draft.asset, draft.version, records[index].object, index)


def find(port, *objects):
    return port.ask(FindObjects(objects)).found


def test_what_was_sealed_to_a_location_belongs_there(ruled):
    made = put(ruled, "out/a", "out/b")
    (a, b) = find(ruled, at(made, 0, "out/a"), at(made, 1, "out/b"))
    assert (a.state, a.name, a.number, a.member, a.length) == ("here", "dataset/out", 1, "out/a", 5)
    assert (b.state, b.index, b.version) == ("here", 1, made[0].version)
    assert ruled.ask(ShowVersion("dataset/out")).place == ""
    assert open_(ruled, "dataset/out").released[0].place == ""
    assert [row.place for row in ruled.ask(ListAssets()).assets] == [""]


def test_an_ordinary_version_has_no_place(ruled):
    draft = begin(ruled, "dataset/plain")
    ruled.ask(versions.PublishVersion(draft.version, (record(),)))
    assert ruled.ask(ShowVersion("dataset/plain")).place is None


def test_swapped_put_back_and_foreign_objects_do_not_belong(ruled):
    first = put(ruled, "out/a", "out/b")
    assert [item.state for item in find(ruled, at(first, 1, "out/a"), at(first, 0, "out/b"))] == ["replaced", "replaced"]
    assert find(ruled, at(first, 0, "out/c"))[0].state == "elsewhere"
    assert find(ruled, at(first, 0, "out/a", place="sealed"))[0].state == "elsewhere"
    assert find(ruled, at(first, 0, "x", place=None))[0].state == "anywhere"
    second = put(ruled, "out/a")
    (old,) = find(ruled, at(first, 0, "out/a"))
    assert (old.state, old.instead) == ("replaced", "dataset/out@2")
    assert [item.state for item in find(ruled, at(second, 0, "out/a"), at(first, 1, "out/b"))] == ["here", "here"]
    draft, records, _ = second
    for strange in (
        ObjectAt("", "out/a", draft.asset, fresh(), records[0].object, 0),
        ObjectAt("", "out/a", fresh(), draft.version, records[0].object, 0),
        ObjectAt("", "out/a", draft.asset, draft.version, fresh(), 0),
        ObjectAt("", "out/a", draft.asset, draft.version, records[0].object, 1),
    ):
        assert find(ruled, strange)[0].state == "unknown"


def test_a_draft_is_no_object_of_a_version(ruled):
    draft = begin(ruled, "dataset/out", DataClass.INTERNAL, place="")
    assert find(ruled, ObjectAt("", "out/a", draft.asset, draft.version, fresh(), 0))[0].state == "unknown"


def test_what_belongs_at_a_location(ruled):
    put(ruled, "out/a")
    (known, nothing, none) = find(ruled, ObjectAt("", "out/a"), ObjectAt("", "out/b"), ObjectAt("", "x"))
    assert (known.state, known.name, known.number) == ("here", "dataset/out", 1)
    assert (nothing.state, none.state) == ("nothing", "nothing")


def test_moves_copies_and_removals_are_on_record(ruled, world):
    made = put(ruled, "out/a")
    ruled.ask(PlaceObjects((at(made, 0, "out/b"),), (at(made, 0, "out/a"),)))
    assert [item.state for item in find(ruled, at(made, 0, "out/b"), at(made, 0, "out/a"))] == ["here", "removed"]
    assert [item.state for item in find(ruled, ObjectAt("", "out/a"), ObjectAt("", "out/b"))] == ["nothing", "here"]
    kinds = [(kind, facts["placed"], facts["removed"]) for kind, facts, _ in leaves(world.port()) if kind == "location.changed"]
    assert kinds == [("location.changed", 1, 1)]
    again = put(ruled, "out/b")
    (old,) = find(ruled, at(made, 0, "out/b"))
    assert (old.state, old.instead) == ("replaced", "dataset/out@2")
    ruled.ask(PlaceObjects((at(made, 0, "out/b"),)))
    assert [item.state for item in find(ruled, at(made, 0, "out/b"), at(again, 0, "out/b"))] == ["here", "replaced"]


def test_the_later_of_two_assets_has_the_location(ruled, world):
    first = put(ruled, "out/a")
    world.clock.now += 1000
    change_policy(world, world.port(), lambda text: text.replace("name: out}", "name: new}"))
    second = put(ruled, "out/a", name="dataset/new")
    assert find(ruled, at(second, 0, "out/a"))[0].state == "here"
    assert find(ruled, at(first, 0, "out/a"))[0].state == "replaced"


def test_a_location_is_of_one_asset(ruled):
    made = put(ruled, "out/a")
    with pytest.raises(UsageError, match="dataset/other"):
        ruled.ask(PlaceObjects((at(made, 0, "other/a"),)))
    with pytest.raises(UsageError, match="no rule"):
        ruled.ask(PlaceObjects((at(made, 0, "nowhere/a"),)))
    with pytest.raises(UsageError, match="no rule"):
        put(ruled, "nowhere/a")
    with pytest.raises(UsageError, match="dataset/other"):
        put(ruled, "other/a")
    with pytest.raises(NotFound):
        ruled.ask(PlaceObjects((ObjectAt("", "out/b", made[0].asset, made[0].version, fresh(), 0),)))
    with pytest.raises(UsageError, match="known place"):
        ruled.ask(PlaceObjects((at(made, 0, "out/b", place=None),)))


def test_who_may_not_seal_may_not_move(ruled, world):
    made = put(ruled, "out/a")
    other = world.port(uid=12345)
    with pytest.raises(Denied):
        other.ask(PlaceObjects((at(made, 0, "out/b"),)))
    enrol(world.port(), "nobody", ("auditor",))
    import pwd

    auditor = world.port(uid=pwd.getpwnam("nobody").pw_uid)
    with pytest.raises(PolicyDenied):
        auditor.ask(PlaceObjects((at(made, 0, "out/b"),)))
    assert find(auditor, at(made, 0, "out/a"))[0].state == "here"
