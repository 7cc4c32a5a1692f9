"""What custody knows now, and findings, as gauges. Pure: `formats.messages.measures.Measured` and findings in, families out."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from hermetic.telemetry.metrics import BY_NAME, Family, Point, word

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from hermetic.formats.findings import Finding
    from hermetic.formats.messages.measures import Measured

DAY_MS: Final = 86_400_000


def families(measured: Measured | None, findings: Iterable[Finding] | None = None) -> Iterator[Family]:
    """Yield the gauges; None: custody could not be asked, or nobody looked for findings."""
    yield _one("hermetic_custody_up", 0 if measured is None else 1)
    if measured is not None:
        yield from _numbers(measured)
        yield from _keys(measured)
        yield from _certificates(measured)
    if findings is not None:
        counted = Counter((word("code", item.code), word("severity", item.severity)) for item in findings)
        yield Family(BY_NAME["hermetic_findings"], tuple(Point(labels, count) for labels, count in sorted(counted.items())))


def _one(name: str, value: float) -> Family:
    return Family(BY_NAME[name], (Point((), value),))


def _numbers(measured: Measured) -> Iterator[Family]:
    yield _one("hermetic_log_entries", measured.log_entries)
    yield _one("hermetic_log_unanchored_entries", measured.unanchored_entries)
    yield _one("hermetic_releases_on_record", measured.releases)
    yield _one("hermetic_denials_on_record", measured.denials)
    yield _one("hermetic_leases", measured.leases)
    if measured.backup_ms is not None:
        yield _one("hermetic_backup_age_seconds", max(0, measured.at_ms - measured.backup_ms) / 1000)
    yield _one("hermetic_backup_missing_entries", measured.backup_missing)
    yield _one("hermetic_approval_requests_waiting", measured.requests_waiting)
    waiting = Point(("waiting",), measured.notifications_waiting), Point(("dead",), measured.notifications_dead)
    yield Family(BY_NAME["hermetic_notifications"], waiting)
    exposures = Point(("open",), measured.exposures_open), Point(("overdue",), measured.exposures_overdue)
    yield Family(BY_NAME["hermetic_exposures"], exposures)


def _keys(measured: Measured) -> Iterator[Family]:
    versions = [(word("state", item.name), item) for item in measured.key_versions]
    yield Family(BY_NAME["hermetic_key_versions"], tuple(Point((state,), item.count) for state, item in versions))
    ages = tuple(Point((state,), max(0, measured.at_ms - item.at_ms) / 1000) for state, item in versions)
    yield Family(BY_NAME["hermetic_key_version_age_seconds"], ages)
    yield _one("hermetic_key_wraps_used_ratio", measured.wraps_used_ppm / 1e6)


def _certificates(measured: Measured) -> Iterator[Family]:
    found = [(word("kind", item.name), item) for item in measured.certificates]
    yield Family(BY_NAME["hermetic_certificates"], tuple(Point((kind,), item.count) for kind, item in found))
    left = tuple(Point((kind,), round((item.at_ms - measured.at_ms) / DAY_MS, 3)) for kind, item in found)
    yield Family(BY_NAME["hermetic_certificate_days_left"], left)
