"""The keys of the domain's own authority: making, using, and ending them, inside a unit of work."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from hermetic.access import authorities
from hermetic.access.authorities import Authority
from hermetic.audit.leaf import Entry
from hermetic.catalog.values import fresh_id
from hermetic.crypto import x509
from hermetic.custody import forgetting
from hermetic.formats.binary_text import to_base64url
from hermetic.ids import KeyState
from hermetic.keys import secret_keys, signing_care
from hermetic.keys.secret_keys import AUTHORITY_INTERMEDIATE, AUTHORITY_ROOT

if TYPE_CHECKING:
    from hermetic.audit.leaf import Hidden
    from hermetic.crypto.x509 import AuthorityKey, Issuer
    from hermetic.custody.custodian import Custodian
    from hermetic.custody.work import Work
    from hermetic.db.rows import ReadSession, Session
    from hermetic.formats.canonical import JsonValue
    from hermetic.keys.secret_keys import SecretKey, SecretKeyId

ROOT_SECONDS: Final = 10 * 365 * 24 * 3600
INTERMEDIATE_SECONDS: Final = 365 * 24 * 3600


def signer(custodian: Custodian, session: Any) -> tuple[Issuer, Authority]:
    """Return what signs certificates now, and its row. Raises NotFound where the domain has no authority; as `secret_keys.load`."""
    item = authorities.issuing(session)
    return _issuer(custodian, session, item), item


def chain_of(session: ReadSession, issuing: Authority) -> tuple[bytes, ...]:
    """Return what a peer sends after its own certificate: the intermediate, and what leads on to roots that some still pin."""
    return (issuing.certificate, *(item.certificate for item in authorities.crosses(session)))


def make_root(custodian: Custodian, work: Work, *, old: Authority | None = None) -> tuple[Authority, ...]:
    """Make a root; an `old` one vouches for its key, in a certificate that comes second, before its own is destroyed.

    Logs nothing: `told` does.
    """
    key, made_id = x509.AuthorityKey.generate(), fresh_id()
    before = None if old is None else _issuer(custodian, work.session, old)
    if old is not None and old.key_id is not None:
        end_key(work, old.key_id)
    span, subject = x509.Span.of(work.now_ms, ROOT_SECONDS), f"Hermetic root {made_id}"
    stored = secret_keys.create_authority(work.session, custodian.anchors, AUTHORITY_ROOT, key, now_ms=work.now_ms)
    made = _kept(work, stored.key_id, None, x509.root_certificate(key, subject, custodian.domain, span), made_id=made_id)
    if before is None or old is None:
        return (made,)
    span = x509.Span(span.start_ms, min(span.end_ms, old.not_after_ms))
    der = x509.intermediate_certificate(before, key.public, subject, custodian.domain, span=span, path=1)
    cross = _kept(work, stored.key_id, old.id, der, made_id=fresh_id())
    authorities.set_state(work.session, old, authorities.RETIRING)
    return made, replace(cross, shared=True)


def make_intermediate(custodian: Custodian, work: Work, root: Authority, *, old: Authority | None = None) -> Authority:
    """Make an intermediate under a root; an `old` one signs no more, and its key is destroyed."""
    if old is not None and old.key_id is not None:
        end_key(work, old.key_id)
        if old.state == authorities.ACTIVE:
            authorities.set_state(work.session, old, authorities.RETIRING)
    key, made_id = x509.AuthorityKey.generate(), fresh_id()
    stored = secret_keys.create_authority(work.session, custodian.anchors, AUTHORITY_INTERMEDIATE, key, now_ms=work.now_ms)
    span = x509.Span.of(work.now_ms, INTERMEDIATE_SECONDS, at_most_ms=root.not_after_ms)
    above = _issuer(custodian, work.session, root)
    der = x509.intermediate_certificate(above, key.public, f"Hermetic {made_id}", custodian.domain, span=span)
    return _kept(work, stored.key_id, root.id, der, made_id=made_id)


def end_key(work: Work, key_id: SecretKeyId) -> None:
    """Overwrite what opens a key that signs no more; its files are searched after the unit (`signing_keys.finish`)."""
    key = secret_keys.get(work.session, key_id)
    if key.state is KeyState.DESTROYED:
        return
    if key.state is KeyState.ACTIVE:
        secret_keys.set_state(work.session, key_id, KeyState.DEACTIVATED)
    secret_keys.set_state(work.session, key_id, KeyState.DESTROYED)
    signing_care.note_gone(work.session, key_id)
    forgetting.note(work.session)


def wraps_of(session: Session, keys: tuple[SecretKeyId | None, ...]) -> list[bytes]:
    """Return the wraps of keys that are about to go, to search the files for."""
    return [wrap for key, wraps in secret_keys.wraps_of(session) if key.key_id in keys for wrap in wraps.values()]


def told(work: Work, made: Authority, said: dict[str, Hidden], **more: JsonValue) -> None:
    """Log that an authority is believed from now on."""
    facts: dict[str, JsonValue] = {
        "authority": made.id,
        "kind": made.kind,
        "fingerprint": to_base64url(x509.parse(made.certificate).fingerprint),
        "parent": made.parent_id,
        "key": made.key_id,
        "not_after_ms": made.not_after_ms,
    }
    work.log(Entry("authority.added", facts | more, said))


def key_of(custodian: Custodian, session: ReadSession, key_id: SecretKeyId) -> AuthorityKey:
    """Return an authority's key, ready to sign. Raises as `secret_keys.load`."""
    return secret_keys.load_authority(session, custodian.anchors, key_id, x509.AuthorityKey)


def states(session: ReadSession) -> dict[str, SecretKey]:
    """Return the keys of authorities by id."""
    return {key.key_id: key for use in secret_keys.AUTHORITIES for key in secret_keys.ls(session, use)}


def _issuer(custodian: Custodian, session: Any, item: Authority) -> Issuer:
    assert item.key_id is not None
    return x509.Issuer(item.certificate, key_of(custodian, session, item.key_id))


def _kept(work: Work, key_id: SecretKeyId, parent: str | None, der: bytes, *, made_id: str) -> Authority:
    end = x509.parse(der).end_ms
    made = Authority(made_id, key_id, parent, der, authorities.ACTIVE, end, work.now_ms, 1)
    return authorities.add(work.session, made)
