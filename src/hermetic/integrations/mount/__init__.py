"""Sealed versions as plain files, for tools that know only paths: FUSE in a mount namespace that one command's processes see.

    plan = mount.plan(session, ["data=dataset/patients"], ["out=features/training"])
    work.run_command("train", argv, purpose="train", around=plan.around(tell_error, tell_note))

    places          what PATH=REF says, and where nothing may be mounted
    namespace       the child's part: namespaces, mount(2), descriptors over to the parent
    connection      questions of the kernel in, answers out
    protocol        the bytes of those
    version_tree    a version, read-only
    draft_tree      a folder that becomes a version; its files (draft_nodes, content) are in memory until the run ends (outputs)
    blocks          decrypted pieces, read ahead
    mounting        all of it around one command

Invariants:
1. Keys stay in the process of `hermetic run`. The command's processes get bytes of files, by read(2) and mmap(2).
2. The mount has no path outside the namespace. Of others with the same user id, who can reach into it through /proc/PID/root, every
   opening is refused (EACCES) unless the process descends from the command. That keeps indexers and backups out, not an attacker who
   is that user: he may attach to the command itself (docs/limitations.md).
3. Everything is released before the command starts, in one request; a refusal starts nothing.
4. What the kernel keeps of a file is taken back when the lease ends, at the latest `lease: check:` after a revocation, and when
   the command ends. From then on reads give EACCES, and touching a map is SIGBUS.
5. A read that cannot be verified gives EIO and no byte, is told on stderr, and makes the run fail: with the command's own exit code,
   or with that of the error if the command took no notice.
6. A killed command or a killed `hermetic run` leaves no mount behind. An empty folder that was made to mount on is removed at the
   end, or by the next run after a kill (`assets.mount_points`).
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hermetic.integrations.mount import mounting, namespace, places

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from hermetic.assets.runs import Around, RunHandle
    from hermetic.assets.session import Session
    from hermetic.errors import HermeticError
    from hermetic.integrations.mount.places import Wish


@dataclass(frozen=True, slots=True)
class Plan:
    """Mounts that can be made. `notes` are sentences for a person."""

    session: Session
    wishes: tuple[Wish, ...]
    notes: tuple[str, ...]

    def around(self, error: Callable[[HermeticError], None], note: Callable[[str], None]) -> Around:
        """Return what `Workspace.run_command` takes. What goes wrong meanwhile, or is worth a note, is told from any thread."""

        @contextmanager
        def around(run: RunHandle, folder: Path) -> Iterator[mounting.Mounts]:
            with mounting.mounted(self.session, self.wishes, run=run, folder=folder, tell=mounting.Tell(error, note)) as mounts:
                yield mounts

        return around


def plan(session: Session, reading: Sequence[str], new: Sequence[str] = ()) -> Plan:
    """Check texts PATH=REF and PATH=NAME before anything is on record.

    Raises UsageError, InvalidName, NotFound for a version that does not exist, Unsupported where FUSE is missing.
    """
    wishes = (*map(places.reading, reading), *map(places.writing, new))
    notes = places.check(session, wishes)
    places.check_exist(session, wishes)
    namespace.require()
    return Plan(session, wishes, notes)
