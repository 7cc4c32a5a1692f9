"""`hermetic approver …`: who may approve critical operations, and the keys they sign with."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hermetic.cli.blocks import Facts, Mark, Table
from hermetic.cli.files import write_new
from hermetic.cli.identity_factor import NO_BROWSER
from hermetic.cli.lazy import Group
from hermetic.cli.options import ANY_PATH, output, passphrase_file, reason
from hermetic.cli.passphrase import asker
from hermetic.cli.session import connected
from hermetic.cli.words import moment
from hermetic.errors import NotFound, UsageError
from hermetic.formats.messages.approvals import ApproverChanged, EnrolApprover, ListApprovers, RemoveApprover

if TYPE_CHECKING:
    from hermetic.cli.out import Out

_LIMIT = 4096  # bytes of a public file


@click.group(cls=Group)
def approver() -> None:
    """Approvers: enrol, list, remove; make a key to sign with."""


@approver.group(cls=Group)
def key() -> None:
    """An approver's own key."""


@key.command()
@click.argument("file", type=ANY_PATH)
@click.option("--webauthn", "touch", is_flag=True, help="In your authenticator, not in FILE: FILE.pub alone is written.")
@NO_BROWSER
@passphrase_file()
@output
def new(out: Out, *, file: Path, touch: bool, no_browser: bool, passphrase_file: Path | None) -> int:
    """Make a key in FILE, under a passphrase, and its public half in FILE.pub.

    Do it where only the approver works. FILE.pub goes to whoever enrols approvers; FILE stays.
    """
    from hermetic.domain import approving  # noqa: PLC0415 - cryptography costs more than `--help`

    if touch:
        public = file.with_name(file.name + ".pub")
        raw = _touched(out, file.name, browser=not no_browser)
        write_new(public, raw)
        key_id = approving.public_of(raw)
        out.emit({"key": key_id, "public": public}, Facts([("key", Mark(key_id, "name")), ("public half", str(public))]))
        return 0
    secret = asker(passphrase_file, confirm=True, label="passphrase of the new key")()
    key_id = approving.make_key(file, secret)
    public = file.with_name(file.name + ".pub")
    out.emit({"key": key_id, "file": file, "public": public}, Facts([("key", Mark(key_id, "name")), ("public half", str(public))]))
    return 0


@approver.command()
@click.argument("name")
@click.option("--public-key", "public", type=ANY_PATH, metavar="FILE", help="The approver's FILE.pub; NAME.pub with --webauthn.")
@click.option(
    "--webauthn", "touch", is_flag=True, help="The approver is here: make FILE with their authenticator, if it is not there."
)
@NO_BROWSER
@reason()
@output
def enrol(out: Out, *, name: str, public: Path | None, touch: bool, no_browser: bool, reason: str) -> int:
    """Let somebody approve, by the key they sign with.

    The first ones are enrolled by the domain owner alone, on record; once there are as many as operations need, this needs approvals
    itself. Compare the key with the approver by another way than the file came. With --webauthn the file is kept, so that the command
    can be given again once it is approved.
    """
    file = public or _public_of(name, touch=touch)
    if touch and file.exists():
        out.note(f"{file} is there already: it is enrolled as it is, and no authenticator is asked")
    elif touch:
        write_new(file, _touched(out, name, browser=not no_browser))
    raw = read_small(file)
    with connected() as connection:
        changed = connection.ask(EnrolApprover(name, raw, reason))
    if changed.approver.alone:
        out.note(f"{name} was enrolled without approvals, which is on record: compare the key {changed.approver.key} with {name}")
    _tell(out, "enrolled", changed)
    return 0


@approver.command()
@click.argument("name")
@reason()
@output
def remove(out: Out, *, name: str, reason: str) -> int:
    """End an approver at once; the key is never taken again."""
    with connected() as connection:
        changed = connection.ask(RemoveApprover(name, reason))
    _tell(out, "removed", changed)
    return 0


@approver.command(name="ls")
@output
def ls(out: Out) -> int:
    """List approvers and their keys."""
    with connected() as connection:
        found = connection.ask(ListApprovers())
    rows = [
        (row.name, Mark(row.key, "name"), row.state, moment(row.created_ms), "the owner alone" if row.alone else "approved")
        for row in found.approvers
    ]
    out.emit(found, Table(("name", "key", "state", "since", "enrolled by"), rows, empty="no approvers"))
    return 0


def _public_of(name: str, *, touch: bool) -> Path:
    """Return the file that the public half of somebody's authenticator is kept in. Raises UsageError."""
    if not touch:
        raise UsageError("say which key", hint="--public-key FILE, from `hermetic approver key new`; or --webauthn, if they are here")
    if name.startswith(".") or not name.isprintable() or Path(name).name != name:
        raise UsageError(f"{name!r} cannot be the name of a file", hint="--public-key FILE says where the public half is kept")
    return Path(f"{name}.pub")


def read_small(path: Path, limit: int = _LIMIT) -> bytes:
    """Read a file that is not secret. Raises NotFound, UsageError for one over `limit`."""
    try:
        with path.open("rb") as file:
            raw = file.read(limit + 1)
    except OSError as error:
        raise NotFound(f"cannot read {path}: {error.strerror}") from None
    if len(raw) > limit:
        raise UsageError(f"{path} has more than {limit} bytes", hint="is it the file that was meant?")
    return raw


def _touched(out: Out, name: str, *, browser: bool) -> bytes:
    """Return the public file of an authenticator: it makes a credential, then answers once to prove that it is there."""
    from hermetic.cli.authenticator_page import AuthenticatorPage  # noqa: PLC0415 - a server that `--help` does not need
    from hermetic.domain import authenticating as touch  # noqa: PLC0415

    challenge, user = secrets.token_bytes(32), secrets.token_bytes(32)
    with AuthenticatorPage(browser=browser) as page:
        made = page.ask(touch.creation(challenge, user, name, title="Make an approver's key"), out.note)
        kept, credential = touch.approver_kept(made, challenge, page.origin)
        proof = touch.assertion(touch.proof_challenge(kept), (credential,), title="Once more, to prove that the key is there")
        return touch.approver_file(kept, page.ask(proof, out.note))


def _tell(out: Out, done: str, changed: ApproverChanged) -> None:
    row = changed.approver
    out.emit(
        {"approver": row, "log_index": changed.receipt.index},
        Facts([(done, Mark(row.name, "name")), ("key", row.key), ("log entry", str(changed.receipt.index))]),
    )
