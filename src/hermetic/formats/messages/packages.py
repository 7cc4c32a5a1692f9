"""Sharing a version with people outside the domain."""

from __future__ import annotations

from dataclasses import dataclass

from hermetic.formats.codec import message
from hermetic.formats.messages.base import Receipt, Request
from hermetic.ids import DataClass, Environment


@dataclass(frozen=True, slots=True)
class RecipientKey:
    """Who a package is for: what they call themselves, and their hybrid public key (1,216 bytes)."""

    name: str
    public: bytes


@message("share-version")
@dataclass(frozen=True, slots=True)
class ShareVersion(Request["Shared"]):
    """Seal the data key of a version to 1 to 16 recipients, good for `days` (1 to 365).

    Repeated as it is, it is the same request, and uses the approvals that were given to it. `ref` has a number, and `version` is the
    id of what it means now: approvals are for that, whatever goes by the name later.
    """

    ref: str
    version: str
    recipients: tuple[RecipientKey, ...]
    days: int
    reason: str
    environment: Environment | None = None  # the one that is worked in; None: the run's, else what the rules or hermetic.yaml say


@message("shared")
@dataclass(frozen=True, slots=True)
class Shared:
    """What goes into the package: signed statement, manifest, a message to each recipient. The objects lie in `store`."""

    package: str
    ref: str
    version: str
    data_class: DataClass
    store: str
    manifest: bytes
    statement: bytes
    messages: tuple[bytes, ...]
    expires_ms: int
    receipt: Receipt
