"""Fuzz target: whatever bytes a file holds, a scan calls them something and raises nothing."""

from __future__ import annotations

from tests.fuzz._target import Target


def _scan(raw: bytes) -> None:
    from tests.property.test_scan import MARKS, check  # late: it brings examples of every format

    check(raw)
    if raw:
        check(MARKS[raw[0] % len(MARKS)] + raw[1:])


def _seeds() -> list[bytes]:
    from tests.property.test_scan import SEEDS

    return [raw for raw in SEEDS if len(raw) < 4_000]


TARGETS = {"scan": Target(_scan, 2_000, _seeds)}
