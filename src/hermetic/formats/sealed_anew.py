"""The label by which a version says that it holds what an earlier one of its asset does, sealed anew. Pure.

Whoever may seal writes labels: what one claims counts where custody bears it out (`custody.anew`).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

LABEL: Final = "sealed-anew-from"
_NUMBERED: Final = re.compile(r".*@[1-9][0-9]{0,8}")


def claimed(labels: Iterable[tuple[str, ...]]) -> frozenset[int]:
    """Return the numbers of the versions that labels claim; names are left out, since assets are renamed."""
    texts = [label[1] for label in labels if label[0] == LABEL and len(label) > 1]
    return frozenset(int(text.rpartition("@")[2]) for text in texts if _NUMBERED.fullmatch(text))
