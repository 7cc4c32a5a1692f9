"""Tensors one by one, or a part of one, while the version stays open: only the segments that hold it are read."""

from __future__ import annotations

import dataclasses
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Self

from hermetic.assets.releases import release, split_member
from hermetic.assets.tensors.frames import frame
from hermetic.assets.tensors.loading import Form, load_chosen
from hermetic.assets.tensors.weights import weights_of
from hermetic.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from hermetic.assets.session import Session
    from hermetic.assets.tensors.frames import Frame
    from hermetic.assets.tensors.weights import Shard
    from hermetic.formats.messages.base import Approval
    from hermetic.formats.safetensors import TensorPlace
    from hermetic.ids import Purpose


class TensorFile:
    """The tensors of one open version. Ends its lease when left, or by `close`; tensors that were loaded stay."""

    def __init__(
        self,
        session: Session,
        ref: str,
        form: Form,
        *,
        member: str | None = None,
        purpose: Purpose | str | None = None,
        run: str | None = None,
        approvals: tuple[Approval, ...] = (),
    ) -> None:
        self._maker, self._form = frame(form.framework), form
        bare, chosen = split_member(ref, member)
        with ExitStack() as stack:
            (version,) = release(session, (bare,), purpose=purpose, run=run, approvals=approvals)
            stack.enter_context(version)
            self._weights = weights_of(version, chosen)
            stack.enter_context(self._weights.stack)
            self._stack = stack.pop_all()

    @property
    def names(self) -> tuple[str, ...]:
        """The tensors, in order of place."""
        return tuple(self._weights.places)

    @property
    def metadata(self) -> Mapping[str, str]:
        """What `__metadata__` of the files says."""
        return self._weights.metadata

    def tensor(self, name: str) -> Any:
        """Load one tensor. Raises NotFound, and what reads raise."""
        return load_chosen(self._maker, {name: self._weights.place(name)}, self._form)[name]

    def part(self, name: str) -> TensorPart:
        """Return a tensor that is not loaded: `part(name)[10:20]` reads rows 10 to 19 only. Raises NotFound."""
        shard, place = self._weights.place(name)
        return TensorPart(self._maker, shard, place, self._form)

    def close(self) -> None:
        """Close the files and give the lease back."""
        self._stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


class TensorPart:
    """A tensor that is read when it is indexed: by rows of its first dimension, then in memory by the rest of the index."""

    def __init__(self, maker: Frame, shard: Shard, place: TensorPlace, form: Form) -> None:
        self._maker, self._shard, self._place, self._form = maker, shard, place, form

    @property
    def shape(self) -> tuple[int, ...]:
        """The whole tensor's shape, in elements."""
        return self._place.shape

    @property
    def dtype(self) -> str:
        """The dtype as safetensors calls it."""
        return self._place.dtype

    def __getitem__(self, index: Any) -> Any:
        """Read what `index` selects; its first item is an integer, a slice with a positive step, or an ellipsis."""
        first, rest = (index[0], index[1:]) if isinstance(index, tuple) and index else (index, ())
        if first is Ellipsis or index == ():
            return self._rows(0, None)[index]
        if isinstance(first, int):
            count = self._count()
            if not -count <= first < count:
                raise IndexError(f"row {first} of {count}")
            return self._rows(first % count, first % count + 1)[(0, *rest)]
        if not isinstance(first, slice):
            raise UsageError("rows are chosen by an integer or a slice", hint="load the tensor, then index it")
        start, stop, step = first.indices(self._count())
        if step < 1:
            raise UsageError("the step of a slice of rows is positive", hint="load the tensor, then index it")
        return self._rows(start, max(start, stop))[(slice(None, None, step), *rest)]

    def _count(self) -> int:
        if not self._place.shape:
            raise IndexError("a tensor without dimensions has no rows")
        return self._place.shape[0]

    def _rows(self, first: int, last: int | None) -> Any:
        place = self._place
        if last is not None:
            row, rest = divmod(place.nbytes, max(1, place.shape[0]))
            if rest:
                raise UsageError(f"a row of {place.name[:200]!r} is no whole number of bytes", hint="load the tensor, then index it")
            begin = place.begin + first * row
            place = dataclasses.replace(place, shape=(last - first, *place.shape[1:]), begin=begin, end=begin + (last - first) * row)
        return load_chosen(self._maker, {place.name: (self._shard, place)}, self._form)[place.name]
