"""Suites of sealed objects: which there are, which the policy has retired, and what hangs on them.

Nothing new is published under a retired suite: drafts are begun under suites that the policy in force gives, and what a writer says
its objects have is looked at once more when they are published. Opening what a retired suite sealed is an obligation
(`policy.obligations`).

Versions of before custody noted suites count under all that they may have, by the digests that their manifests name: whatever is done
about a retired suite is done about them.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from hermetic.catalog import assets, versions
from hermetic.catalog.values import VersionState
from hermetic.custody.decide import allowed_caller
from hermetic.custody.views import suites_of
from hermetic.db import tables
from hermetic.errors import Conflict, NotFound, UsageError
from hermetic.formats.messages.base import Pair
from hermetic.formats.messages.suites import ListSuites, SuiteList, SuiteRow
from hermetic.formats.suites import SUITES
from hermetic.ids import Kind, VersionId
from hermetic.policy.request import Action

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from hermetic.catalog.values import Asset, Version
    from hermetic.custody.call import Call
    from hermetic.custody.inforce import InForce
    from hermetic.db.rows import ReadSession
    from hermetic.formats.messages.versions import ObjectRecord
    from hermetic.policy.model import PolicyDocument


def named(document: PolicyDocument, objects: Iterable[ObjectRecord]) -> set[str]:
    """Return the suites that objects say they have. Raises UsageError for what is none, Conflict for one that is retired."""
    found = {(item.suite, item.algorithm) for item in objects}
    for name, algorithm in found:
        if name and (name not in SUITES or SUITES[name].digest != algorithm):
            raise UsageError(f"{name!r} is no suite with the digest {algorithm!r}")
    suites = {name for name, _ in found}
    retired = document.retired(suites)
    if retired or (document.retired_suites and "" in suites):
        what = retired[0].suite if retired else "a suite that the writer does not name"
        raise Conflict(f"this was sealed with {what}, and the policy has retired suites since it was begun", hint="seal it again")
    return suites


def list_suites(call: Call, _request: ListSuites) -> SuiteList:
    """Count what hangs on each suite, retired or not. Raises PolicyDenied."""
    allowed_caller(call, Action.READ_CATALOG)
    with call.custodian.database.read(call.custodian.row_keys) as session:
        document = call.custodian.policy.current(session).document
        latest = {version.id for _, version in _latest(session)}
        counts: dict[tuple[str, ...], list[int]] = defaultdict(lambda: [0, 0, 0])
        for version in _published(session):
            count = counts[suites_of(version)]
            count[0] += 1
            count[1] += version.id in latest
            count[2] += version.length or 0
    for name in SUITES:
        counts.setdefault((name,), [0, 0, 0])
    return SuiteList(tuple(_row(document, suites, counts[suites]) for suites in sorted(counts)))


def _row(document: PolicyDocument, suites: tuple[str, ...], count: list[int]) -> SuiteRow:
    retired = document.retired(suites)
    ends = [item.opens_until for item in retired if item.opens_until is not None]
    return SuiteRow(
        suites=suites,
        retired=bool(retired),
        reason=retired[0].reason if retired else "",
        opens_until_ms=min(ends, default=None),
        in_use=any(rules.suite in suites for rules in document.classes.values()),
        versions=count[0],
        latest=count[1],
        length=count[2],
    )


def gather(call: Call, session: ReadSession, policy: InForce) -> Iterator[Pair]:
    """Yield, for `status`, each asset whose latest version is sealed with a retired suite."""
    if not policy.document.retired_suites:
        return
    for asset, version in _latest(session):
        found = policy.document.retired(suites_of(version))
        if found:
            closed = any(item.closed(call.now_ms) for item in found)
            yield Pair("suite-closed" if closed else "suite-retired", f"{asset.name}|{found[0].suite}")


def _latest(session: ReadSession) -> Iterator[tuple[Asset, Version]]:
    for asset in assets.list_assets(session):
        version = None if asset.name.kind is Kind.SCRATCH else versions.latest(session, asset)
        if version is not None and version.state is VersionState.PUBLISHED:
            yield asset, version


def _published(session: ReadSession) -> Iterator[Version]:
    for row in session.find(tables.version, state=VersionState.PUBLISHED.value):
        try:
            yield versions.get(session, VersionId(row["id"]))
        except NotFound:
            continue
