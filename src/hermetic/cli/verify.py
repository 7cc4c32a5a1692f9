"""`hermetic verify`: signature and ciphertext of a version, without its data key."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from hermetic.cli.blocks import Facts, Mark
from hermetic.cli.options import environment, output
from hermetic.cli.session import workspace
from hermetic.cli.words import count, size

if TYPE_CHECKING:
    from hermetic.cli.out import Out


@click.command()
@click.argument("refs", nargs=-1, required=True, metavar="REF...")
@environment()
@output
def verify(out: Out, *, refs: tuple[str, ...]) -> int:
    """Check signature and ciphertext of a version, without its data key.

    Every stored byte is compared with the signed manifest, and the manifest with the keys you have pinned. Exits with 4 if anything
    differs.
    """
    with workspace() as work, out.progress("verifying", len(refs)) as advance:
        done = []
        for ref in refs:
            done.append(work.verify(ref))
            advance(1)
    facts = [(Mark("intact", "good"), f"{item.ref}  {count(item.objects, 'object')}, {size(item.bytes)}") for item in done]
    out.emit({"verified": done}, Facts([(str(label), text) for label, text in facts]))
    return 0
