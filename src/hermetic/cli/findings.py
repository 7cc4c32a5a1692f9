"""Findings as blocks: the most severe first, each with what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermetic.cli.blocks import Block, Facts, Heading, Line, Mark

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hermetic.formats.findings import Finding

_STYLE = {"high": "bad", "medium": "warn", "low": "dim"}
_ORDER = {"high": 0, "medium": 1, "low": 2}


def blocks(findings: Sequence[Finding], *, title: str = "Findings", none: str = "No findings.") -> Iterable[Block]:
    """Return findings as lines: severity, code, subject and message, and below them the remedy."""
    if not findings:
        return [Heading(title), Line(Mark(none, "good"), 2)]
    lines: list[Block] = [Heading(f"{title} ({len(findings)})")]
    for finding in sorted(findings, key=lambda item: _ORDER[item.severity]):
        lines.append(Line(Mark(f"{finding.severity:<6}  {finding.code}  {finding.subject}", _STYLE[finding.severity]), 2))
        lines.append(Facts([("", finding.message), ("do", finding.remedy)], 10))
    return lines
