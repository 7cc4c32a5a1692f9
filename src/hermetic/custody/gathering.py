"""From a project or data subjects to the versions that are shredded: by what versions say of themselves when they were sealed.

A subject is found in every version whose labels name it (`formats.subjects`), whatever its asset. What was made of such a version does
not name it by itself; it is listed as derived, and taken along if that is asked for. Custody shreds what references of its environment
can name; versions of other environments are told about, and none is passed over in silence.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermetic.catalog import assets, lineage, versions
from hermetic.catalog.values import VersionState
from hermetic.custody.cataloguing import ref_of
from hermetic.custody.views import labels_of
from hermetic.formats.subjects import check_subject, of_labels
from hermetic.ids import Kind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hermetic.catalog.values import Asset, Version
    from hermetic.custody.inforce import InForce
    from hermetic.db.rows import ReadSession
    from hermetic.formats.messages.destruction import PlanShred
    from hermetic.ids import Environment

    Found = tuple[Asset, Version]

LISTED = 1000  # notes in an answer


def gather(session: ReadSession, policy: InForce, request: PlanShred) -> tuple[list[Found], list[str]]:
    """Return the versions of a project and of subjects, and what people should know about them."""
    wanted, here = frozenset(map(check_subject, request.subjects)), request.environment or policy.document.environment
    found: list[Found] = []
    notes: list[str] = []
    if not wanted and request.project is None:
        return found, notes
    for asset, version in _published(session):
        of_project = request.project is not None and (asset.project or policy.document.project) == request.project
        subjects = of_labels(labels_of(version)) if wanted else frozenset()
        if not of_project and not subjects & wanted:
            continue
        if asset.environment is not here:
            notes.append(f"{asset.name}@{version.number} in {asset.environment.value} is not shredded from here")
            continue
        found.append((asset, version))
        others = len(subjects - wanted)
        if others:
            notes.append(f"{asset.name}@{version.number} holds data of others too, which goes with it; other subjects: {others}")
    return found, notes[:LISTED]


def with_derived(session: ReadSession, here: Environment, found: list[Found]) -> tuple[list[Found], list[str]]:
    """Return versions and everything that was made of them, and what of that is out of reach."""
    have = {version.id for _, version in found}
    children = {edge.child for _, version in found for edge in lineage.descendants(session, version.id)} - have
    more, notes = list(found), []
    for child in sorted(children):
        version = versions.get(session, child)
        asset = assets.get(session, version.asset_id)
        if version.state is not VersionState.PUBLISHED or asset.name.kind is Kind.SCRATCH:
            continue
        if asset.environment is here:
            more.append((asset, version))
        else:
            notes.append(f"{ref_of(session, child)} in {asset.environment.value} is not shredded from here")
    return more, notes[:LISTED]


def _published(session: ReadSession) -> Iterator[Found]:
    for asset in assets.list_assets(session):
        if asset.name.kind is not Kind.SCRATCH:
            for version in versions.list_versions(session, asset):
                if version.state is VersionState.PUBLISHED:
                    yield asset, version
