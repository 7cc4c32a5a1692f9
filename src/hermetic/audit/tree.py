"""The Merkle tree of RFC 6962 section 2.1 (the same tree as RFC 9162 section 2.1), hashed with SHA-256. Pure: no I/O.

    leaf hash   SHA-256(00 || leaf)
    node hash   SHA-256(01 || left || right)
    empty tree  SHA-256("")

A *node* (level, index) is the root of the perfect subtree over the leaves [index * 2^level, (index + 1) * 2^level); level 0 holds
the leaf hashes. A node never changes once its leaves exist. A tree of `size` leaves has one perfect subtree for each set bit of
`size`; their roots, the *peaks*, are all that an append needs (`Frontier`).

Only the levels 0, 8, 16 ... are stored (`STRIDE`), the same hashes that a `tlog-tiles` tile holds, so that 256 leaves cost
one stored node; `NodeReader` recomputes what lies between from at most 256 hashes.

Worked example, 5 leaves a b c d e: peaks are (2, 0) = h(h(a b) h(c d)) and (0, 4) = e, the root is h((2, 0) e).
The inclusion proof of c is [d, h(a b), e]; the consistency proof from 3 to 5 is [c, d, h(a b), e].
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

from hermetic.errors import FormatError, LogTampered, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    GetNode = Callable[[int, int], bytes]
    ReadHashes = Callable[[int, int, int], Sequence[bytes]]

HASH = 32
STRIDE = 8  # levels between stored nodes; a tile is 2^STRIDE hashes wide
TILE = 1 << STRIDE
SIZE_LIMIT = 1 << 53  # sizes and indexes must survive JSON numbers (RFC 8785)
EMPTY_ROOT = sha256(b"").digest()


def leaf_hash(leaf: bytes) -> bytes:
    """Return the 32-byte hash of one leaf."""
    return sha256(b"\x00" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the 32-byte hash of the node over two children."""
    return sha256(b"\x01" + left + right).digest()


def fold_level(hashes: Sequence[bytes]) -> list[bytes]:
    """Return the parents of consecutive pairs; a last odd hash is left out."""
    pairs = iter(hashes)
    return [sha256(b"\x01" + left + right).digest() for left, right in zip(pairs, pairs, strict=False)]


def check_size(size: int, what: str = "tree size") -> int:
    """Return `size` if it is an integer from 0 to 2^53 - 1. Raises FormatError."""
    if type(size) is not int or not 0 <= size < SIZE_LIMIT:
        raise FormatError(f"{what} is out of range")
    return size


class Frontier:
    """The peaks of a tree of `size` leaves: what an append needs and nothing more. Values, never changed in place."""

    __slots__ = ("_peaks", "size")

    def __init__(self, size: int = 0, peaks: Sequence[bytes] = ()) -> None:
        """Take one 32-byte peak for each set bit of `size`, lowest level first. Raises FormatError when they do not fit."""
        check_size(size)
        if len(peaks) != size.bit_count() or any(len(peak) != HASH for peak in peaks):
            raise FormatError("a frontier holds one 32-byte hash for each set bit of its size")
        self.size = size
        given = iter(peaks)
        self._peaks = [next(given) if size >> level & 1 else b"" for level in range(size.bit_length())]

    @property
    def peaks(self) -> list[bytes]:
        """The peaks, lowest level first."""
        return [peak for peak in self._peaks if peak]

    def root(self) -> bytes:
        """Return the root of the tree."""
        return _fold_peaks(self.peaks) if self.size else EMPTY_ROOT

    def extended(self, hashes: Sequence[bytes]) -> Growth:
        """Append leaf hashes."""
        peaks: list[bytes] = []
        rows: list[tuple[int, list[bytes]]] = []
        row, first = list(hashes), self.size
        while row or len(rows) < len(self._peaks):
            old = self._peaks[len(rows)] if len(rows) < len(self._peaks) else b""
            if old:
                row, first = [old, *row], first - 1
            rows.append((first, row))
            if len(row) % 2:
                peaks.append(row[-1])
            row, first = fold_level(row), first >> 1
        return Growth(self, Frontier(self.size + len(hashes), peaks), rows)


@dataclass(frozen=True, slots=True)
class Growth:
    """One append: the peaks before and after, and for each level the first index and the hashes of old peak and new nodes."""

    before: Frontier
    after: Frontier
    rows: Sequence[tuple[int, Sequence[bytes]]]

    def __call__(self, level: int, index: int) -> bytes:
        """Return a node that proofs of the new leaves need: a new one, or a peak of the tree before. Raises UsageError for others."""
        first, row = self.rows[level] if level < len(self.rows) else (0, ())
        if not 0 <= index - first < len(row):
            raise UsageError("this append did not make that node")
        return row[index - first]

    def stored(self) -> list[tuple[int, int, bytes]]:
        """Return the new nodes that a store keeps: (level, index, hash) for the levels 8, 16 ..."""
        nodes: list[tuple[int, int, bytes]] = []
        for level in range(STRIDE, len(self.rows), STRIDE):
            (first, row), known = self.rows[level], self.before.size >> level
            nodes.extend((level, first + at, item) for at, item in enumerate(row) if first + at >= known)
        return nodes


def _fold_peaks(peaks: Sequence[bytes]) -> bytes:
    """Return the root over peaks given lowest level first."""
    root = peaks[0]
    for peak in peaks[1:]:
        root = node_hash(peak, root)
    return root


class NodeReader:
    """Any node of a tree of `size` leaves, from a store that keeps only levels 0, 8, 16 ...

    `read(level, start, stop)` returns the stored hashes [start, stop) of such a level.
    """

    __slots__ = ("_read", "_tiles", "size")

    def __init__(self, size: int, read: ReadHashes) -> None:
        self.size = check_size(size)
        self._read = read
        self._tiles: dict[tuple[int, int], list[list[bytes]]] = {}

    def __call__(self, level: int, index: int) -> bytes:
        """Return the node. Raises UsageError outside the tree, LogTampered when the store lacks it."""
        if level < 0 or index < 0 or (index + 1) << level > self.size:
            raise UsageError("no such node in a tree of this size")
        base, above = level - level % STRIDE, level % STRIDE
        tile, inside = divmod(index, TILE >> above)
        return self._tile(base, tile)[above][inside]

    def _tile(self, level: int, number: int) -> list[list[bytes]]:
        """Return the rows of one tile: stored hashes, then each level above them inside the tile."""
        rows = self._tiles.get((level, number))
        if rows is None:
            start, stop = number * TILE, min((number + 1) * TILE, self.size >> level)
            rows = [list(self._read(level, start, stop))]
            if len(rows[0]) != stop - start or any(len(item) != HASH for item in rows[0]):
                raise LogTampered(f"the log lacks stored hashes of level {level} between {start} and {stop}")
            for _ in range(STRIDE):
                rows.append(fold_level(rows[-1]))
            self._tiles[level, number] = rows
        return rows

    def frontier(self) -> Frontier:
        """Return the peaks of the tree."""
        levels = [level for level in range(self.size.bit_length()) if self.size >> level & 1]
        return Frontier(self.size, [self(level, (self.size >> level) - 1) for level in levels])


def range_root(get_node: GetNode, start: int, stop: int) -> bytes:
    """Return the tree hash of the leaves [start, stop), where `start` is a multiple of the largest power of two below the width."""
    peaks = []
    while start < stop:
        level = (stop - start).bit_length() - 1
        peaks.append(get_node(level, start >> level))
        start += 1 << level
    return _fold_peaks(peaks[::-1]) if peaks else EMPTY_ROOT


def root_at(get_node: GetNode, size: int) -> bytes:
    """Return the root that the tree had when it held `size` leaves."""
    return range_root(get_node, 0, size)


def inclusion_proof(get_node: GetNode, size: int, index: int) -> list[bytes]:
    """Return the audit path of leaf `index` in the tree of `size` leaves, sibling of the leaf first (RFC 9162 section 2.1.3.1)."""
    check_size(size)
    if not 0 <= index < size:
        raise UsageError("this leaf is not in a tree of this size")
    path: list[bytes] = []
    start, stop = 0, size
    while stop - start > 1:
        split = start + (1 << (stop - start - 1).bit_length() - 1)
        if index < split:
            path.append(range_root(get_node, split, stop))
            stop = split
        else:
            path.append(range_root(get_node, start, split))
            start = split
    return path[::-1]


def consistency_proof(get_node: GetNode, old: int, new: int) -> list[bytes]:
    """Return the proof that the tree of `old` leaves is a prefix of the tree of `new` leaves (RFC 9162 section 2.1.4.1).

    Empty when `old` is 0 or equals `new`. Raises UsageError when `old` > `new`.
    """
    check_size(new)
    if not 0 <= old <= new:
        raise UsageError("a consistency proof goes from a smaller tree to a larger one")
    if old in {0, new}:
        return []
    path: list[bytes] = []
    start, stop = 0, new
    while stop != old:
        split = start + (1 << (stop - start - 1).bit_length() - 1)
        if old <= split:
            path.append(range_root(get_node, split, stop))
            stop = split
        else:
            path.append(range_root(get_node, start, split))
            start = split
    if start:
        path.append(range_root(get_node, start, stop))
    return path[::-1]


def root_from_inclusion(hashed: bytes, index: int, size: int, proof: Sequence[bytes]) -> bytes:
    """Return the root that an inclusion proof leads to (RFC 9162 section 2.1.3.2). Raises FormatError when its length does not fit."""
    check_size(size)
    if not 0 <= index < size or len(hashed) != HASH:
        raise FormatError("the leaf of an inclusion proof lies outside the tree")
    _check_hashes(proof)
    node, last, root, rest = index, size - 1, hashed, iter(proof)
    for sibling in rest:
        if not last:
            raise FormatError("an inclusion proof has hashes left over")
        if node & 1 or node == last:
            root = node_hash(sibling, root)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            root = node_hash(root, sibling)
        node, last = node >> 1, last >> 1
    if last:
        raise FormatError("an inclusion proof is too short")
    return root


def verify_inclusion(hashed: bytes, index: int, size: int, proof: Sequence[bytes], *, root: bytes) -> bytes:
    """Return `root` if the proof leads from the leaf hash to it. Raises LogTampered, or FormatError for a misshapen proof."""
    if not hmac.compare_digest(root_from_inclusion(hashed, index, size, proof), root):
        raise LogTampered("the inclusion proof does not lead to the signed root")
    return root


def verify_consistency(old: tuple[int, bytes], new: tuple[int, bytes], proof: Sequence[bytes]) -> tuple[int, bytes]:
    """Return `new` if the tree (size, root) `old` is a prefix of it (RFC 9162 section 2.1.4.2).

    Raises LogTampered when one does not continue the other, FormatError for a misshapen proof.
    """
    old_size, new_size = check_size(old[0]), check_size(new[0])
    _check_hashes((*proof, old[1], new[1]))
    if old_size > new_size:
        raise LogTampered("the newer tree is smaller than the older one")
    if old_size in {0, new_size}:
        if proof:
            raise FormatError("a consistency proof has hashes left over")
        expected = EMPTY_ROOT if old_size == 0 else new[1]
        if old[1] != expected or (new_size == 0 and new[1] != EMPTY_ROOT):
            raise LogTampered("two trees of one size have different roots")
        return new
    if _consistency_roots(old_size, new_size, proof, old[1]) != (old[1], new[1]):
        raise LogTampered("the newer tree does not continue the older one")
    return new


def _consistency_roots(old: int, new: int, proof: Sequence[bytes], old_root: bytes) -> tuple[bytes, bytes]:
    """Return both roots that a consistency proof leads to."""
    path = list(proof) if old & (old - 1) else [old_root, *proof]
    if not path:
        raise FormatError("a consistency proof is too short")
    node, last = old - 1, new - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    first = second = path[0]
    for sibling in path[1:]:
        if not last:
            raise FormatError("a consistency proof has hashes left over")
        if node & 1 or node == last:
            first, second = node_hash(sibling, first), node_hash(sibling, second)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            second = node_hash(second, sibling)
        node, last = node >> 1, last >> 1
    if last:
        raise FormatError("a consistency proof is too short")
    return first, second


def _check_hashes(hashes: Sequence[bytes]) -> None:
    if len(hashes) > 130 or any(len(item) != HASH for item in hashes):
        raise FormatError("a proof holds at most 128 hashes of 32 bytes")
