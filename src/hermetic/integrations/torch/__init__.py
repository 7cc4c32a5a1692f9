"""Training on sealed data with torch: what a loop reads, and what it saves.

    records      SealedRecords: shards of raw fixed-size records as a map-style dataset, decrypted into the batch's own tensor
    loader       SealedLoader: a DataLoader that shuffles by blocks and goes on in mid-epoch
    order        in which order an epoch visits its records
    shards       SealedShards: an iterable over lines, tars (WebDataset) or whole members
    states       save, load, resume: a state dict as a version; BackgroundSaver
    distributed  SealedWriter and SealedReader for torch.distributed.checkpoint

    records = SealedRecords("dataset/train@3", dtype=torch.uint8, shape=(3, 224, 224))
    loader = SealedLoader(records, batch_size=256, shuffle=True, seed=1, num_workers=2)

What is recorded: one release for each process that reads, whatever the number of shards and epochs it reads. That is one for the main
process, and one for each worker that torch starts; with `persistent_workers=True` workers last for all epochs. A key is leased to the
process that asked for it, so nothing of the main process's leases works in a worker, forked or spawned. A worker that ends gives its
lease back; one that is killed leaves it to run out.

Everything here needs torch, which is imported when one of the names is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from hermetic.errors import Unsupported

if TYPE_CHECKING:
    from hermetic.integrations.torch.distributed import SealedReader, SealedWriter
    from hermetic.integrations.torch.loader import SealedLoader
    from hermetic.integrations.torch.records import SealedRecords
    from hermetic.integrations.torch.shards import SealedShards, ShardLoader, register_webdataset
    from hermetic.integrations.torch.states import BackgroundSaver, exists, load, resume, save

__all__ = [
    "BackgroundSaver",
    "SealedLoader",
    "SealedReader",
    "SealedRecords",
    "SealedShards",
    "SealedWriter",
    "ShardLoader",
    "exists",
    "load",
    "register_webdataset",
    "resume",
    "save",
]

_HOMES = {
    "distributed": ("SealedReader", "SealedWriter"),
    "loader": ("SealedLoader",),
    "records": ("SealedRecords",),
    "shards": ("SealedShards", "ShardLoader", "register_webdataset"),
    "states": ("BackgroundSaver", "exists", "load", "resume", "save"),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Load a name when it is first used. Raises Unsupported if torch is missing."""
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(importlib.import_module(f"{__name__}.{_HOME_OF[name]}"), name)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in {"torch", "numpy"}:
            raise
        raise Unsupported(f"{error.name} is not installed", hint="pip install '.[torch]'") from None
