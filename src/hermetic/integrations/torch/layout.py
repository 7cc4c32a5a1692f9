"""What one record is: bytes of a fixed number, and how a block of them becomes tensors."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from hermetic.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Field:
    """A part of a record: `offset` and `size` in bytes."""

    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class RecordLayout:
    """A record of `size` bytes. With one field of no name it is a tensor, else a dict of tensors."""

    size: int
    fields: tuple[Field, ...]

    @classmethod
    def of(cls, dtype: Any, shape: Sequence[int]) -> RecordLayout:
        """Make a layout of a torch dtype, a numpy dtype or its name, or a structured numpy dtype. Raises UsageError."""
        if isinstance(dtype, torch.dtype):
            size = dtype.itemsize * math.prod(shape)
            return cls(_positive(size), (Field("", dtype, tuple(shape), 0, size),))
        try:
            kind = np.dtype(dtype)
        except TypeError:
            raise UsageError(f"{dtype!r} is no dtype", hint="give one of torch's or numpy's") from None
        if kind.names is None:
            return cls.of(_torch_dtype(kind), shape)
        if tuple(shape):
            raise UsageError("a structured dtype says the shape of its fields itself", hint="leave out shape=")
        return cls(_positive(kind.itemsize), tuple(_field(name, kind) for name in kind.names))

    def tensors(self, raw: torch.Tensor) -> Any:
        """Return rows of bytes as what they mean; no copy unless a field lies at an odd place."""
        if len(self.fields) == 1 and not self.fields[0].name:
            return _typed(raw, self.fields[0])
        return {field.name: _typed(raw, field) for field in self.fields}


def _typed(raw: torch.Tensor, field: Field) -> torch.Tensor:
    part = raw[..., field.offset : field.offset + field.size]
    if field.offset % field.dtype.itemsize or raw.shape[-1] % field.dtype.itemsize:
        part = part.clone(memory_format=torch.contiguous_format)
    return part.view(field.dtype).view(*raw.shape[:-1], *field.shape)


def _field(name: str, kind: np.dtype[Any]) -> Field:
    inner, offset = kind.fields[name][:2]  # type: ignore[index]  # a structured dtype has fields
    base, shape = inner.subdtype or (inner, ())
    return Field(name, _torch_dtype(base), tuple(shape), offset, inner.itemsize)


def _torch_dtype(kind: np.dtype[Any]) -> torch.dtype:
    try:
        return torch.from_numpy(np.empty(0, kind)).dtype
    except (TypeError, ValueError):
        raise UsageError(f"torch has no {kind} in this machine's byte order", hint="store numbers as little-endian") from None


def _positive(size: int) -> int:
    if size <= 0:
        raise UsageError("a record has at least one byte")
    return size
