"""Encrypted files as a pyarrow dataset: each file with a key service of its own, since Arrow's datasets do not find wrapped keys that
lie beside a file by themselves.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.fs as pafs

from hermetic.errors import NotFound, UsageError
from hermetic.integrations.parquet import kms

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hermetic.integrations.parquet.keyring import Keyring
    from hermetic.integrations.parquet.places import Place

_INT32 = re.compile(r"-?[0-9]{1,9}")
_HIDDEN = ("_", ".")
NONE = "__HIVE_DEFAULT_PARTITION__"


def dataset(place: Place, keyring: Keyring, *, partitioning: Any = None, schema: Any = None) -> Any:
    """Return a pyarrow dataset of one file, or of all in a folder. Raises NotFound, UsageError, and what opening the first raises."""
    fs = place.required()
    paths = files(place)
    parts = _partitioning(place, paths, partitioning)
    fragments = [_fragment(fs, path, keyring, _expression(place, path, parts)) for path in paths]
    if schema is None:
        schema = fragments[0].physical_schema
        for field in () if parts is None else parts.schema:
            schema = schema if field.name in schema.names else schema.append(field)
    return ds.FileSystemDataset(fragments, schema, ds.ParquetFileFormat(), fs)


def decryption_properties(place: Place, keyring: Keyring, path: str) -> Any:
    """Return pyarrow's FileDecryptionProperties of one file."""
    return kms.factory(keyring).file_decryption_properties(kms.connection(), kms.decryption(), path, place.fs)


def _fragment(fs: Any, path: str, keyring: Keyring, expression: Any) -> Any:
    properties = kms.factory(keyring).file_decryption_properties(kms.connection(), kms.decryption(), path, fs)
    options = ds.ParquetFragmentScanOptions(decryption_properties=properties)
    return ds.ParquetFileFormat(default_fragment_scan_options=options).make_fragment(path, fs, expression)


def files(place: Place) -> list[str]:
    """Return the paths of the Parquet files at or below a place. Raises NotFound if there are none."""
    kind = place.kind()
    if kind == pafs.FileType.File:
        return [place.path]
    if kind == pafs.FileType.NotFound:
        raise NotFound(f"there is no {place.path}")
    found = place.fs.get_file_info(pafs.FileSelector(place.path, recursive=True))
    inside = [info.path for info in found if info.type == pafs.FileType.File]
    shown = sorted(path for path in inside if not any(part.startswith(_HIDDEN) for part in _inside(place, path).split("/")))
    if not shown:
        raise NotFound(f"there are no Parquet files in {place.path}")
    return shown


def _inside(place: Place, path: str) -> str:
    return path.removeprefix(place.path).strip("/")


def _partitioning(place: Place, files: Sequence[str], wanted: Any) -> Any:
    if wanted is None or isinstance(wanted, ds.Partitioning):
        return wanted
    if wanted != "hive":
        raise UsageError("partitioning is 'hive' or a pyarrow.dataset.Partitioning")
    values: dict[str, set[str]] = {}
    for path in files:
        for part in _inside(place, path).split("/")[:-1]:
            name, equals, value = part.partition("=")
            if equals:
                values.setdefault(name, set()).add(value)
    fields = [
        (name, pa.int32() if all(_INT32.fullmatch(text) for text in found - {NONE}) else pa.string()) for name, found in values.items()
    ]
    return ds.partitioning(pa.schema(fields), flavor="hive")


def _expression(place: Place, path: str, parts: Any) -> Any:
    return None if parts is None else parts.parse(_inside(place, path))
