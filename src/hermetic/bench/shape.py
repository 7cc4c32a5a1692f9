"""What is measured: files that are there, or synthetic ones of given sizes with random content, which nothing shrinks."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hermetic.assets.inputs import collect
from hermetic.errors import NotFound, StorageError, UsageError
from hermetic.stores.base import hint_for

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

MIB = 1024 * 1024
DEFAULT_SIZE = 256 * MIB
DEFAULT_SHARDS = 4
SAFETENSORS = ".safetensors"


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes in bytes of what is measured; `source` is where it lies if it is the user's own, which is only read."""

    label: str
    sizes: tuple[int, ...]
    source: Path | None = None

    @property
    def has_tensors(self) -> bool:
        """Whether it is a safetensors file, or a folder with some."""
        return bool(self.tensor_files())

    def tensor_files(self) -> tuple[Path, ...]:
        """Return the safetensors files in it."""
        if self.source is None:
            return ()
        found = [self.source] if self.source.is_file() else sorted(self.source.glob(f"**/*{SAFETENSORS}"))
        return tuple(path for path in found if path.suffix == SAFETENSORS)

    @property
    def total(self) -> int:
        """Bytes of all files together."""
        return sum(self.sizes)


def of_path(path: Path) -> Shape:
    """Return the shape of a file or folder, links followed for what is named itself. Raises NotFound, UsageError, StorageError."""
    try:
        real = path.resolve(strict=True)
    except FileNotFoundError:
        raise NotFound(f"there is no file {str(path)!r}") from None
    except (OSError, RuntimeError) as error:
        raise StorageError(f"cannot look at {str(path)!r}: {error}") from error
    inputs = collect(real)
    if not inputs.length:
        raise UsageError(f"{str(path)!r} is empty: there is nothing to measure", hint="name a file that holds something")
    return Shape(path.name or str(path), tuple(file.length for file in inputs.files), real)


def of_sizes(label: str, sizes: Sequence[int], *, total: int | None = None) -> Shape:
    """Return a synthetic shape, scaled to `total` bytes if that is given. Raises UsageError for one without a byte."""
    have = sum(sizes)
    if not have:
        raise UsageError(f"{label} is empty: there is nothing to measure", hint="name an asset that holds something")
    if total is None:
        return Shape(label, tuple(sizes))
    return Shape(label, tuple(max(1, size * total // have) if size else 0 for size in sizes))


def default(total: int = DEFAULT_SIZE) -> Shape:
    """Return a synthetic shape of a few shards."""
    share, rest = divmod(total, DEFAULT_SHARDS)
    sizes = [share + (number < rest) for number in range(DEFAULT_SHARDS)]
    return Shape("synthetic", tuple(size for size in sizes if size))


def write(shape: Shape, folder: Path) -> Path:
    """Return where the files of a shape lie: its source, or random ones written into `folder`. Raises StorageError."""
    if shape.source is not None:
        return shape.source
    try:
        folder.mkdir(mode=0o700)
        for number, size in enumerate(shape.sizes):
            _random_file(folder / f"{number:06d}.bin", size)
    except OSError as error:
        raise StorageError(f"cannot write {folder}: {(error.strerror or str(error)).lower()}", hint=hint_for(error)) from error
    return folder


def _random_file(path: Path, size: int) -> None:
    """Every MiB differs in its first bytes, and the rest is random: cheap, and no two files nor parts are the same."""
    block = os.urandom(MIB)
    with path.open("xb") as file:
        for number in range(-(-size // MIB)):
            piece = os.urandom(32) + number.to_bytes(8, "big") + block[40:]
            file.write(piece[: min(MIB, size - number * MIB)])
