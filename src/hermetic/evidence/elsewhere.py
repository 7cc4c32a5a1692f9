"""Remedies for those who use custody that runs elsewhere: what works at custody's own place only is said to be for whoever runs it.

A remedy is recognised by what it names, commands that work on custody's own files and its settings, or by being about a root.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from hermetic.domain.elsewhere import OWN_COMMANDS

if TYPE_CHECKING:
    from collections.abc import Container, Iterable

    from hermetic.formats.findings import Finding

_THERE: Final = re.compile(OWN_COMMANDS + r"|\bconfig\.yaml\b|\brecovery passphrase\b")
_OWN: Final = re.compile(r"\byour own config\.yaml( of this domain)?")


def told(findings: Iterable[Finding], roots: Container[str]) -> tuple[Finding, ...]:
    """Return findings with remedies that their reader can use; `roots` are the URIs of the domain's roots."""
    return tuple(_told(finding, roots) for finding in findings)


def _told(finding: Finding, roots: Container[str]) -> Finding:
    if not _THERE.search(finding.remedy) and finding.subject not in roots:
        return finding
    return replace(finding, remedy=f"tell whoever runs custody; there: {_OWN.sub('its config.yaml', finding.remedy)}")
