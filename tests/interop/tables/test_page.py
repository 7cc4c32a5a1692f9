"""The scripts of docs/how-to/tables.md that need libraries of this environment: its indented blocks. The others run in tests/docs."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pandas as pd
import pytest

from tests.docs.pages import ROOT

PAGE = Path(ROOT, "docs", "how-to", "tables.md").read_text(encoding="utf-8")
BLOCKS = [textwrap.dedent(block) for block in re.findall(r"(?:^(?: {4}.*)?\n)+", PAGE, re.MULTILINE) if block.strip()]
WRITES = {"duckdb": "features/duck", "polars": "features/polars", "dask": "features/dask"}


@pytest.mark.filterwarnings("ignore:The inplace keyword")  # of pandas 3.1, about dask's own code
@pytest.mark.parametrize("tool", WRITES)
def test_script(place, real, monkeypatch, tool):
    (script,) = [block for block in BLOCKS if re.search(rf"\bimport {tool}\b", block)]
    frame = pd.DataFrame({"name": ["a", "b", "c"], "age": [50, 61, 72], "pressure": [120.0, 130.0, 140.0]})
    real.seal(frame.to_parquet(), name="dataset/patients", data_class="internal")
    monkeypatch.setenv("HERMETIC_PURPOSE", "prepare")
    exec(compile(script, "tables.md", "exec"), {})
    back = pd.read_parquet(f"hermetic://{WRITES[tool]}")
    assert back["pressure"].tolist() == frame["pressure"].tolist()
