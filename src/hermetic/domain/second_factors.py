"""What a person's own side does to add second factors: secrets arrive sealed to a key made for one answer, and are opened here.

begin_totp    the secret of a code app, to be shown on the terminal once
invite        the code that lets somebody add a first factor
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hermetic.crypto import totp
from hermetic.crypto.hpke import PrivateKey
from hermetic.formats import factor_secret
from hermetic.formats.messages.second_factors import BeginTotp, InviteFactor

if TYPE_CHECKING:
    from hermetic.domain.connect import Connection


@dataclass(frozen=True, slots=True)
class Shown:
    """What is to be shown once: the secret as text and as URI. `factor` is the id that the first code is for."""

    factor: str
    text: str = field(repr=False)
    uri: str = field(repr=False)


def begin_totp(connection: Connection, label: str, invitation: str) -> Shown:
    """Have a secret made. Raises as custody does, WrongKey."""
    key = PrivateKey.generate()
    begun = connection.ask(BeginTotp(label, key.public, invitation))
    secret = key.open(begun.sealed, factor_secret.binding(begun.domain, begun.factor, "totp"))
    try:
        return Shown(begun.factor, totp.spelled(secret), totp.uri(secret, begun.account))
    finally:
        secret.wipe()
        key.wipe()


def invite(connection: Connection, principal: str, reason: str) -> tuple[str, int]:
    """Return the code of an invitation, and until when it is good. Raises as custody does, WrongKey."""
    key = PrivateKey.generate()
    made = connection.ask(InviteFactor(principal, key.public, reason))
    secret = key.open(made.sealed, factor_secret.binding(made.domain, made.factor, "invitation"))
    try:
        return bytes(secret.view()).decode("ascii"), made.expires_ms
    finally:
        secret.wipe()
        key.wipe()
