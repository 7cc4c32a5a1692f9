"""Second factors of people: add, confirm, list, remove (docs/how-to/second-factors.md; spec/port.md section 2).

The secret of a code app travels once, sealed to a key that the asker made for it, and never the other way. Challenges to
authenticators are single-use, and for one principal with one credential.
"""

from __future__ import annotations

from dataclasses import dataclass

from hermetic.formats.codec import message
from hermetic.formats.messages.base import Receipt, Request


@dataclass(frozen=True, slots=True)
class FactorRow:
    """A second factor: `kind` is totp, webauthn or invitation; `state` pending, active or removed."""

    id: str
    principal: str
    kind: str
    label: str
    state: str
    created_ms: int
    used_ms: int | None


@message("factor-changed")
@dataclass(frozen=True, slots=True)
class FactorChanged:
    """The factor as it is now."""

    factor: FactorRow
    receipt: Receipt


@message("totp-begun")
@dataclass(frozen=True, slots=True)
class TotpBegun:
    """A factor that waits for its first code, and its secret, sealed to the key that was asked for. `account` is for the app."""

    factor: str
    sealed: bytes
    domain: str
    account: str
    expires_ms: int


@message("begin-totp")
@dataclass(frozen=True, slots=True)
class BeginTotp(Request[TotpBegun]):
    """Begin to add a code app for oneself. `to` is a fresh HPKE public key; a first factor takes an invitation."""

    label: str
    to: bytes
    invitation: str = ""


@message("finish-totp")
@dataclass(frozen=True, slots=True)
class FinishTotp(Request[FactorChanged]):
    """Show the first code of a factor that was begun."""

    factor: str
    code: str


@message("webauthn-challenge")
@dataclass(frozen=True, slots=True)
class WebauthnChallenge:
    """What to ask an authenticator for: `credentials` are those of the person, which may answer, or must not be made again."""

    challenge: bytes
    rp: str
    user: bytes
    name: str
    credentials: tuple[bytes, ...]
    expires_ms: int


@message("begin-webauthn")
@dataclass(frozen=True, slots=True)
class BeginWebauthn(Request[WebauthnChallenge]):
    """Ask for a challenge: for a new credential (`adding`), or to show one. `port` is where the page stands on `localhost`."""

    adding: bool
    port: int
    invitation: str = ""


@message("finish-webauthn")
@dataclass(frozen=True, slots=True)
class FinishWebauthn(Request[FactorChanged]):
    """Hand in a new credential."""

    label: str
    client: bytes
    attestation: bytes


@message("factor-confirmed")
@dataclass(frozen=True, slots=True)
class FactorConfirmed:
    """The session is fresh since `at_ms`, for this principal with this credential."""

    kind: str
    at_ms: int
    receipt: Receipt


@message("confirm-totp")
@dataclass(frozen=True, slots=True)
class ConfirmTotp(Request[FactorConfirmed]):
    """Show a code."""

    code: str


@message("confirm-webauthn")
@dataclass(frozen=True, slots=True)
class ConfirmWebauthn(Request[FactorConfirmed]):
    """Show an authenticator: its answer to the challenge."""

    credential: bytes
    authenticator: bytes
    client: bytes
    signature: bytes
    user: bytes


@message("factor-list")
@dataclass(frozen=True, slots=True)
class FactorList:
    """Factors by principal and age. `invitation` says that the asker has none, and needs an invitation for the first one."""

    factors: tuple[FactorRow, ...]
    invitation: bool
    confirmed_ms: int | None


@message("list-factors")
@dataclass(frozen=True, slots=True)
class ListFactors(Request[FactorList]):
    """One's own factors; those of somebody else (a name or an id), or of everybody (`*`), are for those who enrol people."""

    principal: str = ""


@message("remove-factor")
@dataclass(frozen=True, slots=True)
class RemoveFactor(Request[FactorChanged]):
    """End a factor. One's last one, and somebody else's, is for those who enrol people."""

    factor: str
    reason: str


@message("factor-invitation")
@dataclass(frozen=True, slots=True)
class FactorInvitation:
    """A single-use code that lets somebody add a first factor, sealed to the key that was asked for."""

    factor: str
    sealed: bytes
    domain: str
    expires_ms: int
    receipt: Receipt


@message("invite-factor")
@dataclass(frozen=True, slots=True)
class InviteFactor(Request[FactorInvitation]):
    """Let somebody who has no second factor add the first one. `to` is a fresh HPKE public key."""

    principal: str
    to: bytes
    reason: str
