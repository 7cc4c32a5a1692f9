"""What happened to a file system, and what of it survives a power cut. Pure: no I/O but `Tree.load` and `Tree.write`.

Operations on data (Write, Truncate) wait for a Sync of their file, operations on names (Add, Remove, Move) for a Sync of the folder.
What waits at the moment of the cut survives as the variant says:

    lost     nothing of it
    data     the bytes, but no name
    names    the names, but no bytes: a file renamed before it was synced is empty
    zeros    the names and the lengths, with zeros for bytes
    prefix   everything up to a random moment
    torn     names up to a random moment, and any of the sectors written
    all      everything, as after kill -9
"""

from __future__ import annotations

import hashlib
import random
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

ROOT = 1
SECTOR = 512
VARIANTS = ("lost", "data", "names", "zeros", "prefix", "torn", "all")


class Make(NamedTuple):
    """A new file, folder or link, without a name yet."""

    ino: int
    mode: int
    target: str = ""


class Write(NamedTuple):
    ino: int
    offset: int
    data: bytes


class Truncate(NamedTuple):
    ino: int
    size: int


class Mode(NamedTuple):
    ino: int
    mode: int


class Add(NamedTuple):
    folder: int
    name: str
    ino: int


class Remove(NamedTuple):
    folder: int
    name: str
    ino: int


class Move(NamedTuple):
    folder: int
    name: str
    to_folder: int
    to_name: str
    ino: int


class Sync(NamedTuple):
    """An fsync of a file or folder; `failed` when it was answered with EIO."""

    ino: int
    failed: bool = False


class Mark(NamedTuple):
    """Something that the program said, in its place among the operations."""

    text: str


Op = Make | Write | Truncate | Mode | Add | Remove | Move | Sync | Mark
DATA = (Write, Truncate)
NAMES = (Add, Remove, Move)


@dataclass
class Node:
    """A file (`data`), a folder (`entries`) or a symbolic link (`target`)."""

    mode: int
    target: str = ""
    data: bytearray = field(default_factory=bytearray)
    entries: dict[str, int] = field(default_factory=dict)
    links: int = 0
    changed_ns: int = 0

    @property
    def is_folder(self) -> bool:
        return stat.S_ISDIR(self.mode)


class Tree:
    """The nodes by number; the folder ROOT holds all names."""

    def __init__(self) -> None:
        self.nodes: dict[int, Node] = {ROOT: Node(stat.S_IFDIR | 0o700)}

    @classmethod
    def load(cls, folder: Path) -> Tree:
        """Read a folder, with modes."""
        tree = cls()
        tree._load(folder, ROOT)
        return tree

    def _load(self, folder: Path, ino: int) -> None:
        for path in sorted(folder.iterdir()):
            status = path.lstat()
            child = len(self.nodes) + 1
            link = str(path.readlink()) if path.is_symlink() else ""
            self.apply(Make(child, status.st_mode, link))
            self.apply(Add(ino, path.name, child))
            self.nodes[child].changed_ns = status.st_mtime_ns
            if self.nodes[child].is_folder:
                self._load(path, child)
            elif not link:
                self.nodes[child].data[:] = path.read_bytes()

    def copy(self) -> Tree:
        """Return a tree that can be changed apart from this one."""
        tree = Tree()
        tree.nodes = {
            ino: Node(node.mode, node.target, bytearray(node.data), dict(node.entries), node.links, node.changed_ns)
            for ino, node in self.nodes.items()
        }
        return tree

    def apply(self, op: Op) -> None:
        """Do one operation. A Remove or Move whose source is missing, because its making was lost, takes what there is."""
        match op:
            case Make(ino, mode, target):
                self.nodes[ino] = Node(mode, target)
            case Write(ino, offset, data):
                _write(self.nodes[ino].data, offset, data)
            case Truncate(ino, size):
                content = self.nodes[ino].data
                content[size:] = bytes(max(0, size - len(content)))
            case Mode(ino, mode):
                self.nodes[ino].mode = mode
            case Add(folder, name, ino):
                self._name(folder, name, ino)
            case Remove(folder, name, ino):
                self._unname(folder, name, ino)
            case Move(folder, name, to_folder, to_name, ino):
                self._unname(folder, name, ino)
                self._name(to_folder, to_name, ino)

    def _name(self, folder: int, name: str, ino: int) -> None:
        entries = self.nodes[folder].entries
        if name in entries:
            self.nodes[entries[name]].links -= 1
        entries[name] = ino
        self.nodes[ino].links += 1

    def _unname(self, folder: int, name: str, ino: int) -> None:
        entries = self.nodes[folder].entries
        if entries.get(name) == ino:
            del entries[name]
            self.nodes[ino].links -= 1

    def digest(self, *, leaving_out: tuple[str, ...] = ()) -> bytes:
        """Return a digest of names and bytes; files whose names end in one of `leaving_out` do not count."""
        done = hashlib.sha256()
        for path, node in self.walk(ROOT, Path()):
            if not path.name.endswith(leaving_out or ("\0",)):
                done.update(repr((str(path), node.mode, node.target, hashlib.sha256(node.data).digest())).encode())
        return done.digest()

    def write(self, target: Path) -> None:
        """Write everything that has a name into a new folder."""
        target.mkdir(mode=0o700)
        for path, node in self.walk(ROOT, target):
            if node.is_folder:
                path.mkdir()
            elif node.target:
                path.symlink_to(node.target)
                continue
            else:
                path.write_bytes(node.data)
            path.chmod(stat.S_IMODE(node.mode))

    def walk(self, ino: int, path: Path) -> list[tuple[Path, Node]]:
        """Return (path, node) of everything below a folder, folders before what is in them."""
        found = []
        for name, child in sorted(self.nodes[ino].entries.items()):
            node = self.nodes[child]
            found.append((path / name, node))
            if node.is_folder:
                found += self.walk(child, path / name)
        return found


def _write(content: bytearray, offset: int, data: bytes) -> None:
    content.extend(bytes(max(0, offset - len(content))))
    content[offset : offset + len(data)] = data


@dataclass
class Recording:
    """A file system before a program ran, and what the program did."""

    base: Tree
    ops: list[Op]

    def marks(self) -> list[tuple[int, str]]:
        """Return (number of operations before it, text) of every mark."""
        return [(at, op.text) for at, op in enumerate(self.ops) if isinstance(op, Mark)]

    def pending(self, end: int) -> set[int]:
        """Return which of the first `end` operations no sync had made durable by then."""
        waiting: dict[int, list[int]] = {}
        pending: set[int] = set()
        for at, op in enumerate(self.ops[:end]):
            if isinstance(op, (*DATA, *NAMES)):
                pending.add(at)
                for ino in _waits_for(op):
                    waiting.setdefault(ino, []).append(at)
            elif isinstance(op, Sync):
                reached = waiting.pop(op.ino, [])
                if not op.failed:  # what a failed sync left waits for ever: the system may have thrown it away
                    pending.difference_update(reached)
        return pending


def _waits_for(op: Op) -> set[int]:
    match op:
        case Write(ino) | Truncate(ino):
            return {ino}
        case Move(folder, _, to_folder):
            return {folder, to_folder}
        case Add(folder) | Remove(folder):
            return {folder}
    return set()


def survivors(recording: Recording, end: int, variant: str, seed: int) -> Tree:
    """Return what is there after a power cut right after the first `end` operations."""
    chance = random.Random(f"{seed}/{end}/{variant}")
    pending = recording.pending(end)
    data = {at for at in pending if isinstance(recording.ops[at], DATA)}
    moment = chance.choice([*sorted(pending), end])
    lost: set[int] = {
        "lost": pending,
        "data": pending - data,
        "names": data,
        "zeros": set(),
        "prefix": {at for at in pending if at >= moment},
        "torn": {at for at in pending - data if at >= moment},
        "all": set(),
    }[variant]
    tree = recording.base.copy()
    for at, op in enumerate(recording.ops[:end]):
        if at in lost:
            continue
        if at in data and variant == "zeros" and isinstance(op, Write):
            tree.apply(Write(op.ino, op.offset, bytes(len(op.data))))
        elif at in data and variant == "torn":
            for piece in _torn(op, chance):
                tree.apply(piece)
        else:
            tree.apply(op)
    return tree


def _torn(op: Op, chance: random.Random) -> list[Op]:
    if not isinstance(op, Write):
        return [op] if chance.random() < 0.5 else []
    pieces: list[Op] = []
    start = op.offset
    while start < op.offset + len(op.data):
        end = min(op.offset + len(op.data), (start // SECTOR + 1) * SECTOR)
        if chance.random() < 0.5:
            pieces.append(Write(op.ino, start, op.data[start - op.offset : end - op.offset]))
        start = end
    return pieces
