"""What an approver signs with: a key file, or an authenticator through a page in the browser."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hermetic.cli.passphrase import asker
from hermetic.errors import UsageError
from hermetic.formats.messages.approvals import ListApprovers
from hermetic.formats.messages.base import Pair

if TYPE_CHECKING:
    from pathlib import Path

    from hermetic.cli.out import Out
    from hermetic.domain.approving import Shown
    from hermetic.domain.connect import Connection
    from hermetic.formats.approval import Decided


@dataclass(frozen=True, slots=True)
class Key:
    """What an approver signs with: a key file and its passphrase's, or an authenticator."""

    key_file: Path | None
    passphrase_file: Path | None
    touch: bool
    name: str | None
    no_browser: bool

    def check(self, *, offline: bool) -> None:
        """Raise UsageError unless it is one way to sign, and a possible one."""
        if self.touch == (self.key_file is not None):
            raise UsageError("say what you sign with", hint="--key FILE, or --webauthn")
        if self.touch and offline:
            raise UsageError("an authenticator's credential is custody's to name", hint="approve with --key FILE offline")


def touched(out: Out, connection: Connection, asked: Shown, what: tuple[Key, tuple[Decided, str]]) -> bytes:
    """Return a statement that an authenticator signed, after its page has shown all that the signature covers."""
    from hermetic.cli.authenticator_page import AuthenticatorPage  # noqa: PLC0415 - a server that `--help` does not need
    from hermetic.domain import approving  # noqa: PLC0415 - see cli/session.py
    from hermetic.domain import authenticating as touch  # noqa: PLC0415

    key, (verdict, reason) = what
    key_id, credential = touch.own_authenticator(connection.ask(ListApprovers()).approvers, key.name or connection.welcome.principal)
    payload = approving.unsigned(asked, key_id, verdict=verdict, reason=reason, now_ms=time.time_ns() // 1_000_000)
    title = "Approve this request" if verdict == "approve" else "Deny this request"
    lines = (*asked.fields(), Pair("reason", reason))
    with AuthenticatorPage(browser=not key.no_browser) as page:
        answer = page.ask(touch.assertion(touch.challenge_of(payload), (credential,), title=title, lines=lines), out.note)
    return touch.signed(payload, key_id, answer)


def sign(asked: Shown, key: Key, said: tuple[Decided, str]) -> bytes:
    """Return a statement that a key file signed."""
    from hermetic.domain import approving  # noqa: PLC0415 - see cli/session.py

    file = key.key_file
    if file is None:
        raise UsageError("say what you sign with", hint="--key FILE")
    secret = asker(key.passphrase_file, label="passphrase of your key")()
    verdict, reason = said
    return approving.statement(asked, file, secret, verdict=verdict, reason=reason, now_ms=time.time_ns() // 1_000_000)
