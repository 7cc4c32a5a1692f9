"""An empty folder that a command fills: files in memory, which become the members of a version when the run ends well.

What programs do to files works: writing anywhere, cutting, renaming over one another, removing while open, maps. There are no links,
devices or extended attributes, since a version has none. Names that no member can have are refused when they are made (EINVAL).
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

from hermetic.integrations.mount import protocol
from hermetic.integrations.mount.content import Budget, Content
from hermetic.integrations.mount.draft_nodes import DraftNode, DraftNodes, now_ms

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from hermetic.integrations.mount.protocol import Owner, Request

    Parts = Sequence[bytes | memoryview]

_NO_REPLACE = 1  # of RENAME2


class DraftTree:
    """Serves a folder that is being filled. Changes are made by one thread at a time."""

    wanted = protocol.WANTED
    largest_write = protocol.LARGEST

    def __init__(self, *, owner: Owner, admit: Callable[[int], bool], budget: Budget | None = None) -> None:
        self._owner, self._admit = owner, admit
        self.budget = budget or Budget()
        self.nodes = DraftNodes()
        self._lock = self.nodes.lock
        self._refusing = False
        self._listings: dict[int, list[tuple[str, DraftNode]]] = {}
        self._last_listing = 0
        self.touched: set[int] = set()
        self.handlers: Mapping[int, Callable[[Request], Parts]] = {
            protocol.LOOKUP: self._lookup,
            protocol.GETATTR: self._getattr,
            protocol.SETATTR: self._setattr,
            protocol.MKNOD: self._mknod,
            protocol.MKDIR: self._mkdir,
            protocol.UNLINK: self._remove,
            protocol.RMDIR: self._remove,
            protocol.RENAME: self._rename,
            protocol.RENAME2: self._rename2,
            protocol.CREATE: self._create,
            protocol.OPEN: self._open,
            protocol.READ: self._read,
            protocol.WRITE: self._write,
            protocol.RELEASE: self._release,
            protocol.FSYNC: self._nothing,
            protocol.OPENDIR: self._open_folder,
            protocol.READDIR: self._list,
            protocol.RELEASEDIR: self._close_folder,
            protocol.FSYNCDIR: self._nothing,
            protocol.STATFS: self._statfs,
            protocol.SYMLINK: self._no_links,
            protocol.LINK: self._no_links,
        }

    def sent(self) -> None:
        """Nothing is lent."""

    def path_of(self, node: int) -> str:
        """Return the path of a node inside the mount, empty for the root."""
        try:
            return self.nodes.get(node).path
        except OSError:
            return ""

    def refuse(self) -> None:
        """Change nothing any more."""
        self._refusing = True

    def forget(self) -> None:
        """Nothing is kept but the files themselves."""

    def close(self) -> None:
        """Free everything."""
        self.nodes.clear()

    # looking

    def _check(self, request: Request) -> None:
        if self._refusing or not self._admit(request.process):
            raise OSError(errno.EACCES, "not of this run")

    def _node(self, request: Request) -> DraftNode:
        return self.nodes.get(request.node)

    def _attributes(self, node: DraftNode) -> bytes:
        size = 0 if node.content is None else node.content.size
        return protocol.attributes(node.number, node.mode, size, modified_ms=node.modified_ms, owner=self._owner)

    def _entry(self, node: DraftNode) -> bytes:
        return protocol.entry(node.number, self._attributes(node))

    def _lookup(self, request: Request) -> Parts:
        self._check(request)
        return (self._entry(self._node(request).child(request.name())),)

    def _getattr(self, request: Request) -> Parts:
        return (protocol.ATTR_OUT.pack(protocol.FOR_EVER, 0, 0) + self._attributes(self._node(request)),)

    def _open_folder(self, request: Request) -> Parts:
        self._check(request)
        node = self._node(request)
        with self._lock:
            self._last_listing += 1
            self._listings[self._last_listing] = [(".", node), ("..", node), *node.children.items()]
            return (protocol.OPEN_OUT.pack(self._last_listing, 0, 0),)

    def _list(self, request: Request) -> Parts:
        handle, offset, size = protocol.READ_IN.unpack_from(request.body)
        parts = []
        for at, (name, node) in enumerate(self._listings[handle][offset:], offset + 1):
            packed = protocol.dirent(node.number, at, node.mode, name.encode("utf-8", "surrogateescape"))
            size -= len(packed)
            if size < 0:
                break
            parts.append(packed)
        return parts

    def _close_folder(self, request: Request) -> Parts:
        (handle,) = protocol.RELEASE_IN.unpack_from(request.body)
        self._listings.pop(handle, None)
        return protocol.EMPTY

    def _statfs(self, _request: Request) -> Parts:
        total = self.budget.limit // protocol.PAGE
        free = max(0, self.budget.limit - self.budget.used) // protocol.PAGE
        return (protocol.STATFS_OUT.pack(total, free, free, 1 << 20, 1 << 20, protocol.PAGE, 255, protocol.PAGE, 0),)

    # making and removing

    def _make(self, request: Request, name: str, content: Content | None) -> DraftNode:
        self._check(request)
        with self._lock:
            return self.nodes.make(self._node(request), name, content)

    def _mknod(self, request: Request) -> Parts:
        mode, _ = protocol.MAKE_IN.unpack_from(request.body)
        if not stat.S_ISREG(mode):
            raise OSError(errno.EPERM, "a version holds files and folders")
        return (self._entry(self._make(request, request.name(16), Content(self.budget))),)

    def _mkdir(self, request: Request) -> Parts:
        return (self._entry(self._make(request, request.name(protocol.MAKE_IN.size), None)),)

    def _create(self, request: Request) -> Parts:
        node = self._make(request, request.name(16), Content(self.budget))
        with self._lock:
            node.open += 1
            self.touched.add(node.number)
        return (self._entry(node) + protocol.OPEN_OUT.pack(0, protocol.KEEP_CACHE, 0),)

    def _remove(self, request: Request) -> Parts:
        self._check(request)
        folder = self._node(request)
        with self._lock:
            self.nodes.remove(folder, folder.child(request.name()))
        return protocol.EMPTY

    def _rename(self, request: Request) -> Parts:
        (target,) = protocol.RENAME_IN.unpack_from(request.body)
        return self._move(request, target, request.names(protocol.RENAME_IN.size), replace=True)

    def _rename2(self, request: Request) -> Parts:
        target, flags, _ = protocol.RENAME2_IN.unpack_from(request.body)
        if flags & ~_NO_REPLACE:
            raise OSError(errno.EINVAL, "cannot exchange")
        return self._move(request, target, request.names(protocol.RENAME2_IN.size), replace=not flags & _NO_REPLACE)

    def _move(self, request: Request, target: int, names: list[str], *, replace: bool) -> Parts:
        self._check(request)
        with self._lock:
            self.nodes.move(self._node(request).child(names[0]), self.nodes.get(target), names[1], replace=replace)
        return protocol.EMPTY

    # content

    def _open(self, request: Request) -> Parts:
        self._check(request)
        node = self._node(request)
        flags, _ = protocol.OPEN_IN.unpack_from(request.body)
        with self._lock:
            node.open += 1
            self.touched.add(node.number)
            if flags & os.O_TRUNC and node.content is not None:
                node.content.resize(0)
        return (protocol.OPEN_OUT.pack(0, protocol.KEEP_CACHE, 0),)

    def _release(self, request: Request) -> Parts:
        node = self._node(request)
        with self._lock:
            node.open -= 1
            node.free()
        return protocol.EMPTY

    def _content(self, request: Request) -> Content:
        content = self._node(request).content
        if content is None:
            raise OSError(errno.EISDIR, "a folder")
        return content

    def _read(self, request: Request) -> Parts:
        if self._refusing:
            raise OSError(errno.EACCES, "the run is over")
        _, offset, size = protocol.READ_IN.unpack_from(request.body)
        return self._content(request).read(offset, size)

    def _write(self, request: Request) -> Parts:
        _, offset, size = protocol.READ_IN.unpack_from(request.body)
        start = protocol.READ_IN.size
        with self._lock:
            if self._refusing:
                raise OSError(errno.EACCES, "the run is over")
            self._content(request).write(offset, request.body[start : start + size])
            self._node(request).modified_ms = now_ms()
        return (protocol.WRITE_OUT.pack(size, 0),)

    def _setattr(self, request: Request) -> Parts:
        valid, _, _, size, _, _, mtime, _, _, mtime_ns, _, mode, *_ = protocol.SETATTR_IN.unpack_from(request.body)
        if request.process or valid & (protocol.SET_SIZE | protocol.SET_MODE):  # times come from the kernel itself too, as of nobody
            self._check(request)
        elif self._refusing:
            raise OSError(errno.EACCES, "the run is over")
        node = self._node(request)
        with self._lock:
            if valid & protocol.SET_SIZE:
                self._content(request).resize(size)
            if valid & protocol.SET_MODE:
                node.mode = stat.S_IFMT(node.mode) | stat.S_IMODE(mode)
            if valid & protocol.SET_MTIME_NOW or (valid & protocol.SET_SIZE and not valid & protocol.SET_MTIME):
                node.modified_ms = now_ms()
            elif valid & protocol.SET_MTIME:
                node.modified_ms = mtime * 1000 + mtime_ns // 1_000_000
        return self._getattr(request)

    @staticmethod
    def _nothing(_request: Request) -> Parts:
        return protocol.EMPTY

    @staticmethod
    def _no_links(_request: Request) -> Parts:
        raise OSError(errno.EPERM, "a version holds files and folders")
