"""State dicts in files: saved as torch does, read as data and never as code, and snapshots that a background thread writes.

    save(state, "checkpoint/risk")                  # one version, published when it is complete
    state = load("checkpoint/risk@7")               # tensors, numbers, text, lists, dicts
    ref, state = resume("checkpoint/risk")          # the newest, once every byte of it has been verified

    with BackgroundSaver("checkpoint/risk") as saver:
        for step, batch in enumerate(loader):
            ...
            saver.save({"model": model.state_dict(), "step": step})     # returns once a copy is taken

A pickle can run code when it is read. Only what torch's `weights_only=True` takes is read, and what `pickles:` in the policy in force
names (`assets.pickles`), whoever signed it.
"""

from __future__ import annotations

import contextvars
import importlib
import pickle
import struct
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Self

import torch

from hermetic.assets.checkpoints import CheckpointWriter, latest_good
from hermetic.assets.naming import document_in_force
from hermetic.assets.pickles import HARMLESS
from hermetic.assets.sealing import DEFAULT_MEMBER, Terms
from hermetic.errors import FormatError, NotFound, PolicyDenied, UsageError
from hermetic.integrations.process import attached
from hermetic.integrations.torch.records import view_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import TracebackType
    from typing import IO

    from hermetic.assets.sealing import SealedVersion
    from hermetic.assets.session import Session
    from hermetic.ids import DataClass


_LETTING = threading.Lock()
# What torch.load raises for bytes that are no file of torch.save, or were one.
_BROKEN = (RuntimeError, EOFError, ValueError, TypeError, LookupError, AttributeError, AssertionError, struct.error)


def save(state: Any, name: str, *, data_class: DataClass | str | None = None, project: str | None = None) -> SealedVersion:
    """Publish a state as a new version of `name` by torch.save, inside a run too. Raises PolicyDenied, StorageError."""
    files = attached(project)
    saved = save_to(files.session, state, Terms(name=name, data_class=data_class))
    files.published(name)
    return saved


def save_to(session: Session, state: Any, terms: Terms) -> SealedVersion:
    """Publish a state on a session."""
    with CheckpointWriter(session, terms) as saved, saved.open(DEFAULT_MEMBER) as file:
        torch.save(state, file)
    return saved.version


def load(ref: str, *, map_location: Any = "cpu", purpose: str | None = None, project: str | None = None) -> Any:
    """Return what `save` was given. Raises PolicyDenied, also if it holds more than data, FormatError, IntegrityError."""
    files = attached(project)
    view = view_of(files, ref)
    if view.single is None:
        raise UsageError(f"{ref} has several files", hint="a distributed checkpoint is loaded by dcp.load with a SealedReader")
    with files.open(view, view.single, purpose) as file:
        return load_data(files.session, file, f"{view.name}@{view.number}", map_location=map_location)


def load_data(session: Session, file: IO[bytes], what: str, *, map_location: Any = "cpu") -> Any:
    """Read a file of torch.save as data. Raises PolicyDenied if it wants more than policy allows, FormatError for what is none."""
    for allowed in ((), _allowed(session)):
        file.seek(0)
        try:
            with _letting(allowed):
                return torch.load(file, map_location=map_location, weights_only=True)
        except pickle.UnpicklingError as error:
            told = [line.strip() for line in str(error).splitlines() if "global" in line.lower()]
        except _BROKEN as error:
            raise _unreadable(what, (str(error).splitlines() or ["it ends too early"])[0]) from error
    if not told:
        raise _unreadable(what, "it is no file of torch.save")
    raise PolicyDenied(
        f"{what} holds more than tensors and plain values: {told[0][:200]}",
        hint="if that only builds values: add its name to `pickles:` in hermetic.yaml, then `hermetic policy apply`",
    )


@contextmanager
def _letting(allowed: Sequence[tuple[Any, str]]) -> Iterator[None]:
    """Let torch's reader import these; its list belongs to the process, so one thread at a time changes it."""
    if not allowed:
        yield
        return
    with _LETTING, torch.serialization.safe_globals(list(allowed)):
        yield


def _unreadable(what: str, why: str) -> FormatError:
    return FormatError(f"torch cannot read {what}: {why[:200]}", hint="it was not saved by torch.save, or for another device")


def _allowed(session: Session) -> list[tuple[Any, str]]:
    """Return what the policy in force lets pickles import, as far as it is installed here."""
    found = []
    for name in sorted(HARMLESS | document_in_force(session).pickles):
        module, _, attribute = name.rpartition(".")
        with suppress(ImportError, AttributeError):
            found.append((getattr(importlib.import_module(module), attribute), name))
    return found


def resume(
    name: str, *, fall_back: bool = False, map_location: Any = "cpu", purpose: str | None = None, project: str | None = None
) -> tuple[str, Any]:
    """Return (reference, state) of the newest version, verified whole first. Raises as `Workspace.latest_good`."""
    good = latest_good(attached(project).session, name, fall_back=fall_back)
    return good.ref, load(good.ref, map_location=map_location, purpose=purpose, project=project)


def exists(name: str, *, project: str | None = None) -> bool:
    """Say whether there is any version to resume from; a refusal is raised, not taken for absence."""
    try:
        view_of(attached(project), name)
    except NotFound:
        return False
    return True


class BackgroundSaver:
    """Writes one snapshot at a time in a thread while training goes on; each is a version, published when it is complete.

    What failed is raised by the next `save`, `wait` or the end of the block. Leave the block before the run ends.
    """

    def __init__(self, name: str, *, data_class: DataClass | str | None = None, project: str | None = None) -> None:
        self._files = attached(project)
        self._terms = Terms(name=name, data_class=data_class)
        self._thread: threading.Thread | None = None
        self._saved: SealedVersion | None = None
        self._error: BaseException | None = None

    def save(self, state: Any) -> None:
        """Copy `state` and begin to write it, after the one before has been written. Raises what kept that one from it."""
        self.wait()
        snapshot = _copied(state)
        context = contextvars.copy_context()  # the run
        self._thread = threading.Thread(target=context.run, args=(self._write, snapshot), name="hermetic-checkpoint")
        self._thread.start()

    def wait(self) -> SealedVersion | None:
        """Wait until nothing is being written; return the version published last. Raises what went wrong."""
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join()
        error, self._error = self._error, None
        if error is not None:
            raise error
        return self._saved

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is None:
            self.wait()
        elif self._thread is not None:
            self._thread.join()  # the error that ended the block is the one to tell

    def _write(self, state: Any) -> None:
        try:
            self._saved = save_to(self._files.session, state, self._terms)
            self._files.published(str(self._terms.name))
        except BaseException as error:  # noqa: BLE001 - handed to the thread that asked
            self._error = error


def _copied(state: Any) -> Any:
    """Return a copy in main memory that training does not change."""
    if isinstance(state, torch.Tensor):
        return state.detach().to("cpu", copy=True)
    if isinstance(state, dict):
        return {key: _copied(value) for key, value in state.items()}
    if isinstance(state, list | tuple):
        return type(state)(_copied(item) for item in state) if not hasattr(state, "_fields") else type(state)(*map(_copied, state))
    return state
