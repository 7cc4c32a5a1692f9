"""Signing keys in the custody database: 32-byte private halves, wrapped under every active root (`slots`).

Purposes: `log-signing` for checkpoints of the log, `manifest-signing` for manifests, both Ed25519. One key per purpose is active; of
the ones before the wraps are overwritten, their public halves stay for verification, and custody records the change signed with the
old key (`custody.signing_keys`; what else is kept about them is in `signing_care`). A manifest-signing key may live in a token instead
(`token_keys`): it has no wraps, and `wraps_of` leaves it out. `authority-root` and `authority-intermediate` sign
certificates (ECDSA P-256; `access.authorities`). The domain secret is not here: it is needed to believe these rows (`domain_file`).
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, NewType

from hermetic.crypto.sign import SigningKey
from hermetic.db import tables
from hermetic.errors import Conflict, IntegrityError, KeyServiceUnavailable, KeyUnusable, UsageError
from hermetic.ids import KeyState, id_from_bytes
from hermetic.keys import roots, slots, token_keys
from hermetic.keys.kek import state_of
from hermetic.keys.states import check_transition, check_use

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from hermetic.crypto.secret import Secret
    from hermetic.crypto.sign import Signer
    from hermetic.crypto.x509 import AuthorityKey
    from hermetic.db.rows import ReadSession, Session
    from hermetic.keys.provider import RootId
    from hermetic.keys.roots import Anchors

SecretKeyId = NewType("SecretKeyId", str)

LOG_SIGNING: Final = "log-signing"
MANIFEST_SIGNING: Final = "manifest-signing"
PURPOSES: Final = (LOG_SIGNING, MANIFEST_SIGNING)
ALGORITHM: Final = "ed25519"
AUTHORITY_ROOT: Final = "authority-root"
AUTHORITY_INTERMEDIATE: Final = "authority-intermediate"
AUTHORITY_ALGORITHM: Final = "ecdsa-p256"
AUTHORITIES: Final = (AUTHORITY_ROOT, AUTHORITY_INTERMEDIATE)


@dataclass(frozen=True, slots=True)
class SecretKey:
    """A signing key as the catalogue knows it; `public` has 32 bytes, an authority's is an uncompressed point of 65.

    `home` is the URI of the token that it lives in alone, "" for one under the roots.
    """

    key_id: SecretKeyId
    purpose: str
    algorithm: str
    public: bytes
    state: KeyState
    created_ms: int
    revision: int
    home: str = ""


def create(session: Session, anchors: Anchors, purpose: str, *, now_ms: int, seed: Secret | None = None) -> SecretKey:
    """Make the first key of a purpose. Raises Conflict when one is active, UsageError for an unknown purpose, and as `ensure_kek`."""
    if purpose not in PURPOSES:
        raise UsageError(f"unknown purpose of a signing key: {purpose!r}", hint="one of " + ", ".join(PURPOSES))
    if any(key.state is KeyState.ACTIVE for key in ls(session, purpose)):
        raise Conflict(f"a key for {purpose} is active already", hint="rotate it")
    signing = SigningKey.generate() if seed is None else SigningKey(seed)
    key = _fresh(purpose, ALGORITHM, signing.public, now_ms)
    return _insert(session, anchors, key, signing.seed())


def create_authority(session: Session, anchors: Anchors, purpose: str, key: AuthorityKey, *, now_ms: int) -> SecretKey:
    """Keep the key of an authority. Raises UsageError for an unknown purpose, Conflict when one is active, and as `ensure_kek`."""
    if purpose not in AUTHORITIES:
        raise UsageError(f"unknown purpose of an authority's key: {purpose!r}", hint="one of " + ", ".join(AUTHORITIES))
    if any(item.state is KeyState.ACTIVE for item in ls(session, purpose)):
        raise Conflict(f"a key for {purpose} is active already", hint="rotate it")
    return _insert(session, anchors, _fresh(purpose, AUTHORITY_ALGORITHM, key.public, now_ms), key.seed())


def rotate(session: Session, anchors: Anchors, purpose: str, *, now_ms: int) -> SecretKey:
    """Make a new active key for a purpose and deactivate the one before. Raises KeyUnusable when there is none."""
    set_state(session, active(session, purpose).key_id, KeyState.DEACTIVATED)
    return create(session, anchors, purpose, now_ms=now_ms)


def rotate_into(session: Session, purpose: str, made: SecretKey) -> SecretKey:
    """Put the key in force that a token made (`in_token`), and deactivate the one before. Raises KeyUnusable when there is none."""
    set_state(session, active(session, purpose).key_id, KeyState.DEACTIVATED)
    return _stored(session, made, token_keys.encode(made.home))


def in_token(anchors: Anchors, uri: str, purpose: str, *, now_ms: int) -> SecretKey:
    """Let a token make a key, which nothing knows of before `rotate_into`. Raises UsageError, and as `TokenKeys.make`."""
    if purpose != MANIFEST_SIGNING:
        raise UsageError(
            "only the key of manifests may live in a token",
            hint="the log's key stays under the roots: a token that is lost would end the log, and no backup could go on with it",
        )
    if anchors.tokens is None:
        raise KeyServiceUnavailable("tokens are not reached here", hint="run the command where custody runs")
    token_keys.encode(uri)  # a URI that could not be kept makes no key
    key = _fresh(purpose, ALGORITHM, b"", now_ms)
    return replace(key, home=uri, public=anchors.tokens.make(uri, key.key_id).public)


def active(session: ReadSession, purpose: str) -> SecretKey:
    """Return the key that signs for a purpose now. Raises KeyUnusable."""
    for key in ls(session, purpose):
        if key.state is KeyState.ACTIVE:
            return key
    raise KeyUnusable(f"no key for {purpose} is active")


def get(session: ReadSession, key_id: SecretKeyId) -> SecretKey:
    """Return a key. Raises NotFound, RowTampered."""
    return _key(session.require(tables.secret_key, key_id))


def ls(session: ReadSession, purpose: str | None = None) -> list[SecretKey]:
    """Return the keys of one purpose, or all, oldest first."""
    rows = session.find(tables.secret_key) if purpose is None else session.find(tables.secret_key, purpose=purpose)
    return sorted((_key(row) for row in rows), key=lambda key: (key.created_ms, key.key_id))


def load(session: ReadSession, anchors: Anchors, key_id: SecretKeyId, *, recovering: bool = False) -> SigningKey:
    """Return an active key, ready to sign. Only custody calls this, and a restore, which is `recovering`.

    Raises KeyUnusable, Locked, KeyServiceUnavailable, IntegrityError when the seed does not make the recorded public key.
    """
    key, seed = _opened(session, anchors, key_id, ALGORITHM, recovering=recovering)
    signing = SigningKey(seed)
    if signing.public != key.public:
        raise IntegrityError(f"signing key {key_id} is not the recorded one")
    return signing


def signer(session: ReadSession, anchors: Anchors, key_id: SecretKeyId) -> Signer:
    """Return what signs with an active key, wherever that lives; a token is asked when it signs, not before. Raises as `load`."""
    key = get(session, key_id)
    if not key.home:
        return load(session, anchors, key_id)
    check_use(key.state, "wrap")
    if anchors.tokens is None:
        return token_keys.NoToken(key.home, key.public)
    return anchors.tokens.at(key.home, key_id, key.public)


def load_authority(session: ReadSession, anchors: Anchors, key_id: SecretKeyId, kind: type[AuthorityKey]) -> AuthorityKey:
    """Return the active key of an authority, ready to sign; `kind` is `crypto.x509.AuthorityKey`, which not everybody imports.

    Raises as `load`.
    """
    key, seed = _opened(session, anchors, key_id, AUTHORITY_ALGORITHM)
    signing = kind(seed)
    if signing.public != key.public:
        raise IntegrityError(f"the key {key_id} of an authority is not the recorded one")
    return signing


def _opened(
    session: ReadSession, anchors: Anchors, key_id: SecretKeyId, algorithm: str, *, recovering: bool = False
) -> tuple[SecretKey, Secret]:
    row = session.require(tables.secret_key, key_id)
    key = _key(row)
    check_use(key.state, "wrap")
    if key.algorithm != algorithm:
        raise KeyUnusable(f"signing key {key_id} is for {key.purpose}, and not for this")
    if key.home:
        raise KeyUnusable(f"signing key {key_id} lives in {key.home}, and never comes out")
    wraps = slots.decode(row["wrapped"])
    return key, roots.open_key(session, anchors, wraps, context_of(anchors, key), recovering=recovering)


def set_state(session: Session, key_id: SecretKeyId, state: KeyState) -> SecretKey:
    """Change the state of a key; destroying it overwrites its wraps. Raises KeyUnusable, Conflict, NotFound."""
    key = get(session, key_id)
    check_transition(key.state, state)
    changes: dict[str, Any] = {"state": state.value}
    if state is KeyState.DESTROYED:
        changes["wrapped"] = b""
    return _key(session.update(tables.secret_key, key_id, key.revision, **changes))


def wraps_of(session: ReadSession) -> list[tuple[SecretKey, dict[RootId, bytes]]]:
    """Return every key that is wrapped under roots, with its wraps by root: not those destroyed, nor those in tokens."""
    found = ((_key(row), row["wrapped"]) for row in session.find(tables.secret_key) if row["wrapped"])
    return [(key, slots.decode(wrapped)) for key, wrapped in found if not key.home]


def set_wraps(session: Session, key: SecretKey, wraps: Mapping[RootId, bytes]) -> None:
    """Replace the wraps of a key (`migration` calls this). Raises Conflict when the key has changed since it was read."""
    session.update(tables.secret_key, key.key_id, key.revision, wrapped=slots.encode(wraps))


def _fresh(purpose: str, algorithm: str, public: bytes, now_ms: int) -> SecretKey:
    key_id = SecretKeyId(id_from_bytes(os.urandom(16)))
    return SecretKey(key_id, purpose, algorithm, public, KeyState.ACTIVE, now_ms, revision=1)


def _insert(session: Session, anchors: Anchors, key: SecretKey, seed: Secret) -> SecretKey:
    wraps = roots.wrap_under(roots.for_new_keys(session, anchors), seed, context_of(anchors, key))
    return _stored(session, key, slots.encode(wraps))


def _stored(session: Session, key: SecretKey, wrapped: bytes) -> SecretKey:
    session.insert(
        tables.secret_key,
        id=key.key_id,
        purpose=key.purpose,
        algorithm=key.algorithm,
        public=key.public,
        wrapped=wrapped,
        state=KeyState.ACTIVE.value,
        created_ms=key.created_ms,
    )
    return get(session, key.key_id)


def context_of(anchors: Anchors, key: SecretKey) -> slots.ContextOf:
    """Return what gives the context of a key's wrap under a root."""
    return lambda root_id: slots.secret_key_context(anchors.domain, root_id, key.key_id, key.purpose)


def _key(row: dict[str, Any]) -> SecretKey:
    if row["algorithm"] != (AUTHORITY_ALGORITHM if row["purpose"] in AUTHORITIES else ALGORITHM):
        raise KeyUnusable(f"signing key {row['id']} has the algorithm {row['algorithm']!r}, which this release cannot use")
    return SecretKey(
        key_id=SecretKeyId(row["id"]),
        purpose=row["purpose"],
        algorithm=row["algorithm"],
        public=row["public"],
        state=state_of(row["state"], f"signing key {row['id']}"),
        created_ms=row["created_ms"],
        revision=row["revision"],
        home=token_keys.home_in(row["wrapped"]),
    )
