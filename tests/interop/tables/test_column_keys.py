"""Files under column keys in other people's readers of Parquet Modular Encryption, which have keys but no Hermetic."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

from hermetic.crypto.secret import Secret
from hermetic.integrations.parquet import ColumnKeys
from hermetic.integrations.parquet.columns import assign, leaves
from hermetic.integrations.parquet.wrapping import parse, unwrap

FOOTER, PII = "secret/columns/footer", "secret/columns/pii"


@pytest.fixture
def written(place, columns, real):
    """A table, and the raw keys of its footer and columns, opened with the column keys as anybody would who was given them."""
    keys = ColumnKeys(real, purpose="prepare")
    for name in (FOOTER, PII):
        keys.create(name, data_class="internal")
    table = pa.table(columns)
    keys.write_table(table, "t.parquet", columns={PII: ["note"]}, footer=FOOTER, row_group_size=500)
    raw = {name: Secret(real.open(name, purpose="prepare").read()) for name in (FOOTER, PII)}
    material = json.loads(Path("_KEY_MATERIAL_FOR_t.parquet.json").read_text())
    entries = {name: json.loads(text) for name, text in material.items()}
    opened = {name: unwrap(raw[entry["masterKeyID"]], *parse(entry["wrappedDEK"])) for name, entry in entries.items()}
    paths = [path for below in assign(leaves(table.schema, {}), {PII: ["note"]}, FOOTER).values() for path in below]
    return table, opened["footerKey"], {path: opened[f"columnKey{at}"] for at, path in enumerate(paths)}


def test_polars(written):
    table, footer, columns = written
    every = pl.ParquetDecryptionProperties(footer_key=footer, column_keys=columns)
    assert pl.read_parquet("t.parquet", decryption=every).to_arrow().to_pydict() == table.to_pydict()


def test_polars_with_some_of_the_keys(written):
    table, footer, columns = written
    some = pl.ParquetDecryptionProperties(
        footer_key=footer, column_keys={name: key for name, key in columns.items() if name != "note"}
    )
    assert pl.read_parquet("t.parquet", columns=["id"], decryption=some)["id"].to_list() == table["id"].to_pylist()
    with pytest.raises(pl.exceptions.PolarsError):
        pl.read_parquet("t.parquet", columns=["note"], decryption=some)
