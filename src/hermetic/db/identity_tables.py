"""Tables about how people and workloads show who they are, their grants, what a service keeps for them: a part of `tables`."""

from __future__ import annotations

from sqlalchemy import Index, UniqueConstraint

from hermetic.db.table_parts import authenticated, blob, lookup, number, sealed, text

authority = authenticated(
    "authority",
    text("id", key=True),
    text("key_id", null=True, to="secret_key.id"),  # not set: its private key is elsewhere
    text("parent_id", null=True),
    blob("certificate"),
    text("state"),
    number("not_after_ms"),
    number("created_ms"),
)
credential = authenticated(
    "credential",
    text("id", key=True),
    text("principal_id", to="principal.id"),
    text("kind"),  # certificate, device
    blob("fingerprint"),  # SHA-256 of the certificate, or of the public key of a device
    blob("public"),  # SubjectPublicKeyInfo
    text("authority_id", null=True),
    number("not_after_ms", null=True),
    text("state"),
    number("created_ms"),
    number("ended_ms", null=True),
    sealed("about", "json", null=True),
    UniqueConstraint("fingerprint"),
    Index(None, "principal_id"),
    Index(None, "public"),
    Index(None, "not_after_ms"),
)
second_factor = authenticated(
    "second_factor",
    text("id", key=True),
    text("principal_id", to="principal.id"),
    text("kind"),  # totp, webauthn, invitation (a first factor may be added)
    sealed("label"),
    sealed("material", "bytes"),
    lookup("material"),
    number("counter"),
    text("state"),
    number("created_ms"),
    number("used_ms", null=True),
    Index(None, "principal_id"),
    Index(None, "material_h"),
)
factor_session = authenticated(
    "factor_session",
    text("principal_id", key=True, to="principal.id"),
    text("credential_id", key=True),  # "" where the kernel says who asks
    text("kind"),
    number("at_ms"),
)
factor_attempts = authenticated(
    "factor_attempts",
    text("principal_id", key=True, to="principal.id"),
    number("failed"),  # in a row
    number("until_ms"),  # no further one before
)
factor_challenge = authenticated(
    "factor_challenge",
    text("principal_id", key=True, to="principal.id"),
    text("credential_id", key=True),
    text("use", key=True),  # add, confirm
    blob("challenge"),
    text("origin"),
    number("expires_ms"),
)
grant_ = authenticated(
    "grant_",
    text("id", key=True),
    text("principal_id", to="principal.id"),
    text("action"),
    sealed("asset"),
    text("purposes", json=True),
    number("expires_ms", null=True),
    number("uses_left", null=True),
    text("state"),
    number("created_ms"),
    sealed("reason", null=True),
    number("bytes_left", null=True),  # of plaintext that may be released under it; not set: as many as there are
    text("kind", null=True),  # break-glass; not set: an ordinary one
    number("approvals", null=True),  # how many people agreed to it, which counts for what it covers
    number("reviewed_ms", null=True),
    Index(None, "principal_id"),
)
answered = authenticated(
    "answered",
    text("principal_id", key=True),
    text("key", key=True),  # the caller's idempotency key
    blob("request"),
    sealed("answer", "bytes"),
    number("at_ms"),
    Index(None, "at_ms"),
)
notification = authenticated(
    "notification",
    text("id", key=True),
    text("kind"),
    sealed("about", "json"),
    text("target"),
    text("state"),
    number("tries"),
    number("due_ms"),
    number("created_ms"),
    Index(None, "state", "due_ms"),
)
