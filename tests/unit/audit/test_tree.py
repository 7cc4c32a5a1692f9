"""RFC 6962 trees: answers known from Certificate Transparency, and refusals."""

from __future__ import annotations

import hashlib

import pytest

from hermetic.audit import tree
from hermetic.errors import FormatError, LogTampered, UsageError

# The eight leaves and the roots of every prefix that Certificate Transparency implementations test themselves with.
LEAVES = [
    bytes.fromhex(text)
    for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def hashes(count: int) -> list[bytes]:
    return [tree.leaf_hash(str(number).encode()) for number in range(count)]


def reader(leaves: list[bytes], size: int | None = None) -> tree.NodeReader:
    rows = {0: leaves}
    for level, _, node in tree.Frontier().extended(leaves).stored():
        rows.setdefault(level, []).append(node)
    return tree.NodeReader(len(leaves) if size is None else size, lambda level, start, stop: rows[level][start:stop])


def test_empty_tree_is_the_hash_of_nothing() -> None:
    assert tree.Frontier().root() == tree.EMPTY_ROOT == hashlib.sha256(b"").digest()


@pytest.mark.parametrize("size", range(1, 9))
def test_known_roots(size: int) -> None:
    grown = tree.Frontier().extended([tree.leaf_hash(leaf) for leaf in LEAVES[:size]])
    assert grown.after.root().hex() == ROOTS[size - 1]


def test_inclusion_proofs_of_rfc_6962_section_2_1_3() -> None:
    leaves = [tree.leaf_hash(leaf) for leaf in LEAVES[:7]]
    a, b, c, d, e, f, j = leaves
    node = tree.node_hash
    g, h, i = node(a, b), node(c, d), node(e, f)
    k = node(g, h)
    get = reader(leaves)
    assert tree.inclusion_proof(get, 7, 0) == [b, h, node(i, j)]
    assert tree.inclusion_proof(get, 7, 3) == [c, g, node(i, j)]
    assert tree.inclusion_proof(get, 7, 4) == [f, j, k]
    assert tree.inclusion_proof(get, 7, 6) == [i, k]


def test_consistency_proofs_of_rfc_6962_section_2_1_3() -> None:
    leaves = [tree.leaf_hash(leaf) for leaf in LEAVES[:7]]
    a, b, c, d, e, f, j = leaves
    node = tree.node_hash
    g, h, i = node(a, b), node(c, d), node(e, f)
    get = reader(leaves)
    assert tree.consistency_proof(get, 3, 7) == [c, d, g, node(i, j)]
    assert tree.consistency_proof(get, 4, 7) == [node(i, j)]
    assert tree.consistency_proof(get, 6, 7) == [i, j, node(g, h)]


def test_only_every_eighth_level_is_stored() -> None:
    stored = tree.Frontier().extended(hashes(70_000)).stored()
    assert [(level, index) for level, index, _ in stored] == [*((8, index) for index in range(273)), (16, 0)]


def test_frontier_comes_back_from_the_store() -> None:
    for size in (0, 1, 255, 256, 257, 70_000):
        leaves = hashes(size)
        assert reader(leaves).frontier().peaks == tree.Frontier().extended(leaves).after.peaks


def test_a_store_that_lacks_hashes_is_refused() -> None:
    leaves = hashes(300)
    with pytest.raises(LogTampered):
        reader(leaves[:299], size=300)(0, 299)


def test_nodes_outside_the_tree_are_refused() -> None:
    with pytest.raises(UsageError):
        reader(hashes(5))(2, 1)


@pytest.mark.parametrize("size", [-1, 2**53, True, 1.0, "1"])
def test_sizes_out_of_range_are_refused(size: object) -> None:
    with pytest.raises(FormatError):
        tree.check_size(size)  # type: ignore[arg-type]


def test_frontier_wants_one_peak_a_set_bit() -> None:
    with pytest.raises(FormatError):
        tree.Frontier(3, [bytes(32)])
    with pytest.raises(FormatError):
        tree.Frontier(1, [bytes(31)])


def test_proofs_that_do_not_fit_are_refused() -> None:
    leaves = hashes(10)
    get = reader(leaves)
    root, proof = tree.root_at(get, 10), tree.inclusion_proof(get, 10, 3)
    for bad in (proof[:-1], [*proof, bytes(32)], [*proof[:-1], bytes(31)]):
        with pytest.raises(FormatError):
            tree.verify_inclusion(leaves[3], 3, 10, bad, root=root)
    with pytest.raises(FormatError):
        tree.verify_inclusion(leaves[3], 10, 10, proof, root=root)
    with pytest.raises(LogTampered):
        tree.verify_inclusion(leaves[4], 3, 10, proof, root=root)


def test_consistency_refusals() -> None:
    leaves = hashes(10)
    get = reader(leaves)
    old, new = (6, tree.root_at(get, 6)), (10, tree.root_at(get, 10))
    proof = tree.consistency_proof(get, 6, 10)
    assert tree.verify_consistency(old, new, proof) == new
    for bad in (proof[:-1], [*proof, bytes(32)], []):
        with pytest.raises(FormatError):
            tree.verify_consistency(old, new, bad)
    with pytest.raises(LogTampered):
        tree.verify_consistency(new, old, [])
    with pytest.raises(LogTampered):
        tree.verify_consistency((6, bytes(32)), new, proof)
    with pytest.raises(LogTampered):
        tree.verify_consistency((10, bytes(32)), new, [])
    with pytest.raises(LogTampered):
        tree.verify_consistency((0, bytes(32)), new, [])
    with pytest.raises(FormatError):
        tree.verify_consistency(new, new, proof)
    with pytest.raises(UsageError):
        tree.consistency_proof(get, 11, 10)
