"""Where Parquet files lie, as Arrow's file systems: a local path, an fsspec URL, or a file system given with a path in it.

On a local disk a file and its wrapped keys get their final names once both are whole and synced, keys first, and never in place of
another file. Other stores make an object appear when it is finished; what a failed write leaves there is removed.
"""

from __future__ import annotations

import os
import secrets
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import fsspec
import pyarrow as pa
import pyarrow.fs as pafs
from fsspec.core import url_to_fs

from hermetic.errors import Conflict, IntegrityError, NotFound, StorageError, UsageError
from hermetic.integrations.decrypting import DecryptingFileSystem
from hermetic.integrations.parquet.material import PREFIX, beside
from hermetic.stores.durable import sync_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

ENCRYPTED = b"PARE"  # at both ends of a file with an encrypted footer


@dataclass(frozen=True, slots=True)
class Place:
    """A path on an Arrow file system. `sealed`: it is hermetic:// or sealed::, whose versions never change."""

    fs: Any
    path: str
    sealed: bool = False

    @property
    def local(self) -> bool:
        """Whether it is a path of this machine."""
        return isinstance(self.fs, pafs.LocalFileSystem)

    def kind(self, path: str | None = None) -> Any:
        """Return Arrow's FileType of the path, or of another one there."""
        return self.fs.get_file_info(self.path if path is None else path).type

    def required(self) -> Any:
        """Return the file system as one that opens encrypted Parquet files only."""
        return pafs.PyFileSystem(_EncryptedOnly(self.fs))


def place_of(where: str | os.PathLike[str], filesystem: Any = None, purpose: Any = None) -> Place:
    """Return where `where` is: on `filesystem` (Arrow's or fsspec's), by URL, else on the local disk."""
    text = os.fspath(where)
    if not isinstance(text, str):
        raise UsageError("a path is text")
    if filesystem is None and "://" not in text and "::" not in text:
        return Place(pafs.LocalFileSystem(), str(Path(text).absolute()))
    if filesystem is None:
        filesystem, text = url_to_fs(text, **_options(text, purpose))
    if isinstance(filesystem, pafs.FileSystem):
        return Place(filesystem, text)
    if not isinstance(filesystem, fsspec.AbstractFileSystem):
        raise UsageError(f"{type(filesystem).__name__} is no file system", hint="give one of fsspec or of pyarrow.fs")
    path = filesystem._strip_protocol(text)  # noqa: SLF001 - fsspec's own way
    if "file" in _protocols(filesystem):
        return Place(pafs.LocalFileSystem(), str(path))
    return Place(pafs.PyFileSystem(pafs.FSSpecHandler(filesystem)), path, isinstance(filesystem, DecryptingFileSystem))


def _options(url: str, purpose: Any) -> dict[str, Any]:
    """Return what a URL of ours is opened with: the purpose that the column keys are asked for too."""
    if purpose is None or not url.startswith(("hermetic://", "sealed::")):
        return {}
    said = {"purpose": str(purpose)}
    return said if url.startswith("hermetic://") else {"sealed": said}


def _protocols(filesystem: Any) -> tuple[str, ...]:
    return (filesystem.protocol,) if isinstance(filesystem.protocol, str) else tuple(filesystem.protocol)


@contextmanager
def new_file(place: Place) -> Iterator[str]:
    """Lend a path to write a new file to, and its wrapped keys beside; they get their names at clean exit. Raises Conflict."""
    _refuse_existing(place, place.path, beside(place.path))
    if not place.local:
        with _removed_on_error(place, (place.path, beside(place.path))):
            yield place.path
        return
    final = Path(place.path)
    draft = final.with_name(f".{secrets.token_hex(8)}.{final.name}")
    pairs = [(Path(beside(str(draft))), Path(beside(str(final)))), (draft, final)]
    try:
        yield str(draft)
        for made, name in pairs:
            _link(made, name)
        sync_folder(final.parent)
    except OSError as error:
        raise _storage_error(place.path, error) from error
    finally:
        for made, _ in pairs:
            made.unlink(missing_ok=True)


@contextmanager
def new_folder(place: Place) -> Iterator[str]:
    """Lend a path of a folder to fill; on a local disk it gets its name at clean exit. Raises Conflict if it is there already."""
    _refuse_existing(place, place.path)
    if not place.local:
        yield place.path
        return
    final = Path(place.path)
    draft = final.with_name(f".{secrets.token_hex(8)}.{final.name}")
    try:
        yield str(draft)
        for folder, _, names in os.walk(draft):
            for name in names:
                _sync(Path(folder, name))
            sync_folder(Path(folder))
        draft.rename(final)  # refused by the system if a folder with something in it has come there meanwhile
        sync_folder(final.parent)
    except OSError as error:
        raise _storage_error(place.path, error) from error
    finally:
        _remove_folder(draft)


def replace(place: Place, path: str, content: bytes) -> None:
    """Put other content in place of a file, in one step. Raises StorageError."""
    try:
        if not place.local:
            with place.fs.open_output_stream(path) as stream:
                stream.write(content)
            return
        final = Path(path)
        draft = final.with_name(f".{secrets.token_hex(8)}.{final.name}")
        try:
            draft.write_bytes(content)
            _sync(draft)
            draft.replace(final)
        finally:
            draft.unlink(missing_ok=True)
        sync_folder(final.parent)
    except OSError as error:
        raise _storage_error(path, error) from error


def read(place: Place, path: str, limit: int) -> bytes:
    """Return a whole small file. Raises NotFound, StorageError, UsageError over `limit` bytes."""
    try:
        with place.fs.open_input_file(path) as file:
            if file.size() > limit:
                raise UsageError(f"{path} has more than {limit} bytes")
            return bytes(file.read())
    except FileNotFoundError:
        raise NotFound(f"there is no {path}", hint="wrapped keys lie beside their file, and are copied with it") from None
    except OSError as error:
        raise _storage_error(path, error) from error


class _EncryptedOnly(pafs.FileSystemHandler):  # type: ignore[misc]  # pyarrow has no types
    """Reads only, and of Parquet files only those with an encrypted footer: Arrow itself takes plain ones without a word."""

    def __init__(self, inner: Any) -> None:
        super().__init__()
        self._inner = inner

    def get_type_name(self) -> str:
        return "encrypted-parquet"

    def normalize_path(self, path: str) -> str:
        return str(self._inner.normalize_path(path))

    def get_file_info(self, paths: list[str]) -> Any:
        return self._inner.get_file_info(paths)

    def get_file_info_selector(self, selector: Any) -> Any:
        return self._inner.get_file_info(selector)

    def open_input_stream(self, path: str) -> Any:
        return self._inner.open_input_stream(path)

    def open_input_file(self, path: str) -> Any:
        file = self._inner.open_input_file(path)
        if not path.rpartition("/")[2].startswith(PREFIX):
            _check_encrypted(file, path)
        return file

    def _refused(self, *_: object) -> NoReturn:
        raise UsageError("this file system is for reading")

    create_dir = delete_dir = delete_dir_contents = delete_root_dir_contents = delete_file = _refused
    move = copy_file = open_output_stream = open_append_stream = _refused


def _check_encrypted(file: Any, path: str) -> None:
    size = file.size()
    head = file.read(len(ENCRYPTED))
    file.seek(max(0, size - len(ENCRYPTED)))
    tail = file.read(len(ENCRYPTED))
    file.seek(0)
    if not head == tail == ENCRYPTED:
        raise IntegrityError(
            f"{path} is no encrypted Parquet file",
            hint="somebody may have put a plain one in its place; what is meant to be plain is read with pyarrow itself",
        )


def _refuse_existing(place: Place, *paths: str) -> None:
    for path in () if place.sealed else paths:  # there, writing makes the next version
        if place.kind(path) != pafs.FileType.NotFound:
            raise Conflict(f"{path} exists", hint="nothing is overwritten: take another name, or remove it with its wrapped keys")


@contextmanager
def _removed_on_error(place: Place, paths: tuple[str, ...]) -> Iterator[None]:
    try:
        yield
    except BaseException:
        for path in () if place.sealed else paths:
            with suppress(OSError, pa.ArrowException):
                place.fs.delete_file(path)
        raise


def _link(made: Path, name: Path) -> None:
    """Give a finished file its name, which nobody else has."""
    if not made.exists():  # keys that are inside the file
        return
    _sync(made)
    try:
        os.link(made, name)
    except FileExistsError:
        raise Conflict(f"{name} was made by somebody else meanwhile", hint="take another name") from None


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove_folder(folder: Path) -> None:
    for root, folders, names in os.walk(folder, topdown=False):
        for name in names:
            Path(root, name).unlink(missing_ok=True)
        for name in folders:
            Path(root, name).rmdir()
    with suppress(FileNotFoundError):
        folder.rmdir()


def _storage_error(path: str, error: OSError) -> StorageError:
    return StorageError(f"{path} cannot be written or read: {error.strerror or error}")
