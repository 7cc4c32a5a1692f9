"""`hermetic policy …`: what is in force, what the files say, and why something would be allowed or refused."""

from __future__ import annotations

import difflib
import json
from typing import TYPE_CHECKING

import click

from hermetic.cli.blocks import Block, Facts, Heading, Line, Mark
from hermetic.cli.files import write_new
from hermetic.cli.lazy import Group
from hermetic.cli.options import ANY_PATH, environment, output, purpose
from hermetic.cli.session import connected
from hermetic.cli.words import moment
from hermetic.formats.messages.policy import ApplyPolicy, Explain, ShowPolicy
from hermetic.ids import Enforcement, Purpose
from hermetic.policy.bundle import PolicyBundle
from hermetic.policy.defaults import json_schema_text

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from hermetic.cli.out import Out

DENIED = 3
LEVEL = click.Choice([level.value for level in Enforcement])


@click.group(cls=Group)
def policy() -> None:
    """The policy in force: show, apply, explain.

    A file edited is not a policy in force: custody decides by what was last applied.
    """


@policy.command()
@click.option("--diff", is_flag=True, help="Compare with the files as they are now.")
@output
def show(out: Out, *, diff: bool) -> int:
    """Show the policy custody decides by."""
    with connected() as connection:
        shown = connection.ask(ShowPolicy())
        now = connection.project.bundle()
    bundle = PolicyBundle.from_bytes(shown.bundle)
    edited = now.digest() != shown.digest
    blocks: list[Block] = [
        Facts(
            [
                ("digest", shown.digest.hex()),
                ("applied", f"{moment(shown.applied_ms)} by {shown.applied_by}"),
                ("files", Mark("edited since: hermetic policy apply", "warn") if edited else Mark("the same", "good")),
            ]
        )
    ]
    changes = _difference(bundle.files, now.files) if diff else []
    if diff:
        blocks += [Line(text) for text in changes]
    else:
        for name, content in sorted(bundle.files.items()):
            blocks += [Heading(name), content.decode("utf-8", "replace").rstrip("\n")]
    document = {
        "digest": shown.digest,
        "applied_ms": shown.applied_ms,
        "applied_by": shown.applied_by,
        "edited": edited,
        "files": {name: content.decode("utf-8", "replace") for name, content in bundle.files.items()},
        "diff": changes if diff else None,
    }
    out.emit(document, *blocks)
    return 0


@policy.command()
@click.option("--dry-run", is_flag=True, help="Check the files and show the difference; apply nothing.")
@output
def apply(out: Out, *, dry_run: bool) -> int:
    """Put the files as they are now in force.

    They are checked first; the change is recorded in the log, and takes effect without restart.
    """
    from hermetic.policy.rulebook import Rulebook  # noqa: PLC0415 - brings the policy engine

    with connected() as connection:
        shown = connection.ask(ShowPolicy())
        now = connection.project.bundle()
        Rulebook.load(now)  # a mistake is told with its line before custody is asked
        changes = _difference(PolicyBundle.from_bytes(shown.bundle).files, now.files)
        applied = None if dry_run or now.digest() == shown.digest else connection.ask(ApplyPolicy(now.to_bytes()))
    state = "applied" if applied else "checked, not applied" if dry_run else "already in force"
    document = {
        "state": state,
        "digest": now.digest(),
        "previous": shown.digest,
        "diff": changes,
        "log_index": applied.receipt.index if applied else None,
    }
    out.emit(document, *(Line(text) for text in changes), Facts([(state, now.digest().hex())]))
    return 0


@policy.command()
@click.argument("action")
@click.argument("ref")
@purpose("The reason that would be declared.")
@click.option("--principal", metavar="WHO", help="Somebody else than you.")
@click.option("--enforcement", type=LEVEL, help="Judge as at this level; else at the one they have.")
@environment()
@output
def explain(out: Out, *, action: str, ref: str, purpose: str | None, principal: str | None, enforcement: str | None) -> int:
    """Say why an action would be allowed or refused.

    Nothing is released or recorded. Exits with 3 if it would be refused.

    Others are judged as they would be served: at level service who has a certificate, at separated another user of custody's machine,
    at cooperative the user that custody runs as.
    """
    with connected() as connection:
        level = Enforcement(enforcement) if enforcement else None
        answer = connection.ask(Explain(action, ref, Purpose(purpose) if purpose else None, principal, enforcement=level))
    verdict = Mark("allowed", "good") if answer.allowed else Mark("refused", "bad")
    out.emit(
        answer,
        Facts(
            [(f"{action} {ref}", verdict), ("by policies", ", ".join(answer.policies)), ("also needed", ", ".join(answer.obligations))]
        ),
        *(Line(text, 2) for text in answer.lines),
    )
    return 0 if answer.allowed else DENIED


@policy.command()
@click.option("-o", "--output", "target", type=ANY_PATH, metavar="FILE", help="Write to FILE instead of stdout.")
@output
def schema(out: Out, *, target: Path | None) -> int:
    """Print the JSON Schema of hermetic.yaml, for editors."""
    text = json_schema_text()
    if target is None:
        out.emit(json.loads(text), text.rstrip("\n"))
        return 0
    write_new(target, text.encode("utf-8"), replace=True)
    out.emit({"written": str(target)}, Facts([("written", str(target))]))
    return 0


def _difference(old: Mapping[str, bytes], new: Mapping[str, bytes]) -> list[str]:
    """Return the lines of a unified diff between two sets of files."""
    lines: list[str] = []
    for name in sorted(old.keys() | new.keys()):
        before, after = (files.get(name, b"").decode("utf-8", "replace").splitlines() for files in (old, new))
        lines += difflib.unified_diff(before, after, f"in force/{name}", f"file/{name}", lineterm="")
    return lines
