"""The works of safetensors files, where torch and safetensors are there. Both sides touch every page: a map alone loads nothing.

tensors  all tensors into torch on the CPU, release included         plain: safetensors' `load_file`
tensor   the one nearest to 16 MiB, opened for that                  plain: safetensors' `safe_open`
"""

from __future__ import annotations

import importlib
import importlib.util
from typing import TYPE_CHECKING, Any

from hermetic.bench.measuring import Work
from hermetic.bench.shape import MIB, SAFETENSORS
from hermetic.errors import UsageError
from hermetic.formats.safetensors import LENGTH_BYTES, head_length, parse_head
from hermetic.ids import Purpose

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from hermetic.assets.workspace import Workspace

SUFFIX = SAFETENSORS
_WANTED, _PAGE = 16 * MIB, 4096


def available() -> bool:
    """Whether there is what loads tensors."""
    return all(importlib.util.find_spec(name) is not None for name in ("torch", "safetensors"))


def load(workspace: Workspace, ref: str, files: Sequence[Path]) -> tuple[Work, Work]:
    """Return both sides of loading all tensors."""
    plain: Any = importlib.import_module("safetensors.torch")

    def sealed_side() -> None:
        _touch(workspace.load_tensors(ref, purpose=Purpose.SERVE))

    def plain_side() -> None:
        for file in files:
            _touch(plain.load_file(file))

    return Work(sealed_side), Work(plain_side)


def load_one(workspace: Workspace, ref: str, files: Sequence[Path]) -> tuple[Work, Work]:
    """Return both sides of loading one tensor. Raises UsageError for files without any, FormatError."""
    plain: Any = importlib.import_module("safetensors")
    file, name = _nearest(files)

    def sealed_side() -> None:
        _touch(workspace.load_tensors(ref, names=[name], purpose=Purpose.SERVE))

    def plain_side() -> None:
        with plain.safe_open(file, framework="pt") as opened:
            _touch({name: opened.get_tensor(name)})

    return Work(sealed_side), Work(plain_side)


def size_of_one(files: Sequence[Path]) -> int:
    """Return the bytes of the tensor that `load_one` loads."""
    file, name = _nearest(files)
    place = _places(file)[name]
    return place[1] - place[0]


def _nearest(files: Sequence[Path]) -> tuple[Path, str]:
    found = [
        (abs(end - begin - _WANTED), number, name)
        for number, file in enumerate(files)
        for name, (begin, end) in _places(file).items()
        if end > begin
    ]
    if not found:
        raise UsageError("these safetensors files hold no tensors", hint="leave out tensors and tensor with --only")
    _, number, name = min(found)
    return files[number], name


def _places(file: Path) -> dict[str, tuple[int, int]]:
    length = file.stat().st_size
    with file.open("rb") as opened:
        first = opened.read(LENGTH_BYTES)
        raw = first + opened.read(head_length(first, length) - LENGTH_BYTES)
    return {name: (place.begin, place.end) for name, place in parse_head(raw, length).tensors.items()}


def _touch(tensors: Mapping[str, Any]) -> None:
    """Read a byte of every page."""
    torch: Any = importlib.import_module("torch")
    for tensor in tensors.values():
        if tensor.numel():
            tensor.contiguous().reshape(-1).view(torch.uint8)[::_PAGE].sum().item()
