"""MLflow's artifact repository over `sealed::`: see the package's text.

Errors are ours, also where MLflow's own repositories wrap what happened into another: who catches IntegrityError must meet it. MLflow
itself swallows refusals in two places (`runs:/` downloads, automatic logging), so that each is logged as a warning too.

MLflow imports this while it is imported itself. With a version that lacks something this fails as an ImportError, which MLflow tells
as a warning, and knows none of our schemes then.
"""

from __future__ import annotations

import io
import json
import logging
import os
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, BinaryIO

from fsspec import filesystem
from mlflow.entities import FileInfo
from mlflow.store.artifact.artifact_repo import ArtifactRepository
from mlflow.tracing.utils.artifact_utils import TRACE_DATA_FILE_NAME

from hermetic.assets.inputs import InputFile, collect, open_input
from hermetic.errors import Conflict, HermeticError, StorageError
from hermetic.integrations.listing import MissingFile
from hermetic.integrations.mlflow import memory
from hermetic.integrations.mlflow.locations import Root
from hermetic.integrations.sealed_filesystem import SealedFileSystem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_PIECE = 4 * 1024 * 1024  # bytes
_ENDPOINT = "MLFLOW_S3_ENDPOINT_URL"  # MLflow's own setting for s3://
_log = logging.getLogger("hermetic.mlflow")


class SealedArtifactRepository(ArtifactRepository):  # type: ignore[misc]  # MLflow is not there when types are checked
    """See the module's text."""

    def __init__(self, artifact_uri: str, tracking_uri: str | None = None, registry_uri: str | None = None) -> None:
        super().__init__(artifact_uri, tracking_uri, registry_uri)
        self._root = Root.parse(str(artifact_uri))

    def _files(self) -> SealedFileSystem:
        found: SealedFileSystem = filesystem(
            SealedFileSystem.protocol, target_protocol=self._root.protocol, target_options=self._options()
        )
        _ = found.attached  # a domain that is not there raises NotFound here; later that would look like an empty folder
        return found

    def _options(self) -> dict[str, Any]:
        endpoint = os.environ.get(_ENDPOINT)
        return {"endpoint_url": endpoint} if self._root.protocol == "s3" and endpoint else {}

    # logging

    def log_artifact(self, local_file: Any, artifact_path: str | None = None) -> None:
        """Seal a file under its own name below `artifact_path`."""
        self._log_inputs(Path(local_file), artifact_path)

    def log_artifacts(self, local_dir: Any, artifact_path: str | None = None) -> None:
        """Seal the files of a folder below `artifact_path`, in one transaction."""
        folder = Path(local_dir)
        if not folder.is_dir() or any(folder.iterdir()):
            self._log_inputs(folder, artifact_path)

    def _log_inputs(self, path: Path, artifact_path: str | None) -> None:
        with _told():
            memory.refuse_made_on_disk(path)
            found = collect(path)
            self._seal(artifact_path, {file.member: _opener(file) for file in found.files})

    def _log_bytes(self, name: str, content: bytes) -> None:
        with _told():
            self._seal(None, {name: lambda: io.BytesIO(content)})

    def _seal(self, folder: str | None, sources: dict[str, Callable[[], Any]]) -> None:
        base = self._root.at(folder)
        files = SealedFileSystem(  # a transaction belongs to its instance, and MLflow logs from several threads
            target_protocol=self._root.protocol, target_options=self._options(), skip_instance_cache=True
        )
        with files.transaction:
            for name, opened in sources.items():
                with opened() as source, files.open(f"{base}/{name}", "wb") as target:
                    _copy(source, target)

    # looking

    def list_artifacts(self, path: str | None = None) -> list[Any]:
        """Return what lies directly in a folder; nothing for a file, and for a folder that is not there."""
        with _told():
            files, folder = self._files(), self._root.at(path)
            if not files.isdir(folder):
                return []
            entries = files.ls(folder, detail=True)
        return [self._described(entry) for entry in entries]

    def _described(self, entry: dict[str, Any]) -> Any:
        is_folder = entry["type"] == "directory"
        return FileInfo(self._root.name_of(entry["name"]), is_folder, None if is_folder else entry["size"])

    # downloading

    def download_artifacts(self, artifact_path: str | None, dst_path: str | None = None) -> str:
        """Return the path of a copy in memory of a file or folder; below `dst_path` if that is in memory.

        Raises UsageError if it is on a disk, NotFound, IntegrityError, PolicyDenied.
        """
        with _told():
            source = self._root.at(artifact_path)
            if dst_path:
                memory.refuse_on_disk(Path(dst_path))
            files = self._files()
            found = files.find(source)
            if not found and source != self._root.path:
                raise MissingFile(f"there is no artifact {artifact_path!r}", hint="`mlflow artifacts list` shows what there is")
            target = Path(dst_path).absolute() if dst_path else Path(memory.new_folder())
            for path in found:
                self._fetch(files, path, target / self._root.name_of(path))
        return str(target / PurePosixPath(artifact_path or "."))

    def _download_file(self, remote_file_path: str, local_path: Any) -> None:
        with _told():
            memory.refuse_on_disk(Path(local_path))
            self._fetch(self._files(), self._root.at(remote_file_path), Path(local_path))

    @staticmethod
    def _fetch(files: SealedFileSystem, path: str, target: Path) -> None:
        with _whole(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            files.get_file(path, str(target))

    # removing

    def delete_artifacts(self, artifact_path: str | None = None) -> None:
        """Remove a file, a folder, or everything; nothing that is not there. The catalogue keeps the versions."""
        with _told():
            files, target = self._files(), self._root.at(artifact_path)
            if files.exists(target):
                files.rm(target, recursive=True)

    # traces, which MLflow would take through files of its own

    def upload_trace_data(self, trace_data: str) -> None:
        """Seal the spans of a trace."""
        self._log_bytes(TRACE_DATA_FILE_NAME, trace_data.encode())

    def upload_attachment(self, attachment_id: str, content_bytes: bytes) -> None:
        """Seal what is attached to a trace."""
        self._log_bytes(f"attachments/{attachment_id}", content_bytes)

    def upload_archived_trace_data_bytes(self, data: bytes) -> None:
        """Seal an archived trace."""
        from mlflow.tracing.otel.otel_archival import TRACE_ARCHIVAL_FILENAME  # noqa: PLC0415 - heavy, and rarely needed

        self._log_bytes(TRACE_ARCHIVAL_FILENAME, data)

    def download_archived_trace_data(self) -> Any:
        """Return an archived trace; one without spans if there is none."""
        from mlflow.entities.trace_data import TraceData  # noqa: PLC0415 - heavy, and rarely needed
        from mlflow.tracing.otel.otel_archival import TRACE_ARCHIVAL_FILENAME, traces_data_pb_to_spans  # noqa: PLC0415

        try:
            return TraceData(spans=traces_data_pb_to_spans(self._read(TRACE_ARCHIVAL_FILENAME)))
        except MissingFile:
            return TraceData(spans=[])

    def download_trace_data(self) -> dict[str, Any]:
        """Return the spans of a trace."""
        found: dict[str, Any] = json.loads(self._read(TRACE_DATA_FILE_NAME))
        return found

    def download_trace_attachment(self, path: str) -> bytes:
        """Return what is attached to a trace."""
        return self._read(f"attachments/{path}")

    def _read(self, name: str) -> bytes:
        with _told():
            return bytes(self._files().cat_file(self._root.at(name)))


def _opener(file: InputFile) -> Callable[[], Any]:
    return lambda: _Input(file)


class _Input(io.FileIO):
    """A file to seal, which must still be the one that was looked at when it has been read."""

    def __init__(self, file: InputFile) -> None:
        super().__init__(open_input(file), "rb")
        self._file = file

    def close(self) -> None:
        """Raise Conflict if it has changed meanwhile."""
        if self.closed:
            return
        status = os.fstat(self.fileno())
        super().close()
        if (status.st_size, status.st_mtime_ns) != (self._file.length, self._file.modified_ns):
            raise Conflict(
                f"{str(self._file.path)!r} changed while it was being sealed", hint="stop whatever writes to it, then log it again"
            )


def _copy(source: BinaryIO, target: BinaryIO) -> None:
    while piece := source.read(_PIECE):
        target.write(piece)


@contextmanager
def _whole(target: Path) -> Iterator[None]:
    """Leave nothing of a file that could not be written whole: a verified beginning is not the file."""
    try:
        yield
    except BaseException as error:
        with suppress(OSError):
            target.unlink()
        if isinstance(error, OSError) and not isinstance(error, HermeticError):
            hint = "memory for files is what `df /dev/shm` shows; read parts with sealed::, or use `hermetic expose`"
            raise StorageError(f"{target.name!r} could not be written: {error.strerror}", hint=hint) from error
        raise


@contextmanager
def _told() -> Iterator[None]:
    """Log a refusal that leaves the block: MLflow may swallow it."""
    try:
        yield
    except HermeticError as error:
        _log.warning("%s%s", error.message, f" (hint: {error.hint})" if error.hint else "")
        raise
