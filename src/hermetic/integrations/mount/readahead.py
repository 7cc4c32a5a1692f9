"""How much the kernel reads ahead: 128 KiB a time unless root says otherwise, a mebibyte where it can be said."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from hermetic.integrations.mount import protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

AHEAD_KIB = 4 * protocol.LARGEST // 1024
_OCTAL = re.compile(r"\\([0-7]{3})")


def widen(process: int, paths: Sequence[Path]) -> None:
    """Let the kernel read ahead further on the mounts of a process. Only root may; for anybody else nothing changes."""
    wanted = set(map(str, paths))
    with suppress(OSError):
        for line in Path(f"/proc/{process}/mountinfo").read_text(encoding="utf-8", errors="surrogateescape").splitlines():
            _, _, device, _, place, *_ = line.split(" ")
            if _OCTAL.sub(lambda found: chr(int(found[1], 8)), place) in wanted:
                Path(f"/sys/class/bdi/{device}/read_ahead_kb").write_text(str(AHEAD_KIB), encoding="ascii")
