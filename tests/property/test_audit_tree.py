"""The tree against a naive recursive one, written straight from RFC 6962 section 2.1."""

from __future__ import annotations

from hashlib import sha256
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermetic.audit import tree
from hermetic.errors import IntegrityError


def naive_root(leaves: list[bytes]) -> bytes:
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return sha256(b"\x00" + leaves[0]).digest()
    split = naive_split(len(leaves))
    return sha256(b"\x01" + naive_root(leaves[:split]) + naive_root(leaves[split:])).digest()


def naive_split(count: int) -> int:
    split = 1
    while split * 2 < count:
        split *= 2
    return split


def naive_path(index: int, leaves: list[bytes]) -> list[bytes]:
    if len(leaves) <= 1:
        return []
    split = naive_split(len(leaves))
    if index < split:
        return [*naive_path(index, leaves[:split]), naive_root(leaves[split:])]
    return [*naive_path(index - split, leaves[split:]), naive_root(leaves[:split])]


def naive_proof(old: int, leaves: list[bytes], *, whole: bool = True) -> list[bytes]:
    if old == len(leaves):
        return [] if whole else [naive_root(leaves)]
    split = naive_split(len(leaves))
    if old <= split:
        return [*naive_proof(old, leaves[:split], whole=whole), naive_root(leaves[split:])]
    return [*naive_proof(old - split, leaves[split:], whole=False), naive_root(leaves[:split])]


def make(count: int) -> list[bytes]:
    return [b"leaf %d" % number for number in range(count)]


def grown(leaves: list[bytes], cuts: list[int]) -> tuple[tree.Frontier, tree.NodeReader]:
    """Append in pieces, keeping what a store would keep."""
    hashes = [tree.leaf_hash(leaf) for leaf in leaves]
    frontier, rows = tree.Frontier(), {0: hashes}
    edges = sorted({0, len(hashes), *(cut for cut in cuts if cut < len(hashes))})
    for start, stop in pairwise(edges):
        grown = frontier.extended(hashes[start:stop])
        for level, index, node in grown.stored():
            row = rows.setdefault(level, [])
            assert len(row) == index
            row.append(node)
        for index in range(start, stop):
            root = tree.root_from_inclusion(hashes[index], index, stop, tree.inclusion_proof(grown, stop, index))
            assert root == grown.after.root()
        frontier = grown.after
    return frontier, tree.NodeReader(len(hashes), lambda level, start, stop: rows[level][start:stop])


sizes = st.integers(1, 700)


@given(sizes, st.lists(st.integers(0, 700), max_size=6))
def test_append_in_any_pieces_gives_the_naive_root(count: int, cuts: list[int]) -> None:
    leaves = make(count)
    frontier, get = grown(leaves, cuts)
    assert frontier.size == count
    assert frontier.root() == naive_root(leaves) == tree.root_at(get, count)
    assert get.frontier().peaks == frontier.peaks


@given(st.data())
def test_inclusion_proofs_are_the_naive_ones_and_verify(data: st.DataObject) -> None:
    leaves = make(data.draw(sizes))
    size = data.draw(st.integers(1, len(leaves)))
    index = data.draw(st.integers(0, size - 1))
    _, get = grown(leaves, [])
    proof = tree.inclusion_proof(get, size, index)
    assert proof == naive_path(index, leaves[:size])
    root = naive_root(leaves[:size])
    assert tree.verify_inclusion(tree.leaf_hash(leaves[index]), index, size, proof, root=root) == root


@given(st.data())
def test_consistency_proofs_are_the_naive_ones_and_verify(data: st.DataObject) -> None:
    leaves = make(data.draw(sizes))
    new = data.draw(st.integers(1, len(leaves)))
    old = data.draw(st.integers(1, new))
    _, get = grown(leaves, [])
    proof = tree.consistency_proof(get, old, new)
    assert proof == naive_proof(old, leaves[:new])
    pair = (new, naive_root(leaves[:new]))
    assert tree.verify_consistency((old, naive_root(leaves[:old])), pair, proof) == pair


@given(st.data())
def test_a_changed_proof_is_refused(data: st.DataObject) -> None:
    leaves = make(data.draw(st.integers(2, 300)))
    _, get = grown(leaves, [])
    size = len(leaves)
    index = data.draw(st.integers(0, size - 1))
    proof = tree.inclusion_proof(get, size, index)
    at, bit = data.draw(st.integers(0, len(proof) - 1)), data.draw(st.integers(0, 255))
    proof[at] = (int.from_bytes(proof[at], "big") ^ 1 << bit).to_bytes(32, "big")
    with pytest.raises(IntegrityError):
        tree.verify_inclusion(tree.leaf_hash(leaves[index]), index, size, proof, root=naive_root(leaves))


@given(
    st.integers(0, 2000),
    st.integers(0, 2000),
    st.lists(st.binary(min_size=32, max_size=32), max_size=14),
    st.binary(min_size=32, max_size=32),
)
def test_invented_proofs_are_refused(old: int, new: int, proof: list[bytes], root: bytes) -> None:
    with pytest.raises(IntegrityError):
        tree.verify_inclusion(root, old, new, proof, root=sha256(root).digest())
    if old not in {0, new}:
        with pytest.raises(IntegrityError):
            tree.verify_consistency((old, root), (new, sha256(root).digest()), proof)
