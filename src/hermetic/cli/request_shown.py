"""A request for approval as its approver reads it: all that a signature covers, what custody says about it, and the exact bytes."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from hermetic.errors import HermeticError
from hermetic.formats.messages.policy import ShowPolicy
from hermetic.formats.readable import spelled

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hermetic.cli.out import Out
    from hermetic.domain.approving import Shown
    from hermetic.domain.connect import Connection
    from hermetic.formats.messages.approvals import RequestRow

_SPACES = 32  # in a row, in a line of a policy


def tell(out: Out, asked: Shown, row: RequestRow | None = None, connection: Connection | None = None) -> None:
    """Say on stderr what is about to be signed, before anybody is asked for a passphrase. Raises as `Shown.fields`."""
    for line in lines(asked, row, connection):
        out.note(line)


def lines(asked: Shown, row: RequestRow | None = None, connection: Connection | None = None) -> Iterator[str]:
    """Yield all that the signature covers, from the signed bytes themselves; then what custody says of it, and what changes."""
    for pair in asked.fields():
        yield f"{pair.name}: {pair.value}"
    if row is not None:
        yield "custody says, which is not signed:"
        for pair in row.about:
            yield f"  {pair.name}: {pair.value}"
    yield from changes(asked, connection)


def changes(asked: Shown, connection: Connection | None) -> Iterator[str]:
    """Yield what a policy would change, against the one in force; without custody, the whole text of each of its files."""
    new = asked.bundle()
    if new is None:
        return
    if connection is None:
        for name, content in sorted(new.files.items()):
            yield f"{name}:"
            yield from (f"  {spelled(line, spaces=_SPACES)}" for line in content.decode("utf-8", "backslashreplace").split("\n"))
        return
    from hermetic.policy.bundle import PolicyBundle, diff  # noqa: PLC0415 - for this kind of request only

    try:
        old = PolicyBundle.from_bytes(connection.ask(ShowPolicy()).bundle)
    except HermeticError as error:
        yield f"the policy in force cannot be shown beside it: {spelled(error.message)}"
        yield from changes(asked, None)
        return
    yield "changes to the policy in force; lines that are not here stay as they are:"
    yield from (f"  {spelled(line, spaces=_SPACES)}" for line in diff(old, new).split("\n") if line)


def write_raw(asked: Shown) -> None:
    """Write the canonical bytes to stdout. On a terminal what is not ASCII is escaped as JSON does, which means the same."""
    asked.checked()
    if sys.stdout.isatty():
        text = json.dumps(json.loads(asked.request), separators=(",", ":"), sort_keys=True, ensure_ascii=True)
        sys.stdout.write(text.replace("\x7f", "\\u007f") + "\n")
        return
    sys.stdout.buffer.write(asked.request)
    sys.stdout.buffer.flush()
