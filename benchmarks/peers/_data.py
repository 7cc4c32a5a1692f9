"""What is measured: a safetensors file of 291 fp16 tensors, random bytes, and a Parquet file of random columns."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

MIB = 1024 * 1024
TENSORS = 291
SIXTEEN = 16 * MIB
ROW = 8192  # bytes; the last dimension is 4096
WEIGHTS, TABLE = "weights.safetensors", "table.parquet"


def write(folder: Path, mib: int) -> None:
    """Write both files, `mib` MiB of tensors and a quarter of that in the table."""
    _write_weights(folder / WEIGHTS, mib * MIB)
    _write_table(folder / TABLE, mib * MIB // 4)


def sizes(total: int) -> list[int]:
    """Return bytes of each tensor: one of 16 MiB, the rest alike, all whole rows."""
    rest, rows = TENSORS - 1, max((total - SIXTEEN) // ROW, TENSORS)
    return [SIXTEEN] + [(rows // rest + (number < rows % rest)) * ROW for number in range(rest)]


def _write_weights(path: Path, total: int) -> None:
    head, offset = {}, 0
    for number, size in enumerate(sizes(total)):
        shape = [size // ROW, ROW // 2]
        head[f"layer.{number:03d}.weight"] = {"dtype": "F16", "shape": shape, "data_offsets": [offset, offset + size]}
        offset += size
    raw = json.dumps(head).encode()
    raw += b" " * (-(8 + len(raw)) % 4096)  # data on a page: a loader may map it
    with path.open("xb") as file:
        file.write(len(raw).to_bytes(8, "little") + raw)
        while offset > 0:
            offset -= file.write(os.urandom(min(MIB, offset)))


def _write_table(path: Path, total: int) -> None:
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = max(1000, total // 64)
    random = np.random.default_rng(7)
    columns = {f"value_{number}": random.standard_normal(rows) for number in range(6)}
    columns |= {"id": np.arange(rows), "site": random.integers(0, 40, rows)}
    pq.write_table(pa.table(columns), path, row_group_size=256 * 1024)
