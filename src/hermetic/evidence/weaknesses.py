"""Findings about keys, roots, owners and enforcement."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hermetic.formats.findings import Finding
from hermetic.ids import Enforcement, Environment, KeyState

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hermetic.evidence.answers import Protection
    from hermetic.evidence.surroundings import Surroundings
    from hermetic.formats.findings import Severity
    from hermetic.formats.messages.catalogue import AssetRow
    from hermetic.formats.messages.domain import Facts
    from hermetic.formats.messages.keys import KeyRow

INSECURE_ROOT = "local:insecure-file"
INSECURE_CODE = "insecure-root"  # what that provider remarks about itself
DAY_MS = 86_400_000
_SEVERITIES: Final[dict[str, Severity]] = {"high": "high", "medium": "medium", "low": "low"}
USED_WARNING = 50  # percent of what a KEK version may do (spec/key-usage.md)

_ROOT_STATES: Final[dict[str, tuple[str, Severity, str, str]]] = {
    KeyState.PRE_ACTIVE: (
        "root-unfinished",
        "low",
        "this root was begun and is not in use",
        "hermetic key root add URI goes on, or key root resume ID; key root drop ID gives it up",
    ),
    KeyState.SUSPENDED: (
        "root-suspended",
        "medium",
        "keys that are made now cannot be recovered through this root",
        "hermetic key root resume ID, or drop it",
    ),
    KeyState.DEACTIVATED: (
        "root-retiring",
        "low",
        "this root opens keys and gets no new ones",
        "hermetic key root drop ID, once nobody needs it",
    ),
    KeyState.COMPROMISED: (
        "root-compromised-kept",
        "low",
        "this root is compromised, and still opens keys for recovery",
        "hermetic key root drop ID",
    ),
    KeyState.DESTROYED: (
        "root-not-wiped",
        "high",
        "the drop of this root was interrupted before it was wiped",
        "hermetic key root drop ID",
    ),
}
"""Findings on roots by state: code, severity, message, remedy, where ID and URI stand for the root's own."""


def find(facts: Facts, around: Surroundings, protection: Sequence[Protection]) -> Iterator[Finding]:
    """Yield what is wrong with keys, roots, owners, enforcement."""
    production = any(asset.environment is Environment.PRODUCTION for asset in facts.assets)
    yield from _roots(facts, production=production)
    yield from _enforcement(facts, production=production)
    yield from _owners(facts)
    yield from _unprotected(protection)
    for asset in facts.assets:
        yield from _revoked(asset)
    for key in facts.keys:
        yield from _key(key, facts.at_ms)
        yield from _responsible(key, set(facts.unknown_owners))
    yield from _missing(around)
    yield from _trust(around)


def _roots(facts: Facts, *, production: bool) -> Iterator[Finding]:
    for root in facts.roots:
        gone = root.state == KeyState.DESTROYED
        if root.state in _ROOT_STATES and not (gone and root.remarks):
            code, severity, message, remedy = _ROOT_STATES[root.state]
            yield Finding(code, severity, root.uri, message, remedy.replace("ID", root.id[:8]).replace("URI", root.uri))
        if not gone and root.uri.startswith(INSECURE_ROOT):
            yield Finding(
                "insecure-root",
                "high" if production else "medium",
                root.uri,
                "the root key lies in a file that is protected by file permissions alone",
                "for anything but development move it: hermetic key root add local:passphrase, then deactivate and drop this one",
            )
        for remark in root.remarks:
            if remark.partition("|")[0] != INSECURE_CODE:  # said above
                yield _remark(root.uri, remark)


def _remark(uri: str, remark: str) -> Finding:
    """Return what a provider found, as it says it; `code|severity|message|remedy`, or a text."""
    code, severity, message, remedy = (remark.split("|", 3) + [""] * 3)[:4]
    if severity in _SEVERITIES:
        return Finding(code, _SEVERITIES[severity], uri, message, remedy)
    return Finding("root-remark", "medium", uri, remark, "see `hermetic unlock --help` and the provider's documentation")


def _enforcement(facts: Facts, *, production: bool) -> Iterator[Finding]:
    if production and Enforcement(facts.enforcement) is Enforcement.COOPERATIVE:
        yield Finding(
            "production-cooperative",
            "high",
            facts.domain,
            "production assets are kept under cooperative enforcement: whoever holds the root is not restrained",
            "keep production in a domain whose custody runs under another user or on another machine",
        )


def _owners(facts: Facts) -> Iterator[Finding]:
    unknown = set(facts.unknown_owners)
    for asset in facts.assets:
        if not asset.owner:
            yield Finding(
                "asset-without-owner",
                "medium",
                asset.name,
                "nobody answers for this asset",
                f"hermetic decide {asset.name} --owner WHO --reason WHY",
            )
        elif asset.owner in unknown:
            yield Finding(
                "unknown-owner",
                "low",
                asset.name,
                f"its owner {asset.owner} is not known to this domain",
                f"hermetic access roles {asset.owner} --role data-steward --reason WHY, for a user of this machine; "
                "or hermetic decide NAME --owner WHO --reason WHY",
            )


def _unprotected(protection: Sequence[Protection]) -> Iterator[Finding]:
    for row in protection:
        if not row.kek and row.latest:
            yield Finding(
                "asset-without-key",
                "high",
                row.name,
                "no key-encryption key stands behind this asset",
                "run `hermetic log verify`; restore from the backup if rows are missing",
            )


def _missing(around: Surroundings) -> Iterator[Finding]:
    for name in around.missing:
        yield Finding(
            "version-missing",
            "high",
            name,
            "its latest version is not in its store",
            "bring the store's folder back, or what was copied: hermetic restore --with-objects",
        )
    for name in around.others:
        yield Finding(
            "version-in-another-clone",
            "low",
            name,
            "somebody else sealed its latest version into the store's folder of their own clone: it cannot be opened from this one",
            "a store that all share, of kind named in hermetic.yaml, as docs/how-to/keep-custody-apart.md shows",
        )


def _key(key: KeyRow, now_ms: int) -> Iterator[Finding]:
    name = f"{key.environment}/{key.data_class}/{key.project}"
    if key.state == KeyState.SUSPENDED:
        yield Finding(
            "key-suspended",
            "medium",
            key.kek,
            f"the key of {name} is suspended: {_assets(len(key.assets))} cannot be opened",
            f"hermetic key resume {key.kek} --reason WHY, or revoke it",
        )
    yield from _rotation(key, now_ms, name)


def _assets(number: int) -> str:
    return "1 asset" if number == 1 else f"{number} assets"


def _revoked(asset: AssetRow) -> Iterator[Finding]:
    """An asset whose latest version hangs on a revoked key: whoever has copied that key reads it, rewrapped or not."""
    if asset.kek_state == KeyState.COMPROMISED:
        yield Finding(
            "key-compromised",
            "high",
            asset.name,
            "its latest version is sealed under a key that was revoked",
            f"hermetic key compromise {asset.kek} --reason WHY --go-on seals anew all that hung on it, without plaintext on disk",
        )


def _responsible(key: KeyRow, unknown: set[str]) -> Iterator[Finding]:
    """A key that nobody answers for, or whose owner is nobody that custody knows."""
    name = f"{key.environment}/{key.data_class}/{key.project}"
    remedy = f"hermetic key set {key.kek} --owner WHO --contact TEXT"
    if not key.owner:
        yield Finding("key-without-owner", "medium", key.kek, f"nobody answers for the key of {name}", remedy)
    elif key.owner in unknown:
        enrol = f"{remedy}; or, for a user of this machine, hermetic access roles {key.owner} --role security-engineer --reason WHY"
        yield Finding("unknown-owner", "low", key.kek, f"{key.owner}, who answers for the key of {name}, is not enrolled here", enrol)
    if not key.contact and key.environment == Environment.PRODUCTION:
        yield Finding("key-without-contact", "low", key.kek, f"whom to call about the key of {name} is not known", remedy)


def _rotation(key: KeyRow, now_ms: int, name: str) -> Iterator[Finding]:
    active = [version for version in key.versions if version.state == KeyState.ACTIVE]
    newest = active[-1] if active else None
    if newest is not None and key.rotate_after_days is not None:
        late_ms = now_ms - newest.created_ms - key.rotate_after_days * DAY_MS
        if late_ms > 0:
            yield Finding(
                "rotation-overdue",
                "medium",
                key.kek,
                f"the key of {name} should have been rotated {max(1, late_ms // DAY_MS)} days ago",
                f"hermetic key rotate {key.kek} --rewrap",
            )
    if newest is not None and newest.used >= USED_WARNING:
        yield Finding(
            "key-nearly-used-up",
            "high",
            key.kek,
            f"the key of {name} has done {newest.used} % of the wraps it may, and wraps no more at the limit",
            f"hermetic key rotate {key.kek}",
        )
    for old in key.versions:
        if old.state == KeyState.DEACTIVATED and old.data_keys:
            yield Finding(
                "rewrap-unfinished",
                "low",
                key.kek,
                f"{old.data_keys} data keys of {name} still hang on version {old.number}, which was rotated out",
                f"hermetic key rewrap {key.kek}",
            )


def _trust(around: Surroundings) -> Iterator[Finding]:
    if around.anchoring.first_use:
        yield Finding(
            "trusted-on-first-use",
            "low",
            around.root,
            "the log's keys were accepted unseen: there was no pin of this domain on this account",
            "compare the log key of `hermetic log verify` with somebody who has used the domain before",
        )
