"""Key-encryption keys: list, show, rotate, rewrap, change state."""

from __future__ import annotations

from dataclasses import dataclass

from hermetic.formats.codec import message
from hermetic.formats.messages.base import Receipt, Request
from hermetic.ids import DataClass, Environment


@message("list-keys")
@dataclass(frozen=True, slots=True)
class ListKeys(Request["KeyList"]):
    """Every KEK of the domain, as many as fit; `after` is the `next` of the page before."""

    after: str | None = None


@dataclass(frozen=True, slots=True)
class KeyVersionRow:
    """One version of a KEK: state (NIST SP 800-57), wraps made, data keys that still hang on it.

    `home` is the URI of the root that it lives in alone (`kek: in-provider`); empty for one with slots. `used` is how much of what the
    version may wrap, or where it lives alone its root, is used up (spec/key-usage.md).
    """

    number: int
    state: str
    created_ms: int
    wraps: int
    data_keys: int
    destroy_after_ms: int | None = None  # when its announced destruction is due, or was
    home: str = ""
    used: int = 0  # percent


@message("key-row")
@dataclass(frozen=True, slots=True)
class KeyRow:
    """A KEK and its blast radius: versions, assets. `roots` are the provider URIs that hold a slot, `contact` is whom to call."""

    kek: str
    environment: Environment
    data_class: DataClass
    project: str
    state: str
    epoch: int
    owner: str
    created_ms: int
    rotate_after_days: int | None
    last_use_ms: int | None
    roots: tuple[str, ...]
    versions: tuple[KeyVersionRow, ...]
    assets: tuple[str, ...]
    contact: str = ""


@message("key-list")
@dataclass(frozen=True, slots=True)
class KeyList:
    """KEKs in order of environment, class, project; `next` says where the next page begins, None at the end."""

    keys: tuple[KeyRow, ...]
    next: str | None = None


@message("show-key")
@dataclass(frozen=True, slots=True)
class ShowKey(Request[KeyRow]):
    """One KEK by id or unique id prefix."""

    kek: str


@message("rotate-key")
@dataclass(frozen=True, slots=True)
class RotateKey(Request["KeyChanged"]):
    """Give a KEK a new version for new data; the old one is deactivated."""

    kek: str
    reason: str = ""


@message("rewrap-key")
@dataclass(frozen=True, slots=True)
class RewrapKey(Request["Rewrapped"]):
    """Move at most `limit` data keys of a KEK to its active version; call again until `left` is 0."""

    kek: str
    limit: int = 1000
    reason: str = ""


@message("rewrapped")
@dataclass(frozen=True, slots=True)
class Rewrapped:
    """Progress of a rewrap campaign."""

    kek: str
    number: int
    moved: int
    left: int


@message("change-key-state")
@dataclass(frozen=True, slots=True)
class ChangeKeyState(Request["KeyChanged"]):
    """`verb` is suspend, resume or revoke. Leases under the KEK end at their next check."""

    kek: str
    verb: str
    reason: str


@message("change-key-schedule")
@dataclass(frozen=True, slots=True)
class ChangeKeySchedule(Request["KeyChanged"]):
    """Set owner, emergency contact and schedule of a KEK; None leaves one as it is, 0 days mean never by time."""

    kek: str
    owner: str | None = None
    contact: str | None = None
    rotate_after_days: int | None = None
    reason: str = ""


@message("key-changed")
@dataclass(frozen=True, slots=True)
class KeyChanged:
    """The KEK as it is now."""

    key: KeyRow
    receipt: Receipt
