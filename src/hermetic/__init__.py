"""Hermetic keeps everything an AI pipeline touches sealed from ingestion to inference, and proves it.

    import hermetic

    h = hermetic.connect()
    v = h.seal("patients.parquet", name="dataset/patients", data_class="restricted", owner="ana")
    with h.open("dataset/patients", purpose="prepare") as file: ...
    with h.run("train", purpose="train"):
        frame = pandas.read_parquet("hermetic://dataset/patients@3")

What stands in `__all__` is public and keeps its meaning within a major version; everything else may change. Names are loaded when
they are first used, so that importing the package costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hermetic.assets.checking import Verified
    from hermetic.assets.checkpoints import CheckpointWriter, GoodVersion, OlderCheckpoint
    from hermetic.assets.opening import MemberFile
    from hermetic.assets.releases import OpenVersion
    from hermetic.assets.runs import RunHandle
    from hermetic.assets.sealing import SealedVersion, Terms
    from hermetic.assets.workspace import Workspace, connect
    from hermetic.errors import (
        ApprovalNeeded,
        ConfigError,
        Conflict,
        DatabaseUnavailable,
        Denied,
        FindingsError,
        FormatError,
        HermeticError,
        IntegrityError,
        InvalidName,
        KeyServiceUnavailable,
        KeyUnusable,
        LeaseEnded,
        Locked,
        LogTampered,
        NotAuthenticated,
        NotFound,
        PolicyDenied,
        RowTampered,
        SignatureError,
        StorageError,
        Unsupported,
        UsageError,
        WrongKey,
    )
    from hermetic.ids import AssetName, DataClass, Environment, Kind, Purpose, Ref

_HOMES = {
    "hermetic.assets.checking": ("Verified",),
    "hermetic.assets.checkpoints": ("CheckpointWriter", "GoodVersion", "OlderCheckpoint"),
    "hermetic.assets.opening": ("MemberFile",),
    "hermetic.assets.releases": ("OpenVersion",),
    "hermetic.assets.runs": ("RunHandle",),
    "hermetic.assets.sealing": ("SealedVersion", "Terms"),
    "hermetic.assets.workspace": ("Workspace", "connect"),
    "hermetic.errors": (
        "ApprovalNeeded",
        "ConfigError",
        "Conflict",
        "DatabaseUnavailable",
        "Denied",
        "FindingsError",
        "FormatError",
        "HermeticError",
        "IntegrityError",
        "InvalidName",
        "KeyServiceUnavailable",
        "KeyUnusable",
        "LeaseEnded",
        "Locked",
        "LogTampered",
        "NotAuthenticated",
        "NotFound",
        "PolicyDenied",
        "RowTampered",
        "SignatureError",
        "StorageError",
        "Unsupported",
        "UsageError",
        "WrongKey",
    ),
    "hermetic.ids": ("AssetName", "DataClass", "Environment", "Kind", "Purpose", "Ref"),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "ApprovalNeeded",
    "AssetName",
    "CheckpointWriter",
    "ConfigError",
    "Conflict",
    "DataClass",
    "DatabaseUnavailable",
    "Denied",
    "Environment",
    "FindingsError",
    "FormatError",
    "GoodVersion",
    "HermeticError",
    "IntegrityError",
    "InvalidName",
    "KeyServiceUnavailable",
    "KeyUnusable",
    "Kind",
    "LeaseEnded",
    "Locked",
    "LogTampered",
    "MemberFile",
    "NotAuthenticated",
    "NotFound",
    "OlderCheckpoint",
    "OpenVersion",
    "PolicyDenied",
    "Purpose",
    "Ref",
    "RowTampered",
    "RunHandle",
    "SealedVersion",
    "SignatureError",
    "StorageError",
    "Terms",
    "Unsupported",
    "UsageError",
    "Verified",
    "Workspace",
    "WrongKey",
    "connect",
]


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module 'hermetic' has no attribute {name!r}")
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
