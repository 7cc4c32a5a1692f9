"""Somebody decides that the prepared cohort names nobody any more, and it is sealed one class lower: under other keys.

    python deidentify.py SOURCE TARGET CLASS REASON           SOURCE and TARGET are assets

This is the one step that is about protection itself, so it is the one script that uses Hermetic's own interface.
"""

from __future__ import annotations

import sys

import pandas as pd
from prepare import IDENTITY

import hermetic


def release(source: str, target: str, data_class: str, reason: str) -> None:
    """Check that no identity is left, then seal with the decision on record."""
    with hermetic.connect() as h, h.run("de-identify", purpose="prepare"), h.open(source) as file:
        left = set(IDENTITY) & set(pd.read_parquet(file).columns)
        if left:
            raise SystemExit(f"not de-identified: {', '.join(sorted(left))}")
        file.seek(0)
        sealed = h.seal(file, name=target, data_class=data_class, decision=reason)
        print(f"{sealed.ref} is {sealed.data_class}: {reason}")


if __name__ == "__main__":
    source, target, data_class, reason = sys.argv[1:]
    release(source, target, data_class, reason)
