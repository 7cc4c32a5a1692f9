"""Which metrics there are. Everything exported is built from `METRICS`; the table in the documentation is tested against it.

Label values are bounded: `LABELS` says which words a label may have, or that it takes words of Hermetic's own code (`CODE`), of which
there are at most `LIMIT` in one process. Anything else is exported as `other`.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

COUNTER, GAUGE, HISTOGRAM = "counter", "gauge", "histogram"
LIMIT: Final = 200  # values of one label
OTHER: Final = "other"
CODE: Final = re.compile(r"[a-z][a-z0-9-]{0,47}")
BUCKETS: Final = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)  # seconds


class Metric(NamedTuple):
    """One metric: its name without suffixes, its type, what it says, its labels."""

    name: str
    kind: str
    help: str
    labels: tuple[str, ...] = ()


STATES: Final = frozenset({"pre-active", "active", "suspended", "deactivated", "compromised", "destroyed"})
LABELS: Final[dict[str, frozenset[str] | None]] = {
    "request": None,
    "code": None,
    "outcome": frozenset({"answered", "refused", "failed", "sent", "dead"}),
    "reason": frozenset(
        {
            *(
                "denied",
                "policy-denied",
                "not-authenticated",
                "approval-needed",
                "key-unusable",
                "lease-ended",
                "not-found",
                "conflict",
            ),
            *("usage", "unsupported", "storage", "integrity", "key-service-unavailable", "locked", "failed"),
        }
    ),
    "why": frozenset({"connections", "strangers", "turn", "body", "rate", "size", "time"}),
    "state": STATES | {"waiting", "dead", "open", "overdue"},
    "kind": frozenset({"authority", "credential"}),
    "severity": frozenset({"high", "medium", "low"}),
}
"""The words of each label; None: words of Hermetic's own code."""

METRICS: Final = (
    Metric("hermetic_requests", COUNTER, "Requests answered, by what they ask and how it ended.", ("request", "outcome")),
    Metric("hermetic_releases", COUNTER, "Requests for keys that were answered with one."),
    Metric("hermetic_refusals", COUNTER, "Requests that were refused or failed, by reason.", ("reason",)),
    Metric("hermetic_release_duration_seconds", HISTOGRAM, "Time from a request for a key to its answer."),
    Metric("hermetic_request_duration_seconds", HISTOGRAM, "Time from any request to its answer."),
    Metric("hermetic_requests_at_work", GAUGE, "Requests that are being answered."),
    Metric("hermetic_connections", GAUGE, "Connections that are open."),
    Metric("hermetic_turned_away", COUNTER, "Callers turned away by a limit of the service, by which.", ("why",)),
    Metric("hermetic_notification_tries", COUNTER, "Tries to deliver a notification, by what became of them.", ("outcome",)),
    Metric("hermetic_custody_up", GAUGE, "1 if custody could be asked for the figures below, else 0."),
    Metric("hermetic_log_entries", GAUGE, "Entries of the log in its newest generation."),
    Metric("hermetic_log_unanchored_entries", GAUGE, "Entries after the last one that the anchor command took."),
    Metric("hermetic_releases_on_record", GAUGE, "Releases of keys on the log, of all processes."),
    Metric("hermetic_denials_on_record", GAUGE, "Refusals on the log, of all processes; floods count as few."),
    Metric("hermetic_leases", GAUGE, "Leases of keys that were neither given back nor have run out."),
    Metric("hermetic_backup_age_seconds", GAUGE, "Age of the last copy of custody; absent without one."),
    Metric("hermetic_backup_missing_entries", GAUGE, "Entries of the log that the last copy lacks."),
    Metric("hermetic_key_versions", GAUGE, "Versions of key-encryption keys, by state.", ("state",)),
    Metric("hermetic_key_version_age_seconds", GAUGE, "Age of the oldest version in this state.", ("state",)),
    Metric("hermetic_key_wraps_used_ratio", GAUGE, "Share of its wraps that the most used active key version has done."),
    Metric("hermetic_certificates", GAUGE, "Certificates in force.", ("kind",)),
    Metric("hermetic_certificate_days_left", GAUGE, "Days until the first of them ends.", ("kind",)),
    Metric("hermetic_approval_requests_waiting", GAUGE, "Requests that wait for approval."),
    Metric("hermetic_exposures", GAUGE, "Plaintext on disk, on record: open, and of these overdue.", ("state",)),
    Metric("hermetic_notifications", GAUGE, "Notifications not delivered: waiting, and given up.", ("state",)),
    Metric("hermetic_findings", GAUGE, "Findings of `hermetic status`, by code and severity.", ("code", "severity")),
)
BY_NAME: Final = {metric.name: metric for metric in METRICS}


class Histogram(NamedTuple):
    """What was observed: how many in each of BUCKETS and above the last, and their sum."""

    counts: tuple[int, ...]
    total: float


class Point(NamedTuple):
    """One value of a metric; label values in the order of the metric's labels."""

    labels: tuple[str, ...]
    value: float | Histogram


class Family(NamedTuple):
    """A metric and its values now."""

    metric: Metric
    points: tuple[Point, ...]


def word(label: str, value: str) -> str:
    """Return a label value if it is one that may be exported, else `other`."""
    known = LABELS[label]
    if known is not None:
        return value if value in known else OTHER
    return value if CODE.fullmatch(value) else OTHER
