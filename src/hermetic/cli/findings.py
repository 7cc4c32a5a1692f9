"""Findings as blocks: the most severe first, each with what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermetic.cli.blocks import Block, Facts, Heading, Line, Mark

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from hermetic.formats.findings import Finding

_STYLE = {"high": "bad", "medium": "warn", "low": "dim"}
_SUBJECTS = 3  # shown of those of which the same is said; --json has all
_ORDER = {"high": 0, "medium": 1, "low": 2}


def blocks(findings: Sequence[Finding], *, title: str = "Findings", none: str = "No findings.") -> Iterable[Block]:
    """Return findings as lines: severity, code, subject and message, and below them the remedy."""
    if not findings:
        return [Heading(title), Line(Mark(none, "good"), 2)]
    lines: list[Block] = [Heading(f"{title} ({len(findings)})")]
    for finding, subjects in _together(sorted(findings, key=lambda item: _ORDER[item.severity])):
        lines.append(Line(Mark(f"{finding.severity:<6}  {finding.code}  {subjects}", _STYLE[finding.severity]), 2))
        lines.append(Facts([("", finding.message), ("do", finding.remedy)], 10))
    return lines


def _together(findings: Sequence[Finding]) -> Iterator[tuple[Finding, str]]:
    """Yield findings that say the same of several subjects once, with those subjects."""
    groups: dict[tuple[str, str, str], list[Finding]] = {}
    for finding in findings:
        groups.setdefault((finding.code, finding.message, finding.remedy), []).append(finding)
    for group in groups.values():
        shown = ", ".join(finding.subject for finding in group[:_SUBJECTS])
        yield group[0], shown + (f" and {len(group) - _SUBJECTS} more" if len(group) > _SUBJECTS else "")
