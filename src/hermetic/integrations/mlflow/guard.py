"""Hold MLflow to sealed locations, whatever its server says.

Where artifacts go and what `models:/NAME/1` means is what the tracking server answers. Who can write its database can name a plain
location, or a plain model that somebody prepared. With this on, such an answer is an error before anything is sent or loaded.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from hermetic.errors import Unsupported, UsageError
from hermetic.integrations.mlflow.memory import lies_in_memory

try:
    from mlflow.store.artifact.artifact_repository_registry import get_registered_artifact_repositories
    from mlflow.utils.file_utils import local_file_uri_to_path
except ModuleNotFoundError as error:
    raise Unsupported(f"{error.name} is not installed", hint="pip install '.[mlflow]'") from None

_LET_THROUGH = frozenset({"hermetic+file", "hermetic+s3", "runs", "models"})  # the last two lead to others, which are asked again
_LOCAL = frozenset({"", "file"})


def refuse_plain_artifacts() -> None:
    """From now on refuse every location of artifacts in this process that is neither sealed nor in memory. It cannot be taken back."""
    known = get_registered_artifact_repositories()
    for scheme, made in list(known.items()):
        if scheme not in _LET_THROUGH:
            known[scheme] = partial(_refuse, made, scheme in _LOCAL)


def _refuse(made: Any, local: bool, artifact_uri: str, **others: Any) -> Any:  # noqa: FBT001 - called by MLflow with the rest
    if local and lies_in_memory(Path(local_file_uri_to_path(str(artifact_uri)))):
        return made(artifact_uri, **others)
    raise UsageError(
        f"{str(artifact_uri)[:200]!r} is a plain location", hint="make the experiment with artifact_location='hermetic+file:///FOLDER'"
    )
