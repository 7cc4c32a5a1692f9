"""Mounts around one command: versions released, a namespace prepared, files served while it runs, everything taken back at its end."""

from __future__ import annotations

import os
import threading
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, NamedTuple

from hermetic.assets import mount_points
from hermetic.assets.releases import release
from hermetic.errors import Denied, HermeticError, IntegrityError, LeaseEnded, Unsupported
from hermetic.integrations.mount import namespace, readahead
from hermetic.integrations.mount.connection import MountConnection
from hermetic.integrations.mount.draft_tree import DraftTree
from hermetic.integrations.mount.namespace import Namespace, Point
from hermetic.integrations.mount.outputs import Outputs
from hermetic.integrations.mount.protocol import Owner
from hermetic.integrations.mount.version_tree import VersionTree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from hermetic.assets.releases import OpenVersion
    from hermetic.assets.runs import RunHandle
    from hermetic.assets.session import Session
    from hermetic.integrations.mount.places import Wish

THREADS = max(2, min(8, os.cpu_count() or 2))  # that answer one mount
SHOWN = 20  # failures told while the command runs; one file a line
WORST: tuple[type[HermeticError], ...] = (IntegrityError, Denied)  # which failure a run ends with


class Tell(NamedTuple):
    """How to reach a person while the command runs; both are called from any thread."""

    error: Callable[[HermeticError], None]
    note: Callable[[str], None]


class Mount:
    """One version at one path; `version` is None for one that is being written."""

    def __init__(self, wish: Wish, tree: VersionTree | DraftTree, version: OpenVersion | None = None) -> None:
        self.wish, self.version, self.tree = wish, version, tree
        self.connection: MountConnection | None = None
        self.ended = False

    def serve(self, fd: int, failed: Callable[[int, HermeticError], None]) -> None:
        """Begin to answer the kernel."""
        self.connection = MountConnection(fd, self.tree, failed, threads=THREADS)

    def stop(self) -> None:
        """Take everything back and answer no more; a second call does nothing."""
        self.tree.refuse()  # or what is read meanwhile would be kept
        self.take_back()
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.stop()

    def take_back(self) -> None:
        """Have the kernel forget the content that it keeps, and wipe ours."""
        if self.connection is not None:
            for node in list(self.tree.touched):
                self.connection.invalidate(node)
        self.tree.forget()

    def check(self) -> HermeticError | None:
        """Confirm the lease when it is time. Once it has ended, take everything back and return why, the first time."""
        if self.ended or self.version is None:
            return None
        try:
            self.version.leased.guard()
        except HermeticError as error:
            self.ended = True
            self.take_back()
            return error
        return None

    def place_of(self, node: int) -> str:
        """Return the path of a file for people."""
        shown = os.path.relpath(self.wish.path)
        inside = self.tree.path_of(node)
        return f"{shown}/{inside}" if inside and not self.wish.is_file else shown


class Mounts:
    """The mounts of one run; `enter` is for the child, `ended` for the end of the command."""

    def __init__(self, wishes: Sequence[Wish], error: Callable[[HermeticError], None], outputs: Outputs) -> None:
        self._error, self._outputs = error, outputs
        self._points = tuple(Point(wish.path, wish.is_file, read_only=not wish.new) for wish in wishes)
        self.namespace = Namespace(self._points)
        self.mounts: list[Mount] = []
        self._failures: dict[str, HermeticError] = {}
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._receive, name="hermetic-mount-leases", daemon=True)

    def enter(self) -> None:
        """Called in the child between fork and exec. Raises OSError."""
        self.namespace.enter()

    def start(self) -> None:
        """Begin to wait for the child, which may look at its mounts before it has become the command.

        Until then the thread holds no lock that the child, a fork of this process, could miss.
        """
        self._thread.start()

    def ended(self, *, succeeded: bool) -> None:
        """Raise what went wrong with a mount although the command ended well."""
        for mount in self.mounts:
            if isinstance(mount.tree, DraftTree) and mount.tree.budget.exceeded:
                limit = mount.tree.budget.limit // 2**20
                self._outputs.note(
                    f"{mount.place_of(0)} was full: it holds {limit} MiB of memory; hermetic:// seals what is written as it goes"
                )
        if not succeeded:
            return
        self._raise_failures()
        for mount in self.mounts:
            if isinstance(mount.tree, DraftTree):
                mount.stop()  # whoever was left behind changes nothing any more
                self._outputs.seal(mount.wish.ref, mount.tree)

    def _raise_failures(self) -> None:
        for kind in (*WORST, HermeticError):
            for place, error in self._failures.items():
                if isinstance(error, kind):
                    raise type(error)(
                        f"{place}: {error.message}; the command ended well all the same, and nothing of it is published",
                        hint=error.hint,
                    )

    def why_not(self) -> Unsupported | None:
        """Return what the child said when it could not mount, None if it said nothing."""
        self.namespace.give_up()
        self._thread.join()
        return None if self.namespace.failure is None else namespace.refused(self.namespace.failure)

    def close(self) -> None:
        """End the threads, take back what the kernel keeps, give the keys back."""
        self._over.set()
        self.namespace.give_up()
        if self._thread.ident is not None:
            self._thread.join()
        for mount in self.mounts:
            mount.stop()
            mount.tree.close()
        self.namespace.close()

    def _receive(self) -> None:
        fds = self.namespace.receive()
        for mount, fd in zip(self.mounts, fds, strict=False):
            mount.serve(fd, self._failure_of(mount))
        if fds:
            readahead.widen(self.namespace.process, [point.path for point in self._points])
            self._watch()

    def _watch(self) -> None:
        """Confirm the leases while the command runs: what the kernel keeps it hands out without asking us."""
        checks = [mount.version.leased.lease.check_ms for mount in self.mounts if mount.version is not None]
        while checks and not self._over.wait(min(checks) / 1000):
            for mount in self.mounts:
                error = mount.check()
                if error is not None:
                    self._fail(mount.place_of(0), error)

    def _failure_of(self, mount: Mount) -> Callable[[int, HermeticError], None]:
        def failed(node: int, error: HermeticError) -> None:
            lease_is_over = isinstance(error, LeaseEnded)
            self._fail(mount.place_of(0 if lease_is_over else node), error)

        return failed

    def _fail(self, place: str, error: HermeticError) -> None:
        """Remember what could not be read, and say it once."""
        with self._lock:
            if place in self._failures or len(self._failures) >= SHOWN:
                return
            self._failures[place] = error
        self._error(type(error)(f"{place}: {error.message}", hint=error.hint))


@contextmanager
def mounted(session: Session, wishes: Sequence[Wish], *, run: RunHandle, folder: Path, tell: Tell) -> Iterator[Mounts]:
    """Release what is to be read and lend what `launch` needs. `folder` is the run's private one.

    Raises what `release` raises, before anything is mounted; Unsupported where the child cannot mount; StorageError.
    """
    with ExitStack() as stack:
        outputs = Outputs(session, run, tell.note)
        mounts = Mounts(wishes, tell.error, outputs)
        stack.callback(mounts.namespace.close)
        mounts.mounts += _trees(session, wishes, run=run, namespace=mounts.namespace, stack=stack)
        outputs.reserve([wish.ref for wish in wishes if wish.new])
        stack.callback(mount_points.remove, folder)
        mount_points.make(folder, [(wish.path, wish.is_file) for wish in wishes])
        stack.callback(mounts.close)
        mounts.start()
        try:
            yield mounts
        except Unsupported as error:
            raise mounts.why_not() or error from None


def _trees(session: Session, wishes: Sequence[Wish], *, run: RunHandle, namespace: Namespace, stack: ExitStack) -> list[Mount]:
    """Release all versions in one request and return the mounts in the order of `wishes`."""
    reading = [wish for wish in wishes if not wish.new]
    versions = release(session, [wish.ref for wish in reading], run=run.id) if reading else ()
    for version in versions:
        stack.callback(version.end)
    owner, admits, left = Owner(os.geteuid(), os.getegid()), namespace.admits, iter(versions)
    mounts = []
    for wish in wishes:
        if wish.new:
            mounts.append(Mount(wish, DraftTree(owner=owner, admit=admits)))
            continue
        version = next(left)
        tree = VersionTree(version, owner=owner, admit=admits, single=wish.member, modified_ms=version.manifest.created_ms)
        mounts.append(Mount(wish, tree, version))
    return mounts
