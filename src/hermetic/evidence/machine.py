"""What this machine may do with plaintext in memory: write it to swap."""

from __future__ import annotations

from pathlib import Path

from hermetic.evidence.surroundings import SwapArea, SwapKind

_DEVICE_MAPPER_CRYPT = "CRYPT-"  # prefix of /sys/class/block/dm-*/dm/uuid for dm-crypt targets


def swap_areas(proc: Path = Path("/proc"), sys: Path = Path("/sys")) -> tuple[SwapArea, ...]:
    """Return the swap areas in use, from /proc/swaps; none where there is no such file."""
    try:
        lines = (proc / "swaps").read_text("utf-8", "replace").splitlines()[1:]
    except OSError:
        return ()
    return tuple(_area(line.split(), sys) for line in lines if line.strip())


def _area(fields: list[str], sys: Path) -> SwapArea:
    name, how = fields[0], fields[1] if len(fields) > 1 else ""
    return SwapArea(name, "unknown" if how == "file" else _device(name, sys))


def _device(name: str, sys: Path) -> SwapKind:
    """Tell what backs a block device: compressed memory, dm-crypt, or a bare partition."""
    block = Path(name).resolve().name
    if block.startswith("zram"):
        return "memory"
    if not block.startswith("dm-"):
        return "plain"
    try:
        uuid = (sys / "class/block" / block / "dm/uuid").read_text("ascii", "replace")
    except OSError:
        return "unknown"
    return "encrypted" if uuid.startswith(_DEVICE_MAPPER_CRYPT) else "plain"
