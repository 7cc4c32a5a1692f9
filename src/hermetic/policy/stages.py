"""Which of the seven stages of a pipeline work belongs to, by what it is for and on. Pure; `hermetic map` draws by the same table.

Preparing features or embeddings is the stage of features; what shares a version or carries it on is the registry's; all else goes by
the purpose. So a policy's `context.stage` is as sure as the purpose, which a run declares once and roles limit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hermetic.ids import Kind, Purpose, Stage
from hermetic.policy.request import Action, AssetResource

if TYPE_CHECKING:
    from hermetic.policy.request import DecisionRequest

OF_PURPOSE: Final = {
    Purpose.INGEST: Stage.INGESTION,
    Purpose.PREPARE: Stage.PREPARATION,
    Purpose.TRAIN: Stage.TRAINING,
    Purpose.EVALUATE: Stage.TRAINING,
    Purpose.SERVE: Stage.INFERENCE,
    Purpose.SHARE: Stage.REGISTRY,
    Purpose.RECOVER: Stage.REGISTRY,
    Purpose.AUDIT: Stage.MONITORING,
    Purpose.DEBUG: Stage.TRAINING,
}
FEATURES: Final = frozenset({Kind.FEATURES, Kind.EMBEDDINGS})


def of_work(purpose: Purpose, *, features: bool) -> Stage:
    """Return the stage of work for a purpose; `features` says that it makes features or embeddings, or opens them."""
    return Stage.FEATURES if features and purpose is Purpose.PREPARE else OF_PURPOSE[purpose]


def of_request(request: DecisionRequest) -> Stage | None:
    """Return the stage of what is asked, None where it has no purpose."""
    if request.context.purpose is None:
        return None
    if request.action in {Action.SHARE, Action.PROMOTE}:
        return Stage.REGISTRY
    resource = request.resource
    return of_work(request.context.purpose, features=isinstance(resource, AssetResource) and resource.kind in FEATURES)
