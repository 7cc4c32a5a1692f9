"""What a workspace does with checkpoints; `checkpoints` does it, and is loaded when it is first used."""

from __future__ import annotations

import importlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hermetic.assets.checkpoints import CheckpointWriter, GoodVersion
    from hermetic.assets.sealing import Terms
    from hermetic.assets.session import Session
    from hermetic.ids import DataClass


class CheckpointMethods:
    """A part of Workspace."""

    session: Session

    def checkpoint(self, name: str, *, data_class: DataClass | str | None = None, terms: Terms | None = None) -> CheckpointWriter:
        """Return a context manager whose files become one version at the clean end of its block, inside a run too.

            with h.checkpoint("checkpoint/risk") as saved, saved.open("model.pt") as file: ...

        After an error nothing of it is left; a process that is killed leaves nothing that anybody reads.
        """
        module = _module()
        chosen = terms or module.Terms()
        made: CheckpointWriter = module.CheckpointWriter(
            self.session, replace(chosen, name=name, data_class=data_class or chosen.data_class)
        )
        return made

    def latest_good(self, name: str, *, fall_back: bool = False) -> GoodVersion:
        """Verify the newest version, every byte and the signature, and return it.

        Raises IntegrityError if it was changed or damaged. With `fall_back` older ones are tried instead, with a warning, and a
        decision on the asset's record says which were passed over and why. Raises NotFound if there is none at all.
        """
        found: GoodVersion = _module().latest_good(self.session, name, fall_back=fall_back)
        return found


def _module() -> Any:
    return importlib.import_module("hermetic.assets.checkpoints")
