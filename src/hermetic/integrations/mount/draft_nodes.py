"""The files and folders of a draft, in memory: names, moves and removals as programs expect them of a file system.

Callers hold `lock` around changes. Errors are OSErrors with the number that the program is to see.
"""

from __future__ import annotations

import errno
import stat
import threading
import time
from typing import TYPE_CHECKING

from hermetic.errors import InvalidName
from hermetic.ids import check_member
from hermetic.integrations.mount import protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hermetic.integrations.mount.content import Content


def now_ms() -> int:
    """Return Unix time in milliseconds."""
    return time.time_ns() // 1_000_000


class DraftNode:
    """A file (with content) or a folder (with children). Without a parent it is the root, or removed and still open."""

    __slots__ = ("children", "content", "mode", "modified_ms", "name", "number", "open", "parent")

    def __init__(self, number: int, parent: DraftNode | None, name: str, content: Content | None) -> None:
        self.number, self.parent, self.name, self.content = number, parent, name, content
        self.children: dict[str, DraftNode] = {}
        self.mode = stat.S_IFDIR | 0o700 if content is None else stat.S_IFREG | 0o600
        self.modified_ms = now_ms()
        self.open = 0

    @property
    def path(self) -> str:
        """Names from the root on."""
        return self.name if self.parent is None or self.parent.parent is None else f"{self.parent.path}/{self.name}"

    def child(self, name: str) -> DraftNode:
        """Return what has this name in the folder. Raises OSError(ENOENT)."""
        try:
            return self.children[name]
        except KeyError:
            raise OSError(errno.ENOENT, "no such file") from None

    def free(self) -> None:
        """Free the content of a file that has no name and is open nowhere."""
        if self.parent is None and not self.open and self.content is not None:
            self.content.clear()


class DraftNodes:
    """All nodes of one draft by number, the root first."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.root = DraftNode(protocol.ROOT, None, "", None)
        self._nodes = {protocol.ROOT: self.root}
        self._last = protocol.ROOT

    def get(self, number: int) -> DraftNode:
        """Return a node. Raises OSError(ESTALE)."""
        try:
            return self._nodes[number]
        except KeyError:
            raise OSError(errno.ESTALE, "gone") from None

    def files(self) -> Iterator[tuple[str, Content]]:
        """Yield every file that has a name as (member name, content), in order of name."""
        found = {node.path: node.content for node in _below(self.root) if node.content is not None}
        for path in sorted(found):
            yield path, found[path]

    def make(self, folder: DraftNode, name: str, content: Content | None) -> DraftNode:
        """Make a file, or a folder without content. Raises OSError(EEXIST, EINVAL)."""
        if name in folder.children:
            raise OSError(errno.EEXIST, "exists")
        node = DraftNode(self._last + 1, folder, name, content)
        _check_name(node.path)
        self._last = node.number
        folder.children[name] = self._nodes[node.number] = node
        return node

    def remove(self, folder: DraftNode, node: DraftNode) -> None:
        """Take a node out of its folder. Raises OSError(ENOTEMPTY)."""
        if node.children:
            raise OSError(errno.ENOTEMPTY, "not empty")
        del folder.children[node.name]
        node.parent = None
        node.free()

    def move(self, node: DraftNode, folder: DraftNode, name: str, *, replace: bool) -> None:
        """Give a node another folder and name, in place of what is there. Raises OSError(EEXIST, ENOTEMPTY, EINVAL)."""
        other = folder.children.get(name)
        if other is node or node.parent is None:
            return
        if other is not None and not replace:
            raise OSError(errno.EEXIST, "exists")
        path = f"{folder.path}/{name}".lstrip("/")
        _check_name(path)
        for below in _below(node):
            _check_name(path + below.path[len(node.path) :])
        if other is not None:
            self.remove(folder, other)
        del node.parent.children[node.name]
        node.name, node.parent = name, folder
        folder.children[name] = node

    def clear(self) -> None:
        """Free everything."""
        for node in self._nodes.values():
            if node.content is not None:
                node.content.clear()
        self._nodes = {protocol.ROOT: self.root}


def _below(folder: DraftNode) -> Iterator[DraftNode]:
    for node in folder.children.values():
        yield node
        yield from _below(node)


def _check_name(path: str) -> None:
    try:
        check_member(path)
    except InvalidName:
        raise OSError(errno.EINVAL, "no name for a member") from None
