"""The index of sharded weights: `model.safetensors.index.json` as transformers writes it, {"weight_map": {tensor: file}}."""

from __future__ import annotations

import json

from hermetic.errors import FormatError
from hermetic.formats.safetensors import without_repetition

SUFFIX = ".safetensors.index.json"
LIMIT = 64 * 1024 * 1024


def parse_index(raw: bytes) -> dict[str, str]:
    """Return {tensor: name of the shard's file}. Raises FormatError."""
    try:
        found = json.loads(raw.decode("utf-8"), object_pairs_hook=without_repetition)
    except (ValueError, RecursionError):
        raise FormatError("the tensor index is not JSON in UTF-8") from None
    index = found.get("weight_map") if isinstance(found, dict) else None
    if not isinstance(index, dict) or not all(isinstance(file, str) and file for file in index.values()):
        raise FormatError("the tensor index has no weight_map of tensors to files")
    return index
