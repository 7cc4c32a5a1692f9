"""Are we safe yet? The four questions of a domain, answered with evidence, and every known gap as a finding.

1. Which keys protect each asset?                      `protection`
2. Who can decrypt, by which policies; what is logged?  `openness`, `recording`
3. Where does plaintext exist, and for how long?        `plaintext`
4. What is retained, and how long?                      `retention`

Beside them stand the enforcement level, the roots and the state of the backup. An answer says only what is known: that no copy was
looked for is said too (`scanned` is None), and is not the same as that there is none.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hermetic.evidence import accepted, critical, elsewhere, key_places, upkeep, weaknesses
from hermetic.evidence.answers import BackupAnswer, Opener, Openness, Plaintext, Protection, Recording, Retention
from hermetic.evidence.jsonable import to_plain
from hermetic.formats import release
from hermetic.formats.fields import copied_entries, whole_number
from hermetic.ids import Enforcement

if TYPE_CHECKING:
    from hermetic.evidence.accepted import Accepted
    from hermetic.evidence.surroundings import Anchoring, Surroundings
    from hermetic.formats.findings import Finding
    from hermetic.formats.messages.catalogue import AssetRow
    from hermetic.formats.messages.domain import Facts, OpenerFact, RootFact, UseFact
    from hermetic.formats.messages.greeting import Welcome
    from hermetic.formats.messages.keys import KeyRow

DAY_MS = 86_400_000
_SEVERITY = {"high": 0, "medium": 1, "low": 2}

ENFORCEMENT_MEANS = {
    Enforcement.COOPERATIVE: "custody runs in the caller's process: protects against everyone without the root, "
    "records honest use, does not restrain whoever holds the root",
    Enforcement.SEPARATED: "custody runs under another user id: a process of yours cannot take keys past policy and log",
    Enforcement.SERVICE: "custody runs on another machine, reached over mutual TLS",
}


@dataclass(frozen=True, slots=True)
class StatusReport:
    """The state of a domain at `at_ms`. `policy_edited`: the files are not what is in force. `findings`: most severe first;
    `accepted`: what an exception in the policy in force covers. `environment` is the one that names
    are of here, where nobody says one, and `environments` how many assets there are in each. `release` is this process's."""

    at_ms: int
    domain: str
    project: str
    generation: int
    enforcement: str
    enforcement_means: str
    principal: str
    roles: tuple[str, ...]
    policy_digest: bytes
    policy_edited: bool
    roots: tuple[RootFact, ...]
    protection: tuple[Protection, ...]
    openness: tuple[Openness, ...]
    recording: Recording
    plaintext: tuple[Plaintext, ...]
    scanned: tuple[str, ...] | None
    retention: tuple[Retention, ...]
    backup: BackupAnswer
    findings: tuple[Finding, ...]
    accepted: tuple[Accepted, ...]
    environment: str
    environments: dict[str, int]
    release: str
    custody_release: str

    def to_json(self) -> dict[str, Any]:
        """Return the report as one JSON object; bytes are hexadecimal."""
        document: dict[str, Any] = to_plain(self)
        return {**document, "safe": not self.findings}


def report(facts: Facts, welcome: Welcome, around: Surroundings) -> StatusReport:
    """Answer the four questions from one consistent read of custody and what was found around it."""
    protection = tuple(row for asset in facts.assets for row in _protection(asset, facts.keys))
    plaintext = (*_exposures(facts), *_copies(around), *_swap(around))
    backup = backup_answer(facts)
    of_keys = (*weaknesses.find(facts, around, protection), *key_places.find(facts, around))
    found = (*of_keys, *critical.find(facts), *upkeep.find(facts, around, backup=backup))
    if around.apart:
        found = elsewhere.told(found, {root.uri for root in facts.roots})
    findings, excused = accepted.divide(found, around, now_ms=facts.at_ms)
    return StatusReport(
        at_ms=facts.at_ms,
        domain=facts.domain,
        project=around.document.project,
        generation=facts.generation,
        enforcement=facts.enforcement,
        enforcement_means=ENFORCEMENT_MEANS[Enforcement(facts.enforcement)],
        principal=welcome.principal,
        roles=welcome.roles,
        policy_digest=facts.policy_digest,
        policy_edited=around.edited_policy != facts.policy_digest,
        roots=facts.roots,
        protection=protection,
        openness=tuple(_openness(asset, facts) for asset in facts.assets),
        recording=_recording(facts, around.anchoring),
        plaintext=plaintext,
        scanned=None if around.plain_files is None else around.scanned,
        retention=tuple(_retention(asset, facts.at_ms) for asset in facts.assets),
        backup=backup,
        findings=tuple(sorted(findings, key=lambda finding: _SEVERITY[finding.severity])),
        accepted=excused,
        environment=around.environment or around.document.environment,
        environments=dict(sorted(Counter(asset.environment.value for asset in facts.assets).items())),
        release=release.RELEASE,
        custody_release=release.shown(welcome.release),
    )


def _protection(asset: AssetRow, keys: tuple[KeyRow, ...]) -> tuple[Protection, ...]:
    """One row for every KEK under which the asset has versions; one without a key if there is none."""
    found = tuple(_protected_by(asset, key) for key in keys if asset.name in key.assets and asset.environment is key.environment)
    return found or (_protected_by(asset, None),)


def _protected_by(asset: AssetRow, key: KeyRow | None) -> Protection:
    """The KEK's state is that of the version of it under which the asset's latest version lies, if that lies under this KEK."""
    newest = key.versions[-1] if key is not None and key.versions else None
    latest = key is not None and key.kek == asset.kek
    due = None
    if key is not None and newest is not None and key.rotate_after_days is not None:
        due = newest.created_ms + key.rotate_after_days * DAY_MS
    return Protection(
        name=asset.name,
        data_class=asset.data_class,
        environment=asset.environment,
        owner=asset.owner,
        latest=asset.latest,
        kek="" if key is None else key.kek,
        kek_number=asset.kek_number if latest else 0 if newest is None else newest.number,
        kek_state=asset.kek_state if latest else "" if key is None else key.state,
        roots=() if key is None else key.roots,
        rotation_due_ms=due,
    )


def _openness(asset: AssetRow, facts: Facts) -> Openness:
    uses = [use for use in facts.uses if _is_about(use, asset)]
    return Openness(
        name=asset.name,
        data_class=asset.data_class,
        environment=asset.environment,
        openers=tuple(Opener(o.principal, o.purposes, o.policies) for o in facts.openers if _is_about(o, asset)),
        releases=sum(use.count for use in uses),
        last_release_ms=max((use.last_ms for use in uses), default=None),
    )


def _is_about(fact: UseFact | OpenerFact, asset: AssetRow) -> bool:
    """Whether it is about this asset, and not one of that name elsewhere; custody of an earlier release does not say."""
    return fact.name == asset.name and fact.environment in {None, asset.environment}


def _recording(facts: Facts, anchoring: Anchoring) -> Recording:
    return Recording(
        generation=facts.generation,
        size=facts.log_size,
        root=facts.log_root,
        releases=sum(use.count for use in facts.uses),
        denials=facts.denials,
        open_intents=facts.open_intents,
        pinned_size=anchoring.pinned_size,
        externally_anchored=_anchored({pair.name: pair.value for pair in facts.backup}),
    )


def _anchored(said: dict[str, str]) -> str:
    """Say how far the anchor command got; only `log verify` compares what it kept."""
    size = said.get("anchor_size")
    return "never" if not size else f"given to the anchor command up to entry {size}; `hermetic log verify --anchor` compares"


def _exposures(facts: Facts) -> tuple[Plaintext, ...]:
    return tuple(
        Plaintext("exposure", row.path, row.ref, row.owner, row.started_ms, row.until_ms, overdue=row.until_ms < facts.at_ms)
        for row in facts.exposures
        if row.ended_ms is None
    )


def _copies(around: Surroundings) -> tuple[Plaintext, ...]:
    return tuple(
        Plaintext("file" if item.copy_of is None else "copy", item.path, item.copy_of, "", None, None, overdue=False)
        for item in around.plain_files or ()
    )


def _swap(around: Surroundings) -> tuple[Plaintext, ...]:
    risky = (area for area in around.swap if area.kind in {"plain", "unknown"})
    return tuple(Plaintext("swap", area.name, None, "", None, None, overdue=False) for area in risky)


def _retention(asset: AssetRow, now_ms: int) -> Retention:
    due = None if asset.retention_days is None else asset.updated_ms + asset.retention_days * DAY_MS
    overdue = due is not None and due < now_ms
    return Retention(asset.name, asset.environment, asset.versions, asset.length, asset.retention_days, due, overdue)


def backup_answer(facts: Facts) -> BackupAnswer:
    """Return what custody says about its encrypted copy."""
    said = {pair.name: pair.value for pair in facts.backup}
    size = copied_entries(said, facts.generation)
    return BackupAnswer(
        place=said.get("place") or None,
        last_ms=whole_number(said.get("last_ms")),
        log_size=size,
        behind=max(0, facts.log_size - size),
        checked_ms=whole_number(said.get("checked_ms")),
        has_recovery=said.get("has_recovery") == "true",
        problem=said.get("problem") or None,
        taken_over=said.get("taken_over") == "true",
    )
