"""Which of the seven stages something belongs to, by what it is and what it was made for.

A dataset is ingested until a run declared for `prepare` writes it; a model stands in the registry from its first published
version on. A config or a secret belongs where it is read. Backups and scratch space belong to no stage.
"""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING

from hermetic.errors import InvalidName
from hermetic.ids import AssetName, Kind, Purpose, Stage
from hermetic.policy.stages import FEATURES, OF_PURPOSE, of_work

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from hermetic.formats.messages.runs import RunRow

_OF_KIND = {
    Kind.FEATURES: Stage.FEATURES,
    Kind.EMBEDDINGS: Stage.FEATURES,
    Kind.CHECKPOINT: Stage.TRAINING,
    Kind.PAYLOAD: Stage.INFERENCE,
    Kind.LOG: Stage.MONITORING,
    Kind.FEEDBACK: Stage.MONITORING,
}
_WEIGHTS = {".safetensors", ".pt", ".pth", ".ckpt", ".bin", ".h5", ".keras", ".onnx", ".gguf", ".pkl", ".pickle", ".joblib", ".pb"}
_FEATURES = {".faiss", ".npy", ".npz", ".index", ".ann", ".hnsw"}


def of_asset(name: str, *, latest: int, written_for: Collection[Purpose], read_for: Collection[Purpose]) -> Stage | None:
    """Return the stage of an asset, None for one that stands beside the pipeline; purposes are those of runs."""
    kind = kind_of(name)
    if kind in _OF_KIND:
        return _OF_KIND[kind]
    if kind is Kind.MODEL:
        return Stage.REGISTRY if latest else Stage.TRAINING
    if kind is Kind.DATASET:
        return _of_dataset(written_for)
    if kind in {Kind.CONFIG, Kind.SECRET}:
        return _earliest(OF_PURPOSE[purpose] for purpose in read_for) or Stage.TRAINING
    return None


def of_run(run: RunRow) -> Stage:
    """Return the stage a run belongs to: by its purpose, and for `prepare` by what it wrote."""
    return of_work(run.purpose, features=any(kind_of(ref) in FEATURES for ref in run.outputs))


def of_file(path: str) -> Stage:
    """Return the stage that an unprotected file most likely belongs to, by the end of its name."""
    suffix = PurePath(path).suffix.lower()
    if suffix in _WEIGHTS:
        return Stage.TRAINING
    if suffix in _FEATURES:
        return Stage.FEATURES
    return Stage.INGESTION


def kind_of(ref: str) -> Kind | None:
    """Return the kind in a name or reference, None if it has none."""
    try:
        return AssetName.parse(bare(ref)).kind
    except InvalidName:
        return None


def bare(ref: str) -> str:
    """Return the asset name in a reference."""
    return ref.removeprefix("hermetic://").partition("@")[0]


def _of_dataset(written_for: Collection[Purpose]) -> Stage:
    made = _earliest(OF_PURPOSE[purpose] for purpose in written_for if purpose is not Purpose.DEBUG)
    return made or Stage.INGESTION


def _earliest(stages: Iterable[Stage]) -> Stage | None:
    return min(stages, key=list(Stage).index, default=None)
