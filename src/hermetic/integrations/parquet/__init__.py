"""Parquet Modular Encryption whose column keys are in custody: who may not open a column key cannot read its columns.

    keys = ColumnKeys(h, purpose="train")
    keys.create("secret/columns/footer", data_class="internal")
    keys.create("secret/columns/pii", data_class="restricted")
    keys.write_table(table, "patients.parquet", columns={"secret/columns/pii": ["ssn", "name"]}, footer="secret/columns/footer")
    keys.read_table("patients.parquet", columns=["age"])     # asks for the footer's key only

A column key is a sealed asset of kind `secret`: 32 random bytes. Policy, class, owner, revocation and the log apply to it as to any
asset; custody knows nothing of Parquet. Every column of a file has a data key of its own, which is wrapped under the latest version
of its column key (`wrapping`, spec/parquet-keys.md) and lies beside the file as `_KEY_MATERIAL_FOR_<name>.json`.

Invariants:
1. Every column and the footer are encrypted: what `columns` does not name is under the footer's key.
2. Each file asks custody for each of its column keys, whatever Arrow or this process has cached: one entry in the log for each.
   A column key is held for one file, and no longer than `check` of its class; then custody is asked again.
3. A plain Parquet file in the place of an encrypted one is refused, at the handle that is read.
4. Nothing is overwritten, and on a local disk a file appears whole or not at all.

Where to look: `keys` what users call, `keyring` the releases, `kms` what Arrow calls, `columns` which column is under which key,
`places` where files lie, `reading` files as a dataset, `material` the wrapped keys beside a file.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from hermetic.errors import Unsupported

if TYPE_CHECKING:
    from hermetic.integrations.parquet.keys import ColumnKeys

__all__ = ["ColumnKeys"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        importlib.import_module("pyarrow.parquet.encryption")
        importlib.import_module("pyarrow.dataset")
    except ImportError:
        raise Unsupported("pyarrow with Parquet encryption is not installed", hint="pip install '.[parquet]'") from None
    return getattr(importlib.import_module(f"{__name__}.keys"), name)
