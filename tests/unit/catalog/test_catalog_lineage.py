"""Lineage and the class of what is derived."""

from __future__ import annotations

import itertools

import pytest

from hermetic.catalog import lineage
from hermetic.catalog.values import Edge
from hermetic.errors import Conflict, NotFound, UsageError
from hermetic.ids import DataClass

CLASSES = list(DataClass)


def test_parents_children_ancestors_descendants(session, patients, draft, publication, publish):
    from hermetic.catalog import versions

    def derive(*parents):
        child = draft(patients)
        lineage.add_parents(session, child, [parent.id for parent in parents], "run")
        return versions.publish(session, child, publication(child))

    raw, other = publish(patients), publish(patients)
    clean = derive(raw)
    model = derive(clean, other)
    best = derive(model, clean)

    def edge(child, parent):
        return Edge(child.id, parent.id, "run")

    assert set(lineage.parents_of(session, model.id)) == {edge(model, clean), edge(model, other)}
    assert set(lineage.children_of(session, clean.id)) == {edge(model, clean), edge(best, clean)}
    up = lineage.ancestors(session, best.id)
    assert set(up) == {edge(best, model), edge(best, clean), edge(model, clean), edge(model, other), edge(clean, raw)}
    assert len(up) == 5
    assert {found.child for found in up[:2]} == {best.id}
    assert set(lineage.descendants(session, raw.id)) == {edge(clean, raw), edge(model, clean), edge(best, model), edge(best, clean)}
    assert lineage.ancestors(session, raw.id) == () == lineage.descendants(session, best.id)
    with pytest.raises(UsageError, match="more than 3 edges"):
        lineage.ancestors(session, best.id, limit=3)


def test_parents_are_added_once_and_to_drafts_only(session, patients, draft, publish):
    parent, child = publish(patients), draft(patients)
    assert lineage.add_parents(session, child, [parent.id, parent.id], "run") == (Edge(child.id, parent.id, "run"),)
    assert lineage.add_parents(session, child, [parent.id], "copy") == ()
    with pytest.raises(Conflict, match="fixed once"):
        lineage.add_parents(session, parent, [child.id], "run")
    with pytest.raises(Conflict, match="never published"):
        lineage.add_parents(session, child, [draft(patients).id], "run")
    with pytest.raises(Conflict, match="never published"):
        lineage.add_parents(session, child, [child.id], "run")
    with pytest.raises(NotFound):
        lineage.add_parents(session, child, ["nobody"], "run")


def test_parent_classes(session, patients, draft, publish):
    parents = [publish(patients, data_class=data_class) for data_class in CLASSES]
    assert sorted(lineage.parent_classes(session, [parent.id for parent in parents])) == sorted(CLASSES)
    with pytest.raises(NotFound):
        lineage.parent_classes(session, ["nobody"])


@pytest.mark.parametrize("parents", [found for size in (1, 2) for found in itertools.combinations_with_replacement(CLASSES, size)])
@pytest.mark.parametrize("requested", [None, *CLASSES])
@pytest.mark.parametrize("reason", [None, "", " ", "de-identified, k = 5"])
def test_the_strictest_class_is_inherited_unless_a_reason_is_on_record(parents, requested, reason):
    strictest = CLASSES[max(CLASSES.index(parent) for parent in parents)]
    if requested is None:
        assert lineage.derived_class(parents, requested, reason) is strictest
    elif CLASSES.index(requested) >= CLASSES.index(strictest) or (reason and reason.strip()):
        assert lineage.derived_class(parents, requested, reason) is requested
    else:
        with pytest.raises(UsageError, match=f"made from {strictest.value} inputs") as caught:
            lineage.derived_class(parents, requested, reason)
        assert caught.value.hint


def test_without_parents_the_class_is_the_one_requested():
    assert lineage.derived_class((), DataClass.PUBLIC, None) is DataClass.PUBLIC
    with pytest.raises(UsageError, match="no class is given") as refused:
        lineage.derived_class((), None, None)
    assert refused.value.hint.endswith("- {asset: KIND/NAME, class: confidential}, then `hermetic policy apply`")
