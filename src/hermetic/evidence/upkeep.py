"""Findings about what needs doing: exposures, copies, retention, backup, log, policy."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from hermetic.formats.findings import Finding
from hermetic.ids import KeyState

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hermetic.evidence.answers import BackupAnswer
    from hermetic.evidence.surroundings import PlainFile, Surroundings
    from hermetic.formats.messages.catalogue import AssetRow
    from hermetic.formats.messages.domain import Facts, RootFact

DAY_MS = 86_400_000
STALE_MS = DAY_MS  # a backup that lacks entries and is older than this is a finding
LOG_WARNING = 2**30  # entries of one generation, half of what it takes
CHECK_MS = 90 * DAY_MS  # a restore check older than this proves little
_STALE = (
    "if the domain was restored or recovered elsewhere, work there: this home is stale, and covers no copy of that one; retire it. "
    "Else give it another place, `backup: {place: DIR}` in your own config.yaml of this domain"
)


def find(facts: Facts, around: Surroundings, *, backup: BackupAnswer) -> Iterator[Finding]:
    """Yield what has been left undone."""
    yield from _exposures(facts)
    for item in around.plain_files or ():
        yield _plain_file(item, {asset.name: asset for asset in facts.assets})
    yield from _swap(facts, around)
    yield from _retention(facts)
    yield from backup_findings(facts, backup)
    yield from _policy(facts, around)
    yield from _log(facts)
    yield from _anchor(facts)


def _exposures(facts: Facts) -> Iterator[Finding]:
    for row in facts.exposures:
        if row.ended_ms is None and row.until_ms < facts.at_ms:
            yield Finding(
                "exposure-overdue",
                "high",
                row.path,
                f"plaintext of {row.ref} should have been removed {_age(facts.at_ms - row.until_ms)} ago",
                f"hermetic expose --end {shlex.quote(row.path)}",
            )


def _plain_file(item: PlainFile, assets: dict[str, AssetRow]) -> Finding:
    if item.copy_of is None:
        return Finding(
            "plaintext-file",
            "high",
            item.path,
            f"an unprotected {item.kind} file",
            f"hermetic seal {shlex.quote(item.path)} --as KIND/NAME --class CLASS --remove-original",
        )
    asset = assets.get(item.copy_of.partition("@")[0])
    return Finding(
        "plaintext-copy",
        "high",  # as `scan`, which does not know the class, and as any plaintext file that nobody knows
        item.path,
        f"a plaintext copy of {item.copy_of}" + ("" if asset is None else f", which is {asset.data_class}"),
        f"delete it; use hermetic://{item.copy_of} instead, or expose it on record",
    )


def _swap(facts: Facts, around: Surroundings) -> Iterator[Finding]:
    for area in around.swap:
        if area.kind == "plain" and facts.assets:
            yield Finding(
                "swap-not-encrypted",
                "low",
                area.name,
                "memory, plaintext in it, may be written to this swap area",
                "encrypt swap (dm-crypt with a random key), use zram, or turn it off with swapoff",
            )


def _retention(facts: Facts) -> Iterator[Finding]:
    for asset in facts.assets:
        if asset.retention_days is not None and asset.updated_ms + asset.retention_days * DAY_MS < facts.at_ms:
            late = facts.at_ms - asset.updated_ms - asset.retention_days * DAY_MS
            yield Finding(
                "retention-over",
                "medium",
                asset.name,
                f"its {asset.retention_days} days of retention ended {_age(late)} ago",
                f"hermetic decide {asset.name} --retention DAYS --reason WHY, if it is still needed: it is not opened any more",
            )


def backup_findings(facts: Facts, backup: BackupAnswer) -> Iterator[Finding]:
    """Yield what is wrong with the encrypted copy of custody."""
    yield from _recovery_behind(facts, backup)
    if backup.place is None:
        yield Finding(
            "backup-missing",
            "medium",
            facts.domain,
            "custody has no backup: if this machine is lost, so is everything sealed",
            "name a place in your own config.yaml of this domain, `backup: {place: DIR}`, then hermetic backup now",
        )
        return
    yield from _backup_state(facts, backup)
    if backup.checked_ms is None or facts.at_ms - backup.checked_ms > CHECK_MS:
        past = "has never been" if backup.checked_ms is None else f"was last {_age(facts.at_ms - backup.checked_ms)} ago"
        yield Finding(
            "backup-not-checked", "medium", backup.place, f"opening something from the backup {past} tried", _trial(facts, backup)
        )
    if not backup.has_recovery and not any(recovery_roots(facts).values()):
        yield Finding(
            "backup-without-recovery",
            "medium",
            backup.place,
            "the backup opens only with this machine's root: there are no recovery shares, no escrow and no recovery passphrase",
            "hermetic key shares create -n 5 -m 3, or hermetic backup now --recovery-passphrase-file FILE",
        )


def _trial(facts: Facts, backup: BackupAnswer) -> str:
    """The command that tries the copy with what this domain has: a passphrase, shares or escrow."""
    by_passphrase, held = "hermetic restore --check", recovery_roots(facts)
    if any(held.values()):
        by_roots = "hermetic key recover --check" + ("" if held["shares"] else " --escrow-key FILE, by whoever holds it")
        return f"{by_roots}, or {by_passphrase}" if backup.has_recovery else by_roots
    return by_passphrase if backup.has_recovery else "make shares or set a recovery passphrase, and try them"


def recovery_roots(facts: Facts) -> dict[str, int]:
    """Count the active recovery roots by how their keys are held: in shares, in escrow."""
    active = [root.uri.partition(":")[2].partition("/")[0] for root in facts.roots if _is_recovery(root)]
    return {holder: active.count(holder) for holder in ("shares", "escrow")}


def _is_recovery(root: RootFact) -> bool:
    return root.uri.startswith("recovery:") and root.state == KeyState.ACTIVE


def _backup_state(facts: Facts, backup: BackupAnswer) -> Iterator[Finding]:
    place = backup.place or ""
    if backup.problem is not None:
        remedy = _STALE if backup.taken_over else "see to that, then `hermetic backup now`"
        yield Finding("backup-failing", "high", place, backup.problem, remedy)
    elif backup.last_ms is None:
        yield Finding("backup-missing", "high", place, "no copy has been written to the backup place yet", "hermetic backup now")
    elif backup.behind and facts.at_ms - backup.last_ms > STALE_MS:
        late = _age(facts.at_ms - backup.last_ms)
        yield Finding(
            "backup-stale", "medium", place, f"the copy is {late} old and lacks {backup.behind} log entries", "hermetic backup now"
        )


def _recovery_behind(facts: Facts, backup: BackupAnswer) -> Iterator[Finding]:
    """Shares and escrow open copies: where none is written, they open nothing, however healthy they look."""
    if not (backup.place is None or backup.problem is not None or backup.last_ms is None):
        return
    copied = "there is no copy of custody for it to open"
    if backup.place is not None and backup.last_ms is not None:
        copied = f"copies fail, and it opens nothing newer than the one of {_age(facts.at_ms - backup.last_ms)} ago"
    for root in facts.roots:
        if _is_recovery(root):
            yield Finding(
                "recovery-without-copy", "high", root.uri, copied, "hermetic backup status says why; then hermetic backup now"
            )


def _policy(facts: Facts, around: Surroundings) -> Iterator[Finding]:
    if around.edited_policy != facts.policy_digest:
        yield Finding(
            "policy-not-applied",
            "medium",
            around.root,
            "the policy files are not the policy in force",
            "hermetic policy show --diff, then hermetic policy apply",
        )


def _log(facts: Facts) -> Iterator[Finding]:
    if facts.log_size >= LOG_WARNING:
        yield Finding(
            "log-nearly-full",
            "high",
            "log",
            f"this generation of the log has {facts.log_size} entries, and takes no more than 2^31",
            "hermetic backup now, then hermetic restore into a fresh home: that begins the next generation",
        )
    if facts.open_intents:
        yield Finding(
            "open-intents",
            "medium",
            "log",
            f"{facts.open_intents} releases have no recorded outcome and count as released",
            "hermetic log ls --kind release shows them; a crashed process leaves such entries",
        )


def _anchor(facts: Facts) -> Iterator[Finding]:
    said = {pair.name: pair.value for pair in facts.backup}
    if not said.get("anchor_size"):
        yield Finding(
            "log-never-anchored",
            "medium",
            "log",
            "no checkpoint of the log is kept where the domain's own user cannot rewrite it",
            "name a command that keeps checkpoints elsewhere, `anchor: {command: […]}`, in your own config.yaml of this domain",
        )
    if problem := said.get("anchor_problem"):
        yield Finding("anchor-failing", "medium", "log", problem, "see `anchor:` in your own config.yaml of this domain")


def _age(span_ms: int) -> str:
    """Write a span of milliseconds as days, hours or minutes, at least one minute."""
    minutes = max(1, span_ms // 60_000)
    for unit, name in ((1440, "day"), (60, "hour"), (1, "minute")):
        if minutes >= unit:
            number = minutes // unit
            return f"{number} {name}{'' if number == 1 else 's'}"
    return "1 minute"
