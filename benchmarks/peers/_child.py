"""One work of one contender, in its own environment and process: measured, or done once and said what came of it.

    python _child.py MODULE VARIANT WORK FOLDER WARM [check]

Prints a JSON list: a Sample, then, with `check`, a digest of what was loaded, None for what is a file.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path += [str(HERE.parent), str(HERE.parents[1] / "src")]  # behind what the environment has

from hermetic.bench.measuring import measure  # noqa: E402 - found through the line above

FUNCTIONS = {"load": "load_all"}


def main() -> None:
    module, variant, work, folder, warm, *rest = sys.argv[1:]
    run = getattr(importlib.import_module(f"contenders.{module}"), FUNCTIONS.get(work, work))(Path(folder).resolve(), variant)
    if work in {"load", "one"}:
        _first_touch()
    kept: list[object] = []
    sample = measure(lambda: kept.append(run()), warm=0 if rest else int(warm))
    getattr(sys.modules[f"contenders.{module}"], "finish", lambda _folder: None)(Path(folder).resolve())
    print(json.dumps([*sample, *([_digest(work, kept[0])] if rest else [])]))
    sys.stdout.flush()


def _first_touch() -> None:
    """Let torch load what touching needs, before the clock runs for anybody."""
    import torch
    from contenders._tensors import touch

    touch({"small": torch.zeros(8192)})


def _digest(work: str, result: object) -> str | None:
    if work in {"load", "one"}:
        from contenders._tensors import digest

        return digest(result)
    if work in {"pandas", "pyarrow"}:
        import pandas as pd

        frame = result if work == "pandas" else result.to_pandas()
        return f"{len(frame)} rows, {pd.util.hash_pandas_object(frame).sum()}"
    return None


if __name__ == "__main__":
    main()
