"""PyTorch Lightning's checkpoints as sealed versions.

    trainer = Trainer(plugins=[SealedCheckpointIO("checkpoint/risk")], callbacks=[ModelCheckpoint(dirpath="hermetic://checkpoint/risk")])
    trainer.fit(model, ckpt_path=h.latest_good("checkpoint/risk").ref)

Each checkpoint that Lightning saves is one version of the asset, published when it is complete, also inside an open run; the path that
Lightning calls it is kept as a label, so that "best" and "last" and paths from another process find it again. What Lightning removes
(`save_top_k`) stays: versions never change, and how long they are kept is the class's retention.

Checkpoints are read as data only (`weights_only=True`), whatever Lightning is told. Loggers write to folders of their own, in
plaintext: leave them out, or let them write to memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hermetic.assets.sealing import Terms
from hermetic.errors import InvalidName, NotFound, Unsupported
from hermetic.formats.messages.catalogue import ShowVersion
from hermetic.ids import AssetName, Ref
from hermetic.integrations.process import attached

try:
    from pytorch_lightning.plugins.io import CheckpointIO
except ModuleNotFoundError as error:
    raise Unsupported(f"{error.name} is not installed", hint="pip install '.[lightning]'") from None

from hermetic.integrations.torch.states import load, save_to

if TYPE_CHECKING:
    import os

    from hermetic.ids import DataClass

LABEL = "path"
_SCHEME = "hermetic://"


class SealedCheckpointIO(CheckpointIO):  # type: ignore[misc]  # Lightning is not there when types are checked
    """See the module's text. `name` is the asset that all checkpoints are versions of."""

    def __init__(
        self, name: str, *, data_class: DataClass | str | None = None, purpose: str | None = None, project: str | None = None
    ) -> None:
        self._name = str(AssetName.parse(name))
        self._files = attached(project)
        self._data_class, self._purpose, self._project = data_class, purpose, project
        self._known: dict[str, str] = {}

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | os.PathLike[str], storage_options: Any = None) -> None:  # noqa: ARG002
        """Publish a version. Raises PolicyDenied, StorageError; afterwards there is either all of it or nothing."""
        terms = Terms(name=self._name, data_class=self._data_class, labels=((LABEL, str(path)),))
        self._known[str(path)] = save_to(self._files.session, checkpoint, terms).ref
        self._files.published(self._name)

    def load_checkpoint(
        self,
        path: str | os.PathLike[str],
        map_location: Any = None,
        weights_only: bool | None = None,  # noqa: ARG002, FBT001 - Lightning's
    ) -> dict[str, Any]:
        """Return what was saved, all tensors in main memory unless told otherwise; `path` is a reference, or what Lightning called it.

        Raises NotFound, IntegrityError, UsageError if it holds more than data.
        """
        ref = self._ref_of(str(path))
        state: dict[str, Any] = load(ref, map_location=map_location or "cpu", purpose=self._purpose, project=self._project)
        return state

    def remove_checkpoint(self, path: str | os.PathLike[str]) -> None:
        """Keep it: versions never change."""

    def _ref_of(self, path: str) -> str:
        if path in self._known:
            return self._known[path]
        try:
            ref = Ref.parse(path.removeprefix(_SCHEME))
        except InvalidName:
            return self._labelled(path)
        return str(ref) if ref.number is not None or str(ref.name) == self._name else self._labelled(path)

    def _labelled(self, path: str) -> str:
        """Return the newest version that Lightning called `path`."""
        newest = self._files.session.ask(ShowVersion(self._name)).number
        for number in range(newest, 0, -1):
            details = self._files.session.ask(ShowVersion(f"{self._name}@{number}"))
            if (LABEL, path) in details.labels:
                return details.ref
        raise NotFound(f"no version of {self._name} was saved as {path!r}", hint=f"name one: {self._name}@{newest}")
