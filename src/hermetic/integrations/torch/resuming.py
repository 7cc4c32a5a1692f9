"""A DataLoader that knows how many batches its loop has got, and can go on from there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch.utils.data import DataLoader

from hermetic.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_FORMAT = 1
_WORDS = {"lanes": "workers times ranks (num_workers of the loader, number of processes)"}  # what a key of a state is to users


class ResumingLoader(DataLoader):  # type: ignore[misc]  # torch is not there when types are checked
    """Counts what the loop gets. `epoch` is the one that goes on; each new loop is the next, unless a state was loaded before it.

    A batch counts as got once the loop has it: whoever saves the state after each step's checkpoint loses and repeats nothing,
    whatever workers had read ahead.
    """

    def __init__(self, dataset: Any, **options: Any) -> None:
        self.epoch, self.got = 0, 0
        self._began, self._resumed = False, False
        super().__init__(dataset, **options)

    def __iter__(self) -> Iterator[Any]:
        if self._began and not self._resumed:
            self.epoch, self.got = self.epoch + 1, 0
        self._began, self._resumed = True, False
        return self._counted(self.rest(), self.epoch)

    def rest(self) -> Iterator[Any]:
        """Return the batches of this epoch after the first `got`."""
        raise NotImplementedError

    def identity(self) -> dict[str, Any]:
        """Return what a state must agree with, as plain values."""
        raise NotImplementedError

    def from_workers(self) -> Iterator[Any]:
        """Return torch's own iteration."""
        return super().__iter__()  # type: ignore[no-any-return]

    def _counted(self, batches: Iterator[Any], epoch: int) -> Iterator[Any]:
        for batch in batches:
            if self.epoch == epoch:
                self.got += 1
            yield batch

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch the next loop is; only its order depends on that."""
        self.epoch, self.got, self._resumed = epoch, 0, True

    def state_dict(self) -> dict[str, Any]:
        """Return where the loop stands; plain values that JSON takes, and nothing of the records."""
        return {"format": _FORMAT, "epoch": self.epoch, "batches": self.got, **self.identity()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state` was taken. Raises UsageError if it is of another version, order, or number of workers or ranks."""
        mine = {"format": _FORMAT, **self.identity()}
        wrong = sorted(name for name, value in mine.items() if state.get(name) != value)
        if wrong:
            what = _WORDS.get(wrong[0], wrong[0])
            raise UsageError(
                f"the state was taken with {what} {state.get(wrong[0])!r}, and this loader has {mine[wrong[0]]!r}",
                hint="make data and loader as they were, the version's number included: any other order would repeat or lose records",
            )
        counts = [state.get("epoch"), state.get("batches")]
        if not all(isinstance(count, int) and count >= 0 for count in counts):
            raise UsageError("the state lacks its epoch or its number of batches")
        self.epoch, self.got, self._resumed = int(state["epoch"]), int(state["batches"]), True
