"""The file system itself: a FUSE server (mfusepy, which is path-based) over `journal.Tree`.

    python server.py SOURCE MOUNTPOINT RECORDING

says `ready` on its standard output when mounted, and writes the pickled `Recording` when unmounted. Extended attributes of the root
are its controls: `user.hermetic.mark` puts a mark into the journal, `user.hermetic.fail-sync` lets the N-th sync from now fail with
EIO. Writes come through at once (no write-back cache), except those of shared memory mappings (SQLite's -shm, which is never synced).
"""

from __future__ import annotations

import errno
import itertools
import os
import pickle
import stat
import sys
import time
from pathlib import Path

import mfusepy

from tests.faults.fuse_layer import journal
from tests.faults.fuse_layer.journal import Add, Make, Mark, Mode, Move, Node, Recording, Remove, Sync, Tree, Truncate, Write

MARK, FAIL = "user.hermetic.mark", "user.hermetic.fail-sync"
RENAME_NOREPLACE = 1
BLOCK = 4096


class Layer(mfusepy.Operations):
    """File handles are node numbers: what is open lives on when its last name goes."""

    use_ns = True

    def __init__(self, source: Path, out: Path) -> None:
        self.tree = Tree.load(source)
        self.recording = Recording(self.tree.copy(), [])
        self.out = out
        self.numbers = itertools.count(len(self.tree.nodes) + 1)
        self.fail_sync = 0

    def init(self, path):
        print("ready", flush=True)

    def destroy(self, path):
        self.out.write_bytes(pickle.dumps(self.recording))

    def do(self, op: journal.Op) -> None:
        self.recording.ops.append(op)
        self.tree.apply(op)

    def node(self, path: str | None, fh: int | None = None) -> tuple[int, Node]:
        if fh:
            return fh, self.tree.nodes[fh]
        if path is None:
            raise OSError(errno.ESTALE, "no path")
        ino = journal.ROOT
        for part in path.split("/"):
            if part:
                entries = self.tree.nodes[ino].entries
                if part not in entries:
                    raise OSError(errno.ENOENT, path)
                ino = entries[part]
        return ino, self.tree.nodes[ino]

    def place(self, path: str) -> tuple[int, str]:
        folder, _, name = path.rpartition("/")
        return self.node(folder)[0], name

    def make(self, path: str, mode: int, target: str = "") -> int:
        folder, name = self.place(path)
        if name in self.tree.nodes[folder].entries:
            raise OSError(errno.EEXIST, path)
        ino = next(self.numbers)
        self.do(Make(ino, mode, target))
        self.do(Add(folder, name, ino))
        self.tree.nodes[ino].changed_ns = time.time_ns()
        return ino

    # names

    def mkdir(self, path, mode):
        self.make(path, stat.S_IFDIR | mode)

    def create(self, path, mode, flags):
        return self.make(path, stat.S_IFREG | stat.S_IMODE(mode))

    def symlink(self, target, source):
        self.make(target, stat.S_IFLNK | 0o777, source)

    def readlink(self, path):
        return self.node(path)[1].target

    def link(self, target, source):
        folder, name = self.place(target)
        if name in self.tree.nodes[folder].entries:
            raise OSError(errno.EEXIST, target)
        self.do(Add(folder, name, self.node(source)[0]))

    def unlink(self, path):
        self.do(Remove(*self.place(path), self.node(path)[0]))

    def rmdir(self, path):
        ino, node = self.node(path)
        if node.entries:
            raise OSError(errno.ENOTEMPTY, path)
        self.do(Remove(*self.place(path), ino))

    def rename(self, old, new, flags=0):
        if flags & ~RENAME_NOREPLACE:
            raise OSError(errno.EINVAL, "rename flags")
        ino, node = self.node(old)
        folder, name = self.place(new)
        replaced = self.tree.nodes[folder].entries.get(name)
        if replaced is not None and flags & RENAME_NOREPLACE:
            raise OSError(errno.EEXIST, new)
        if replaced is not None and (self.tree.nodes[replaced].entries or node.is_folder != self.tree.nodes[replaced].is_folder):
            raise OSError(errno.ENOTEMPTY, new)
        self.do(Move(*self.place(old), folder, name, ino))

    def readdir(self, path, fh):
        ino, node = self.node(path, fh)
        found = {".": ino, "..": ino, **node.entries}
        return [(name, {"st_ino": child, "st_mode": self.tree.nodes[child].mode}, 0) for name, child in found.items()]

    def opendir(self, path):
        return self.node(path)[0]

    # data

    def open(self, path, flags):
        ino, _ = self.node(path)
        if flags & os.O_TRUNC:
            self.do(Truncate(ino, 0))
        return ino

    def read(self, path, size, offset, fh):
        return bytes(self.tree.nodes[fh].data[offset : offset + size])

    def write(self, path, data, offset, fh):
        self.do(Write(fh, offset, data))
        self.tree.nodes[fh].changed_ns = time.time_ns()
        return len(data)

    def truncate(self, path, length, fh=None):
        ino, node = self.node(path, fh)
        if len(node.data) != length:
            self.do(Truncate(ino, length))
            node.changed_ns = time.time_ns()

    def fsync(self, path, datasync, fh):
        self.fail_sync -= 1
        failed = self.fail_sync == 0
        self.do(Sync(fh, failed))
        if failed:
            raise OSError(errno.EIO, "sync")

    def fsyncdir(self, path, datasync, fh):
        self.fsync(path, datasync, fh)

    def chmod(self, path, mode):
        ino, node = self.node(path)
        self.do(Mode(ino, stat.S_IFMT(node.mode) | stat.S_IMODE(mode)))

    def chown(self, path, uid, gid):
        self.node(path)

    def utimens(self, path, times=None):
        self.node(path)[1].changed_ns = times[1] if times else time.time_ns()

    def getattr(self, path, fh=None):
        ino, node = self.node(path, fh)
        size = len(node.target) if node.target else len(node.data)
        return {
            "st_ino": ino,
            "st_mode": node.mode,
            "st_nlink": 2 if node.is_folder else node.links,
            "st_size": size,
            "st_blocks": -(-size // 512),
            "st_uid": os.getuid(),
            "st_gid": os.getgid(),
            "st_mtime": node.changed_ns,
            "st_ctime": node.changed_ns,
            "st_atime": node.changed_ns,
        }

    def statfs(self, path):
        return {"f_bsize": BLOCK, "f_frsize": BLOCK, "f_blocks": 1 << 24, "f_bfree": 1 << 23, "f_bavail": 1 << 23, "f_namemax": 255}

    def setxattr(self, path, name, value, options, position=0):
        if name == MARK:
            self.do(Mark(value.decode()))
        elif name == FAIL:
            self.fail_sync = int(value)
        else:
            raise OSError(errno.ENOTSUP, name)


class Fuse(mfusepy.FUSE):
    """mfusepy leaves out the flags of rename."""

    def rename_fuse_3(self, old: bytes, new: bytes, flags: int) -> int:
        return self.operations.rename(os.fsdecode(old), os.fsdecode(new), flags)


def main() -> None:
    source, point, out = (Path(argument) for argument in sys.argv[1:4])
    Fuse(
        Layer(source, out),
        str(point),
        foreground=True,
        nothreads=True,
        hard_remove=True,  # no hidden names for files that are open while they are removed
        use_ino=True,
        attr_timeout=0,
        entry_timeout=0,
    )


if __name__ == "__main__":
    main()
