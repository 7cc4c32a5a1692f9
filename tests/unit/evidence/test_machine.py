"""Swap areas, as the kernel's files describe them."""

from __future__ import annotations

from hermetic.evidence.machine import swap_areas
from hermetic.evidence.surroundings import SwapArea


def test_each_kind_of_swap_is_told(tmp_path):
    proc, sys = tmp_path / "proc", tmp_path / "sys"
    proc.mkdir()
    (proc / "swaps").write_text(
        "Filename Type Size Used Priority\n/dev/zram0 partition 1 0 5\n/dev/sda2 partition 1 0 -1\n/swapfile file 1 0 -2\n"
        "/dev/dm-1 partition 1 0 -3\n/dev/dm-2 partition 1 0 -4\n/dev/dm-3 partition 1 0 -4\n"
    )
    for name, uuid in (("dm-1", "CRYPT-PLAIN-cryptswap"), ("dm-2", "LVM-abc")):
        folder = sys / "class/block" / name / "dm"
        folder.mkdir(parents=True)
        (folder / "uuid").write_text(uuid)
    assert swap_areas(proc, sys) == (
        SwapArea("/dev/zram0", "memory"),
        SwapArea("/dev/sda2", "plain"),
        SwapArea("/swapfile", "unknown"),
        SwapArea("/dev/dm-1", "encrypted"),
        SwapArea("/dev/dm-2", "plain"),
        SwapArea("/dev/dm-3", "unknown"),
    )


def test_a_machine_without_swap_has_none(tmp_path):
    assert swap_areas(tmp_path, tmp_path) == ()
