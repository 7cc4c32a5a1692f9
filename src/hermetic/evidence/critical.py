"""Findings about approvals, destruction, shredding and duties, from what custody noted (`Facts.critical`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermetic.formats.findings import Finding

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hermetic.formats.messages.domain import Facts


def find(facts: Facts) -> Iterator[Finding]:
    """Yield a finding for each note; a note that this release does not know is passed over."""
    for note in facts.critical:
        subject, _, detail = note.value.partition("|")
        if note.name in _FINDINGS:
            yield _FINDINGS[note.name](subject, detail)


def _alone(name: str, _detail: str) -> Finding:
    return Finding(
        "approver-enrolled-alone",
        "low",
        name,
        "this approver was enrolled by the owner without anybody's approval, as the first ones are",
        "compare the key of `hermetic approver ls` with the approver, then accept the finding in `exceptions:`",
    )


def _few(count: str, needed: str) -> Finding:
    return Finding(
        "few-approvers",
        "low",
        "approvers",
        f"approvers: {count}, and some operations need {needed}: one lost key, and nothing can be approved",
        "hermetic approver enrol NAME --public-key FILE --reason WHY",
    )


def _factor_removed(name: str, _detail: str) -> Finding:
    return Finding(
        "factor-removed",
        "low",
        name,
        "somebody else removed a second factor of theirs in the last seven days, as for a lost one",
        "ask them whether they lost it, and `hermetic identity factor ls --of NAME` whether what is there now is theirs",
    )


def _many_refusals(who: str, count: str) -> Finding:
    return Finding(
        "many-refusals",
        "medium",
        who,
        f"in the last day so many of their requests were refused that {count} have no entry of their own on the log",
        "ask them; `hermetic log ls --kind denials.summed` says for what; `hermetic access disable NAME` if it was not they",
    )


def _unapproved(domain: str, count: str) -> Finding:
    return Finding(
        "destroyed-without-approval",
        "low",
        domain,
        f"{'once' if count == '1' else f'{count} times'} something was shredded or its destruction announced with nobody else's "
        "approval, as this policy allows",
        "raise `approvals_in` of `operations:` in hermetic.yaml where that is not meant",
    )


def _held_up(key: str, why: str) -> Finding:
    return Finding(
        "destruction-held-up", "medium", key, f"its destruction is due and cannot be done: {why}", "hermetic key destroy --due"
    )


def _incomplete(ref: str, _detail: str) -> Finding:
    return Finding(
        "shred-incomplete",
        "medium",
        ref,
        "it was shredded here, and a copy of custody from before, or a package, may still open it",
        f"hermetic key certificate {ref}",
    )


def _incomplete_key(name: str, _detail: str) -> Finding:
    return Finding(
        "destruction-incomplete",
        "medium",
        name,
        "this version of a key was destroyed here, and a copy of custody from before may still hold it",
        f"hermetic key certificate {name}",
    )


def _not_forgotten(place: str, _detail: str) -> Finding:
    return Finding(
        "copies-hold-destroyed",
        "medium",
        place,
        "no copy was made since something was shredded or destroyed: those that lie there still hold it",
        "hermetic backup now",
    )


def _not_announced(name: str, _detail: str) -> Finding:
    return Finding(
        "destruction-not-announced",
        "medium",
        name,
        "its destruction was announced when the copy was made that this domain was restored from; the restore took that back",
        f"if it is still meant: hermetic key destroy {name} --reason WHY; else accept the finding in `exceptions:`",
    )


def _together(name: str, classes: str) -> Finding:
    return Finding(
        "duties-together",
        "low",
        name,
        f"reads data of {classes} and administers its keys: nothing but the log stands between them",
        "give one of the two to somebody else, then say `separation: required` of the class",
    )


def _glass(pattern: str, detail: str) -> Finding:
    grant, _, who = detail.partition(" ")
    return Finding(
        "break-glass-open",
        "high",
        pattern,
        f"{who} broke the glass and can open it now",
        f"hermetic access ls; to end it: hermetic access revoke {grant} --reason WHY",
    )


def _unreviewed(pattern: str, detail: str) -> Finding:
    grant, _, who = detail.partition(" ")
    return Finding(
        "break-glass-unreviewed",
        "medium",
        pattern,
        f"{who} broke the glass, and nobody has looked at what was done",
        f"hermetic log ls; then, somebody else than {who}: hermetic access review {grant} --finding TEXT",
    )


def _signing_overdue(use: str, days: str) -> Finding:
    return Finding(
        "signing-rotation-overdue",
        "medium",
        f"{use} signing key",
        f"the key that signs {_SIGNED[use]} should have been rotated {days} days ago",
        f"hermetic key signing rotate {use}",
    )


def _left_in_token(key: str, uri: str) -> Finding:
    return Finding(
        "signing-key-left-in-token",
        "medium",
        f"signing key {key}",
        f"this key signs no more, and is still in {uri}, which did not delete it: whoever has the PIN may sign with it",
        "make the token reachable: whoever connects next deletes it; or delete it with the token's own tool",
    )


def _authority_ending(which: str, days: str) -> Finding:
    kind = which.partition(" ")[0]
    remedy = "hermetic identity authority rotate --reason WHY" + (" --root" if kind == "root" else "")
    if kind == "external":
        remedy = "get its next certificate from whoever keeps it, then hermetic identity authority trust FILE --reason WHY"
    return Finding("authority-ending", "high", f"authority {which}", f"its certificate ends in {days} days, and all under it", remedy)


def _certificate_ending(name: str, minutes: str) -> Finding:
    return Finding(
        "certificate-ending",
        "medium",
        name,
        f"their last certificate ends in {minutes} minutes, and nobody has renewed it",
        "on their machine: hermetic identity renew, or hermetic identity agent",
    )


def _doubtful_version(ref: str, place: str) -> Finding:
    return Finding(
        "signed-by-compromised-key",
        "high",
        ref,
        f"log entry {place} published it, signed by a key that somebody else may have had by then",
        f"compare hermetic show {ref} with whoever sealed it; seal anew what is theirs; then hermetic key shred {ref}",
    )


def _doubtful_log(key: str, places: str) -> Finding:
    return Finding(
        "log-signed-by-compromised-key",
        "high",
        f"log signing key {key[:8]}",
        f"entries {places} are vouched for by a key that somebody else may have had",
        "compare them with receipts, an export, other machines' pins, the anchor; then accept the finding in `exceptions:`",
    )


def _suite_retired(name: str, suite: str) -> Finding:
    return Finding(
        "suite-retired",
        "medium",
        name,
        f"its latest version is sealed with {suite}, which the policy retires",
        "hermetic reseal --dry-run shows what there is, hermetic reseal seals it anew",
    )


def _suite_closed(name: str, suite: str) -> Finding:
    return Finding(
        "suite-closed",
        "high",
        name,
        f"its latest version is sealed with {suite}, which is retired, and opens for recovery only",
        "hermetic reseal",
    )


def _object_elsewhere(name: str, why: str) -> Finding:
    return Finding(
        "object-elsewhere",
        "high",
        name,
        why,
        f"hermetic cat {name} --purpose recover opens it: seal it anew into a store of these regions, then hermetic key shred {name}",
    )


def _key_elsewhere(name: str, why: str) -> Finding:
    return Finding(
        "key-elsewhere",
        "high",
        f"key {name}",
        why,
        "say `region` of the root in custody's config.yaml; or add a root in these regions, then deactivate and drop this one",
    )


def _dead(target: str, count: str) -> Finding:
    return Finding(
        "notifications-dead",
        "medium",
        target,
        f"{count} notifications were given up, since this target took none of them",
        "look what its log and `hermetic request notify` say, then hermetic request notify --again",
    )


def _late(target: str, count: str) -> Finding:
    return Finding(
        "notifications-late",
        "low",
        target,
        f"{count} notifications have waited for more than an hour",
        "hermetic request notify, or a service (hermetic serve) that delivers them",
    )


def _outdated(file: str, changed: str) -> Finding:
    message = f"custody still works with what it read when it was started, and its {file} says otherwise now: {changed}"
    remedy = "restart custody, `hermetic serve`, or undo the change"
    if changed == "unreadable":
        message = f"custody's {file} cannot be read any more: custody works with what it read before, and would not start again"
        remedy = "where custody runs, any command names the line; then restart custody"
    return Finding("settings-outdated", "medium", file, message, remedy)


_SIGNED = {"log": "the log", "manifest": "manifests"}

_FINDINGS: dict[str, Callable[[str, str], Finding]] = {
    "approver-enrolled-alone": _alone,
    "factor-removed": _factor_removed,
    "many-refusals": _many_refusals,
    "few-approvers": _few,
    "destroyed-without-approval": _unapproved,
    "destruction-held-up": _held_up,
    "shred-incomplete": _incomplete,
    "destruction-incomplete": _incomplete_key,
    "destruction-not-announced": _not_announced,
    "copies-hold-destroyed": _not_forgotten,
    "duties-together": _together,
    "signing-rotation-overdue": _signing_overdue,
    "signing-key-left-in-token": _left_in_token,
    "break-glass-open": _glass,
    "break-glass-unreviewed": _unreviewed,
    "authority-ending": _authority_ending,
    "certificate-ending": _certificate_ending,
    "suite-retired": _suite_retired,
    "suite-closed": _suite_closed,
    "object-elsewhere": _object_elsewhere,
    "key-elsewhere": _key_elsewhere,
    "signed-by-compromised-key": _doubtful_version,
    "log-signed-by-compromised-key": _doubtful_log,
    "notifications-dead": _dead,
    "notifications-late": _late,
    "settings-outdated": _outdated,
}
