"""A version as a read-only tree of files: its members under their names, in folders where the names have slashes.

Nothing in it ever changes, so the kernel may keep names, attributes and content for as long as the lease holds. What it keeps is
taken back when the lease ends (`Mount.check`).
"""

from __future__ import annotations

import errno
import stat
import threading
from typing import TYPE_CHECKING

from hermetic.errors import UsageError
from hermetic.integrations.mount import protocol
from hermetic.integrations.mount.blocks import OpenFile, Pieces

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from hermetic.assets.releases import OpenVersion
    from hermetic.formats.messages.versions import Member
    from hermetic.integrations.mount.protocol import Owner, Request

    Parts = Sequence[bytes | memoryview]

FILE_MODE, FOLDER_MODE = stat.S_IFREG | 0o400, stat.S_IFDIR | 0o500
ENTRIES = 4  # blocks of memory that a folder's own entry claims to take


class Node:
    """A file or folder; `member` is None for a folder."""

    __slots__ = ("attributes", "children", "listing", "member", "mode", "number", "path")

    def __init__(self, number: int, path: str, member: Member | None) -> None:
        self.number, self.path, self.member = number, path, member
        self.mode = FOLDER_MODE if member is None else FILE_MODE
        self.children: dict[bytes, Node] = {}
        self.listing: list[tuple[bytes, Node]] = []
        self.attributes = b""


class VersionTree:
    """Serves one open version, or only its member `single`, which then is the root of the mount."""

    wanted = protocol.WANTED | protocol.READDIR_PLUS
    largest_write = protocol.PAGE

    def __init__(
        self, version: OpenVersion, *, owner: Owner, admit: Callable[[int], bool], single: str | None = None, modified_ms: int = 0
    ) -> None:
        self._version, self._owner, self._admit, self._modified = version, owner, admit, modified_ms
        self.pieces = Pieces()
        self._lock = threading.Lock()
        self._open: dict[int, OpenFile] = {}
        self._opened: dict[int, int] = {}
        self._refusing = False
        self.touched: set[int] = set()  # nodes of which the kernel may keep something
        self.nodes: list[Node] = []
        self.root = self._build(single)
        self.handlers: Mapping[int, Callable[[Request], Parts]] = {
            protocol.LOOKUP: self._lookup,
            protocol.GETATTR: self._getattr,
            protocol.OPEN: self._open_file,
            protocol.READ: self._read,
            protocol.RELEASE: self._release,
            protocol.OPENDIR: self._open_folder,
            protocol.READDIR: self._list,
            protocol.READDIRPLUS: self._list_with_attributes,
            protocol.RELEASEDIR: self._nothing,
            protocol.STATFS: self._statfs,
        }

    def sent(self) -> None:
        """Give back what an answer of this thread was sent from."""
        self.pieces.sent()

    def path_of(self, node: int) -> str:
        """Return the path of a node inside the mount, empty for the root."""
        return self.nodes[node - 1].path if 0 < node <= len(self.nodes) else ""

    def refuse(self) -> None:
        """Open and read nothing any more."""
        self._refusing = True

    def forget(self) -> None:
        """Wipe what was decrypted."""
        with self._lock:
            files = list(self._open.values())
        for file in files:
            self.pieces.forget(file)

    def close(self) -> None:
        """Close every file and wipe what was decrypted; nothing may be served any more."""
        self.pieces.close()
        with self._lock:
            for file in self._open.values():
                file.reader.close()
            self._open.clear()

    # the tree

    def _build(self, single: str | None) -> Node:
        root = self._add("", None if single is None else self._version.member(single))
        if single is None:
            for member in self._version.members:
                self._add_member(root, member)
        for node in self.nodes:
            node.listing = [(b".", node), (b"..", node), *node.children.items()]
        return root

    def _add_member(self, root: Node, member: Member) -> None:
        folder, parts = root, member.path.split("/")
        for depth, part in enumerate(parts[:-1], 1):
            name = part.encode()
            if name not in folder.children:
                folder.children[name] = self._add("/".join(parts[:depth]), None)
            folder = folder.children[name]
            if folder.member is not None:
                raise self._both(folder.path)
        if parts[-1].encode() in folder.children:
            raise self._both(member.path)
        folder.children[parts[-1].encode()] = self._add(member.path, member)

    def _both(self, path: str) -> UsageError:
        ref = self._version.ref
        return UsageError(
            f"{ref} holds {path!r} as a file and as a folder, which no file system can",
            hint=f"mount files of it alone: PATH={ref}/{path}",
        )

    def _add(self, path: str, member: Member | None) -> Node:
        node = Node(len(self.nodes) + 1, path, member)
        size = 0 if member is None else member.length
        node.attributes = protocol.attributes(node.number, node.mode, size, modified_ms=self._modified, owner=self._owner)
        self.nodes.append(node)
        return node

    # answers

    def _node(self, request: Request) -> Node:
        return self.nodes[request.node - 1]

    def _check(self, request: Request) -> None:
        if self._refusing or not self._admit(request.process):
            raise OSError(errno.EACCES, "not of this run")

    def _lookup(self, request: Request) -> Parts:
        self._check(request)
        found = self._node(request).children.get(bytes(request.body[:-1]))
        return (protocol.no_entry() if found is None else protocol.entry(found.number, found.attributes),)

    def _getattr(self, request: Request) -> Parts:
        return (protocol.ATTR_OUT.pack(protocol.FOR_EVER, 0, 0) + self._node(request).attributes,)

    def _open_file(self, request: Request) -> Parts:
        self._check(request)
        self._version.leased.guard()
        with self._lock:
            self._opened[request.node] = self._opened.get(request.node, 0) + 1
            self.touched.add(request.node)
        return (protocol.OPEN_OUT.pack(0, protocol.KEEP_CACHE, 0),)

    def _read(self, request: Request) -> Parts:
        if self._refusing:
            raise OSError(errno.EACCES, "the run is over")
        _, offset, size = protocol.READ_IN.unpack_from(request.body)
        return self.pieces.read(self._file(request.node), offset, size)

    def _file(self, number: int) -> OpenFile:
        """Return the open file behind a node, opening its object at the first read: a file that the kernel keeps needs none."""
        file = self._open.get(number)
        if file is not None:
            return file
        member = self.nodes[number - 1].member
        if member is None:
            raise OSError(errno.EISDIR, "a folder")
        reader = self._version.reader(member, threads=1)
        with self._lock:
            other = self._open.get(number)
            if other is None:
                file = self._open[number] = OpenFile(number, reader, self._version.leased)
                return file
        reader.close()  # another thread was quicker
        return other

    def _release(self, request: Request) -> Parts:
        with self._lock:
            self._opened[request.node] -= 1
            last = not self._opened[request.node]
            file = self._open.pop(request.node, None) if last else None
            if last:
                del self._opened[request.node]
        if file is not None:
            self.pieces.retire(file)
        return protocol.EMPTY

    def _open_folder(self, request: Request) -> Parts:
        self._check(request)
        return (protocol.OPEN_OUT.pack(0, protocol.KEEP_CACHE | protocol.CACHE_FOLDER, 0),)

    def _list(self, request: Request) -> Parts:
        return self._listing(request, plus=False)

    def _list_with_attributes(self, request: Request) -> Parts:
        return self._listing(request, plus=True)

    def _listing(self, request: Request, *, plus: bool) -> Parts:
        _, offset, size = protocol.READ_IN.unpack_from(request.body)
        parts: list[bytes] = []
        listing = self._node(request).listing
        for at in range(offset, len(listing)):
            name, node = listing[at]
            packed = protocol.dirent(node.number, at + 1, node.mode, name)
            if plus:  # the two dots are not looked up
                packed = (protocol.no_entry() if at < 2 else protocol.entry(node.number, node.attributes)) + packed
            size -= len(packed)
            if size < 0:
                break
            parts.append(packed)
        return parts

    def _statfs(self, _request: Request) -> Parts:
        total = -(-sum(node.member.length for node in self.nodes if node.member) // protocol.PAGE)
        return (protocol.STATFS_OUT.pack(total, 0, 0, len(self.nodes), 0, protocol.PAGE, 255, protocol.PAGE, 0),)

    @staticmethod
    def _nothing(_request: Request) -> Parts:
        return protocol.EMPTY
