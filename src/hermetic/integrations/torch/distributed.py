"""torch.distributed.checkpoint on sealed versions.

    dcp.save(state, storage_writer=SealedWriter("checkpoint/risk"))         # also dcp.async_save
    dcp.load(state, storage_reader=SealedReader("checkpoint/risk@7"))

Everything that one `dcp.save` writes is one version, published by torch's last step (`finish`), when `.metadata` is complete: until
then no reader sees anything of it, and a process that is killed leaves nothing. This holds inside an open run.

The files are those of torch's own FileSystemWriter. What is read back is data: `.metadata` may name the few classes that torch puts
there, tensors and objects only what `states.load_data` takes.

Several ranks. A data key belongs to the process that asked for it, so each rank but the first writes a version of its own,
`checkpoint/risk.rank-1@4`, and publishes it. The first rank publishes the checkpoint last, when all of them are there; its `.metadata`
and its labels name the exact versions of the others. Until then no reader comes upon any of it, and what a save that failed has left
of them is read by nobody.
"""

from __future__ import annotations

import dataclasses
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import torch
import torch.distributed as dist
from torch.distributed.checkpoint import FileSystemReader, FileSystemWriter
from torch.distributed.checkpoint.filesystem import FileSystemBase
from torch.distributed.checkpoint.metadata import StorageMeta

from hermetic.assets.checkpoints import PART, CheckpointWriter
from hermetic.assets.pickles import CarefulUnpickler
from hermetic.assets.sealing import Terms
from hermetic.errors import IntegrityError, UsageError
from hermetic.formats.messages.catalogue import ShowVersion
from hermetic.integrations.process import attached
from hermetic.integrations.torch.records import view_of
from hermetic.integrations.torch.states import load_data

if TYPE_CHECKING:
    import io
    from collections.abc import Iterator

    from hermetic.assets.sealing import SealedVersion
    from hermetic.assets.session import Session
    from hermetic.ids import DataClass

METADATA = ".metadata"
_TEMPORARY = ".tmp"
_SEPARATOR = "@"  # in no name of torch's files; `NAME@NUMBER/FILE` is a file of another rank's version

# What torch writes into `.metadata`, by module. `_get_layout` and dtypes are values, not code.
_KNOWN = {
    "torch.distributed.checkpoint.metadata": {
        "BytesStorageMetadata",
        "ChunkStorageMetadata",
        "Metadata",
        "MetadataIndex",
        "StorageMeta",
        "TensorProperties",
        "TensorStorageMetadata",
        "_MEM_FORMAT_ENCODING",
    },
    "torch.distributed.checkpoint.filesystem": {"_StorageInfo"},
    "torch.serialization": {"_get_layout"},
    "torch": {"Size", "device", "memory_format", *(name for name in dir(torch) if isinstance(getattr(torch, name), torch.dtype))},
    "collections": {"OrderedDict"},
}


class SealedWriter(FileSystemWriter):  # type: ignore[misc]  # torch is not there when types are checked
    """See the module's text. `version` is what the last save has published. One save at a time."""

    def __init__(
        self, name: str, *, data_class: DataClass | str | None = None, thread_count: int = 1, project: str | None = None
    ) -> None:
        super().__init__(name, sync_files=False, thread_count=thread_count)  # each file is synced when it is closed
        self._files = attached(project)
        self._data_class = data_class
        self._writing: CheckpointWriter | None = None
        self._own: str | None = None
        self.version: SealedVersion | None = None
        self.fs, self.path = _Draft(self), name

    def reset(self, checkpoint_id: Any = None) -> None:
        """Give up what a failed save has left; a `checkpoint_id` is another name to write to."""
        self.abandon()
        super().reset()
        if checkpoint_id:
            self.path = str(checkpoint_id)

    def set_up_storage_writer(self, is_coordinator: bool, *args: Any, **more: Any) -> None:  # noqa: FBT001 - torch's signature
        """Ask for the key. Raises PolicyDenied, UsageError."""
        super().set_up_storage_writer(is_coordinator, *args, **more)
        self._own = None if is_coordinator else f"{self.path}.rank-{dist.get_rank()}"
        writing = CheckpointWriter(self._files.session, Terms(name=self._own or self.path, data_class=self._data_class))
        writing.begin()
        self._writing = writing

    def write_data(self, plan: Any, planner: Any) -> Any:
        """Write tensors and objects; after an error nothing is left."""
        with self._all_or_nothing():
            done = super().write_data(plan, planner)
            return done if self._own is None else self._published(done.value())

    def _published(self, results: list[Any]) -> Any:
        """Publish this rank's own version and return the results as the checkpoint will name them."""
        if results:
            ref = self.writing.publish().ref
            results = [_moved(result, ref) for result in results]
        self.abandon()
        done: Any = torch.futures.Future()
        done.set_result(results)
        return done

    def finish(self, metadata: Any, results: Any) -> None:
        """Write `.metadata` and publish."""
        with self._all_or_nothing():
            super().finish(metadata, results)
            paths = [result.storage_data.relative_path for each in results for result in each]
            parts = dict.fromkeys(path.rpartition("/")[0] for path in paths if _SEPARATOR in path)
            self.version = self.writing.publish(tuple(parts))
        self._writing = None
        self._files.published(self.path)

    @contextmanager
    def _all_or_nothing(self) -> Iterator[None]:
        done = False
        try:
            yield
            done = True
        finally:
            if not done:
                self.abandon()

    def __reduce__(self) -> Any:
        raise UsageError("a SealedWriter stays in its process, and so does its key", hint="async_save in a thread, torch's default")

    @property
    def writing(self) -> CheckpointWriter:
        """The checkpoint being written. Raises UsageError if there is none."""
        if self._writing is None:
            raise UsageError("no save is going on")
        return self._writing

    def abandon(self) -> None:
        """Leave nothing of a save that did not end."""
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.abandon()


class SealedReader(FileSystemReader):  # type: ignore[misc]  # torch is not there when types are checked
    """Reads a version that SealedWriter wrote; `ref` says which afterwards. Raises NotFound, PolicyDenied at the first reading."""

    def __init__(self, ref: str, *, purpose: str | None = None, project: str | None = None) -> None:
        super().__init__(ref)
        self._files, self._purpose = attached(project), purpose
        self.fs = _Version(self)
        self._look(ref)

    def _look(self, ref: str) -> None:
        self._view = view_of(self._files, ref)
        self.ref = self.path = f"{self._view.name}@{self._view.number}"

    def reset(self, checkpoint_id: Any = None) -> None:
        """Begin a load; a `checkpoint_id` is another reference."""
        super().reset()
        if checkpoint_id:
            self._look(str(checkpoint_id))

    def read_metadata(self, *_: Any, **__: Any) -> Any:
        """Return `.metadata`. Raises UsageError if it names classes that torch does not put there."""
        with self.stream(METADATA) as file:
            metadata = _MetadataUnpickler(file).load()
        if getattr(metadata, "storage_meta", None) is None:
            metadata.storage_meta = StorageMeta()
        metadata.storage_meta.load_id = self.load_id
        return metadata

    def read_data(self, plan: Any, planner: Any) -> Any:
        """Read tensors and objects; the latter are refused unless they are data."""
        return super().read_data(plan, _DataOnly(self._files.session, planner, self.ref))

    def _parts(self) -> frozenset[str]:
        """Return the versions that the checkpoint says belong to it: those of other ranks, which `latest_good` verifies too."""
        labels = self._files.session.ask(ShowVersion(self.ref)).labels
        return frozenset(label[1] for label in labels if label[0] == PART)

    def stream(self, member: str) -> Any:
        """Open a file of the version."""
        view = self._view
        if _SEPARATOR in member:
            ref, _, member = member.rpartition("/")
            if ref not in self._parts():
                hint = "its metadata was made by hand: do not load it"
                raise IntegrityError(f"{self.ref} takes tensors from {ref[:200]!r}, which is no part of it", hint=hint)
            view = view_of(self._files, ref)
        if member not in view.members:
            raise UsageError(f"{view.name}@{view.number} has no file {member!r}", hint="it was not written by a SealedWriter")
        return self._files.open(view, member, self._purpose)


def _moved(result: Any, ref: str) -> Any:
    place = dataclasses.replace(result.storage_data, relative_path=f"{ref}/{result.storage_data.relative_path}")
    return dataclasses.replace(result, storage_data=place)


class _DataOnly:
    """A load planner that gets objects which torch would unpickle freely only after they were read as data."""

    def __init__(self, session: Session, planner: Any, what: str) -> None:
        self._session, self._planner, self._what = session, planner, what

    def __getattr__(self, name: str) -> Any:
        return getattr(self._planner, name)

    def load_bytes(self, item: Any, value: io.BytesIO) -> None:
        load_data(self._session, value, self._what)
        value.seek(0)
        self._planner.load_bytes(item, value)


class _MetadataUnpickler(CarefulUnpickler):
    def find_class(self, module: str, name: str) -> Any:
        if name not in _KNOWN.get(module, ()):
            raise UsageError(f"the metadata names {module}.{name}", hint="reading it could run code; torch does not write that")
        return super().find_class(module, name)


class _Files(FileSystemBase):  # type: ignore[misc]  # torch is not there when types are checked
    """The members of a version, as torch asks for files in a folder."""

    def concat_path(self, path: Any, suffix: str) -> str:  # noqa: ARG002 - the version is the folder
        return suffix

    def init_path(self, path: Any) -> str:
        return str(path)

    def mkdir(self, path: Any) -> None:
        """A version needs no folder."""

    def exists(self, path: Any) -> bool:  # noqa: ARG002 - a new version is empty
        return False

    def rename(self, path: Any, new_path: Any) -> None:
        """Nothing has a temporary name: the version itself is not there until it is published."""

    def rm_file(self, path: Any) -> None:
        raise UsageError(f"{str(path)!r} cannot be removed", hint="versions never change")

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: Any) -> bool:
        return isinstance(checkpoint_id, str)


class _Draft(_Files):
    def __init__(self, writer: SealedWriter) -> None:
        self._writer = writer

    @contextmanager
    def create_stream(self, path: Any, mode: str) -> Iterator[Any]:
        if mode != "wb":
            raise UsageError(f"a checkpoint that is being written is not opened with {mode!r}")
        with self._writer.writing.open(str(path).removesuffix(_TEMPORARY)) as file:
            yield file


class _Version(_Files):
    def __init__(self, reader: SealedReader) -> None:
        self._reader = reader

    @contextmanager
    def create_stream(self, path: Any, mode: str) -> Iterator[Any]:
        if mode != "rb":
            raise UsageError("a version is only read")
        with cast("Any", self._reader.stream(str(path))) as file:
            yield file
