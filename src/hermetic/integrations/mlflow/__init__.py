"""MLflow's artifacts as sealed objects, opened and sealed by the client: the tracking server sees neither content nor keys.

    mlflow.create_experiment("risk", artifact_location="hermetic+file:///data/clinic/mlruns")      or hermetic+s3://bucket/prefix
    mlflow.sklearn.log_model(model, name="risk", registered_model_name="risk")
    mlflow.sklearn.load_model("models:/risk/1")

MLflow finds the plugin by itself (entry points). Each artifact is one sealed object at its location, its signed manifest beside it:
`hermetic+file:///x` is `sealed::file:///x`, so that what `rules:` say of locations holds here (`integrations.sealed_filesystem`). The
files of one call are one version, published whole when the call ends, also inside a run of Hermetic's: MLflow believes that they are
there from then on. Purpose and lineage are those of the run, else of HERMETIC_PURPOSE and the class.

MLflow works through temporary files. None of them may be on a disk:

    hermetic run                 temporary files are in memory already; nothing else to do
    keep_in_memory()             the same for a process that was started otherwise, or for a block
    neither                      what MLflow wrote to a disk first is refused when it is to be sealed, and so is every folder on a disk
                                 to download into; downloads that name no folder go to memory all the same

Memory is a private folder on a tmpfs (`memory`), removed when the block, the run or the process ends. Inside a run of Hermetic's,
requests to the tracking server carry its id and purpose (`headers`).

Where artifacts go is what the server says; `refuse_plain_artifacts()` holds it to sealed locations (`guard`).

Parameters, metrics, tags and spans of traces are MLflow's own and lie in its database in plaintext.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hermetic.integrations.mlflow.memory import keep_in_memory

if TYPE_CHECKING:
    from hermetic.integrations.mlflow.guard import refuse_plain_artifacts

__all__ = ["keep_in_memory", "refuse_plain_artifacts"]


def __getattr__(name: str) -> Any:
    """Load what needs MLflow when it is first used. Raises Unsupported if that is missing."""
    if name != "refuse_plain_artifacts":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from hermetic.integrations.mlflow import guard  # noqa: PLC0415 - MLflow itself imports this package

    return guard.refuse_plain_artifacts
