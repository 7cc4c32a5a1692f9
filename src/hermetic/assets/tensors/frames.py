"""torch and numpy as makers of tensors over memory that already holds their bytes, without a copy.

Dtypes are those of safetensors (`formats.safetensors.BITS`). numpy has BF16 and the 8-bit floats through `ml_dtypes` if it is
installed. The 6-bit floats have no dtype in either, nor F4 in numpy, which has no packed pairs: they are refused by name.
"""

from __future__ import annotations

import importlib
import math
from typing import TYPE_CHECKING, Any, Protocol

from hermetic.errors import Unsupported, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from mmap import mmap
    from types import ModuleType

    from hermetic.formats.safetensors import TensorPlace

_NUMPY = {
    "BOOL": "bool", "U8": "uint8", "I8": "int8", "I16": "int16", "U16": "uint16", "F16": "float16", "I32": "int32", "U32": "uint32",
    "F32": "float32", "C64": "complex64", "F64": "float64", "I64": "int64", "U64": "uint64",
}  # fmt: skip
_ML_DTYPES = {
    "BF16": "bfloat16", "F8_E5M2": "float8_e5m2", "F8_E4M3": "float8_e4m3fn", "F8_E8M0": "float8_e8m0fnu",
    "F8_E4M3FNUZ": "float8_e4m3fnuz", "F8_E5M2FNUZ": "float8_e5m2fnuz",
}  # fmt: skip
_TORCH = _NUMPY | _ML_DTYPES | {"F4": "float4_e2m1fn_x2"}
_PAIRS = "F4"  # two elements a byte: torch counts bytes
_ONES = 0xFF


class Frame(Protocol):
    """A library of tensors."""

    def over(self, memory: mmap, offset: int, place: TensorPlace) -> Any:
        """Return a tensor of the place's dtype and shape over `memory` from `offset` on, which it keeps alive."""

    def empty(self, place: TensorPlace, dtype: Any, device: Any) -> Any:
        """Return a tensor of the place's shape to be filled; `dtype` None means its own."""

    def fill(self, target: Any, source: Any) -> None:
        """Copy `source` into `target` of the same shape, converting dtype and moving between devices."""

    def overwrite(self, tensor: Any) -> None:
        """Set every bit of the memory that a tensor stands on."""

    def described(self, tensor: Any) -> tuple[str, tuple[int, ...]]:
        """Return (dtype, shape in elements). Raises UsageError for what safetensors cannot hold."""

    def raw(self, tensor: Any) -> Any:
        """Return a buffer of its bytes, row by row and little-endian; its own memory where that is so laid out already."""


def frame(name: str) -> Frame:
    """Return the frame called `torch` or `numpy`. Raises Unsupported if it is not installed, UsageError for another name."""
    if name == "torch":
        return TorchFrame(_installed("torch", "torch"))
    if name == "numpy":
        return NumpyFrame(_installed("numpy", "numpy"))
    raise UsageError(f"framework {str(name)[:40]!r} is not one of torch, numpy")


def frame_of(tensor: object, key: str = "") -> Frame:
    """Return the frame that a tensor belongs to. Raises UsageError for anything else, which says under which `key` it stood."""
    name = type(tensor).__module__.partition(".")[0]
    if name == "numpy":
        return frame("numpy")
    if name == "torch" or any(base.__module__.partition(".")[0] == "torch" for base in type(tensor).__mro__):
        return frame("torch")
    raise UsageError(
        (f"{key[:200]!r} holds " if key else "this is ") + f"no tensor of torch or numpy but a value of type {type(tensor).__name__}",
        hint="give one flat dict of names to tensors, such as model.state_dict(); "
        "for nested states and plain values hermetic.integrations.torch.save, and labels= for a few words",
    )


def _installed(module: str, extra: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise Unsupported(f"{module} is not installed", hint=f"pip install '.[{extra}]'") from error


def _unknown(place: TensorPlace, library: str) -> Unsupported:
    return Unsupported(f"{library} has no dtype for {place.dtype}, that of {place.name[:200]!r}", hint="leave it out by names=[…]")


def _empty(make: Callable[..., Any], place: TensorPlace, shape: tuple[int, ...], dtype: Any) -> Any:
    """Return a tensor without elements. Raises UsageError for a place that has some, Unsupported for a shape beyond the library's."""
    if math.prod(place.shape):
        raise UsageError(f"{place.name[:200]!r} has elements, and no bytes to take them from")
    try:
        return make(shape, dtype=dtype)
    except (ValueError, RuntimeError, OverflowError, TypeError):
        raise Unsupported(
            f"{place.name[:200]!r} is empty, of a shape that the library cannot hold", hint="leave it out by names=[…]"
        ) from None


class NumpyFrame:
    """See Frame. Arrays live in main memory only."""

    def __init__(self, numpy: ModuleType) -> None:
        self._numpy = numpy

    def _dtype(self, place: TensorPlace) -> Any:
        if place.dtype in _NUMPY:
            return self._numpy.dtype(_NUMPY[place.dtype])
        if place.dtype not in _ML_DTYPES:
            raise _unknown(place, "numpy")
        try:
            return self._numpy.dtype(getattr(importlib.import_module("ml_dtypes"), _ML_DTYPES[place.dtype]))
        except ImportError as error:
            raise Unsupported(
                f"numpy has {place.dtype} with ml_dtypes only", hint="pip install ml_dtypes, or load into torch"
            ) from error

    def over(self, memory: mmap, offset: int, place: TensorPlace) -> Any:
        """See Frame."""
        dtype = self._dtype(place)
        if place.nbytes == 0:
            return _empty(self._numpy.zeros, place, place.shape, dtype)
        flat = self._numpy.frombuffer(memory, dtype, place.nbytes // dtype.itemsize, offset)
        return self._numpy.require(flat, requirements="A").reshape(place.shape)

    def empty(self, place: TensorPlace, dtype: Any, device: Any) -> Any:
        """See Frame. Raises UsageError for a device."""
        if str(device) != "cpu":
            raise UsageError("numpy arrays live on the cpu", hint="leave out device=, or load into torch")
        return self._numpy.empty(place.shape, self._dtype(place) if dtype is None else dtype)

    def fill(self, target: Any, source: Any) -> None:
        """See Frame."""
        target[...] = source

    def overwrite(self, tensor: Any) -> None:
        """See Frame."""
        if tensor.size:
            tensor.reshape(-1).view("uint8")[...] = _ONES

    def described(self, tensor: Any) -> tuple[str, tuple[int, ...]]:
        """See Frame."""
        known = {word: name for name, word in (_NUMPY | _ML_DTYPES).items()}
        if tensor.dtype.name not in known:
            raise UsageError(f"safetensors has no dtype for numpy's {tensor.dtype.name}")
        return known[tensor.dtype.name], tensor.shape

    def raw(self, tensor: Any) -> Any:
        """See Frame."""
        plain = self._numpy.ascontiguousarray(tensor, dtype=tensor.dtype.newbyteorder("<"))
        return plain.reshape(-1).view("uint8")


class TorchFrame:
    """See Frame."""

    def __init__(self, torch: ModuleType) -> None:
        self._torch = torch

    def _dtype(self, place: TensorPlace) -> Any:
        found = getattr(self._torch, _TORCH.get(place.dtype, ""), None)
        if found is None:
            raise _unknown(place, "torch")
        return found

    def _shape(self, place: TensorPlace) -> tuple[int, ...]:
        if place.dtype != _PAIRS:
            return place.shape
        if not place.shape or place.shape[-1] % 2:
            raise Unsupported(f"torch holds F4 in pairs, and the last dimension of {place.name[:200]!r} is odd")
        return (*place.shape[:-1], place.shape[-1] // 2)

    def over(self, memory: mmap, offset: int, place: TensorPlace) -> Any:
        """See Frame."""
        torch, dtype, shape = self._torch, self._dtype(place), self._shape(place)
        if place.nbytes == 0:
            return _empty(torch.empty, place, shape, dtype)  # zeros knows no packed dtype
        if offset % dtype.itemsize:  # written by somebody who does not align; torch computes on aligned memory only
            flat = torch.frombuffer(memory, dtype=torch.uint8, count=place.nbytes, offset=offset).clone().view(dtype)
        else:
            flat = torch.frombuffer(memory, dtype=dtype, count=place.nbytes // dtype.itemsize, offset=offset)
        return flat.reshape(shape)

    def empty(self, place: TensorPlace, dtype: Any, device: Any) -> Any:
        """See Frame."""
        return self._torch.empty(self._shape(place), dtype=self._dtype(place) if dtype is None else dtype, device=device)

    def fill(self, target: Any, source: Any) -> None:
        """See Frame."""
        target.copy_(source)

    def overwrite(self, tensor: Any) -> None:
        """See Frame."""
        if tensor.numel():
            tensor.untyped_storage().fill_(_ONES)

    def described(self, tensor: Any) -> tuple[str, tuple[int, ...]]:
        """See Frame."""
        torch = self._torch
        known = {getattr(torch, word): name for name, word in _TORCH.items() if hasattr(torch, word)}
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.dtype not in known or tensor.device.type == "meta":
            raise UsageError(f"safetensors holds dense tensors, not {tensor.layout} of {tensor.dtype} on {tensor.device}")
        name, shape = known[tensor.dtype], tuple(tensor.shape)
        return name, (*shape[:-1], shape[-1] * 2) if name == _PAIRS else shape

    def raw(self, tensor: Any) -> Any:
        """See Frame."""
        plain = tensor.detach().resolve_conj().resolve_neg().cpu().contiguous().reshape(-1)
        return plain.view(self._torch.uint8).numpy()
