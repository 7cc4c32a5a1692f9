"""A column of a Parquet file is read without its key.

Attacker: whoever may open the key of the footer but not that of the column, and can write the files.
Tries:    read it; say in the key material that the column is under the footer's key; give it the wrapped key of another column; move
          the wrapped key to another version, file or asset; take the key material of a file of the attacker's own; wait for a reader
          who trusts any column key; put a plain file in its place; look for the column's values and name in the files.
Stops it: each wrapped key opens under one version of one column key, with its place bound; custody decides on that key for each file;
          files without encryption are refused.
"""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
from _stage import CANARY, Stage, main

from hermetic.errors import IntegrityError, NotFound, PolicyDenied
from hermetic.integrations.parquet import ColumnKeys

FOOTER, NAMES, MINE = "secret/columns/footer", "secret/columns/names", "secret/columns/mine"
POLICY = '@id("no-names") forbid (principal, action in Action::"release", resource) when { resource.name == "secret/columns/names" };'


def attack(stage: Stage) -> None:
    table = pa.table({"age": [44, 53], "secret_name": [CANARY.decode(), "b"]})
    with stage.create().connect() as h:
        keys = ColumnKeys(h, purpose="prepare")
        for name in (FOOTER, NAMES, MINE):
            keys.create(name, data_class="internal")
        keys.write_table(table, "t.parquet", columns={NAMES: ["secret_name"]}, footer=FOOTER)
        stage.honest("reading", keys.read_table("t.parquet").equals(table), wanted=True)
        (stage.project / "policies" / "columns.cedar").write_text(POLICY)
        stage.honest("policy apply", stage.cli("policy", "apply").returncode, 0)
        stage.honest("reading the other column", keys.read_table("t.parquet", columns=["age"])["age"].to_pylist(), [44, 53])
        _tries(stage, keys, table)
        _impostors(stage, keys, ColumnKeys(h, purpose="prepare", accept=[FOOTER, NAMES]), table)


def _tries(stage: Stage, keys: ColumnKeys, table: pa.Table) -> None:
    path = stage.project / "_KEY_MATERIAL_FOR_t.parquet.json"
    good = path.read_text()
    entries = {name: json.loads(text) for name, text in json.loads(good).items()}
    (ours,) = [name for name, entry in entries.items() if entry["masterKeyID"] == NAMES]
    (other,) = [name for name, entry in entries.items() if entry["masterKeyID"] == FOOTER and not entry["isFooterKey"]]
    footer = entries["footerKey"]["wrappedDEK"].split(".")
    wrapped = entries[ours]["wrappedDEK"].split(".")
    stage.refused("reading the column", lambda: keys.read_table("t.parquet"), PolicyDenied)
    changes = {
        "saying that it is under the footer's key": {"masterKeyID": FOOTER},
        "the wrapped key of another column": entries[other],
        "its sealed bytes in a place of the footer's": {"masterKeyID": FOOTER, "wrappedDEK": ".".join([*footer[:6], wrapped[6]])},
        "another version": {"wrappedDEK": ".".join([*wrapped[:4], "2", *wrapped[5:]])},
        "no column key at all": {"masterKeyID": "secret/columns/none", "wrappedDEK": ".".join([*wrapped[:2], "a" * 26, *wrapped[3:]])},
    }
    for what, change in changes.items():
        path.write_text(json.dumps({name: json.dumps(entry | (change if name == ours else {})) for name, entry in entries.items()}))
        stage.refused(what, lambda: keys.read_table("t.parquet", columns=["secret_name"]), PolicyDenied, IntegrityError, NotFound)
    path.write_text(good)
    content = (stage.project / "t.parquet").read_bytes() + good.encode()
    if CANARY in content or b"secret_name" in content:
        stage.found("looking for the column's name and values in the files", evidence=False)
    stage.kept("looking for the column's name and values in the files", "nothing of them is there")
    stage.honest("reading the other column all the same", keys.read_table("t.parquet", columns=["age"]).num_rows, table.num_rows)


def _impostors(stage: Stage, keys: ColumnKeys, strict: ColumnKeys, table: pa.Table) -> None:
    forged = pa.table({"age": [1, 1], "secret_name": ["x", "x"]})
    keys.write_table(forged, "forged.parquet", columns={}, footer=MINE)
    for name in ("{}", "_KEY_MATERIAL_FOR_{}.json"):
        (stage.project / name.format("forged.parquet")).replace(stage.project / name.format("t.parquet"))
    what = "a file under the attacker's own column key, to a reader who says which keys"
    stage.refused(what, lambda: strict.read_table("t.parquet"), IntegrityError)
    material = stage.project / "_KEY_MATERIAL_FOR_t.parquet.json"
    material.write_text(material.read_text().replace(MINE, FOOTER))
    stage.refused(f"{what}, called by their name", lambda: strict.read_table("t.parquet"), IntegrityError)
    pq.write_table(forged, stage.project / "t.parquet")
    stage.refused("a plain file in its place", lambda: keys.read_table("t.parquet"), IntegrityError)


if __name__ == "__main__":
    main(attack)
