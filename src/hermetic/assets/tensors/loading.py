"""Load tensors whole: decrypted straight into the memory that the tensors then stand on.

    every tensor as it is, on the cpu     neighbours are read together into one private memory; tensors are views of it
    another dtype or device               one after the other, through a scratch of 8 MiB at most, so that both never exist whole

On any error everything that was decrypted is cleared before it is raised.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from hermetic.assets.releases import release, split_member
from hermetic.assets.tensors.frames import frame
from hermetic.assets.tensors.weights import weights_of
from hermetic.sealed.memory import clear, private_memory

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from mmap import mmap

    from hermetic.assets.session import Session
    from hermetic.assets.tensors.frames import Frame
    from hermetic.assets.tensors.weights import Shard
    from hermetic.formats.messages.base import Approval
    from hermetic.formats.safetensors import TensorPlace
    from hermetic.ids import Purpose

    Chosen = Mapping[str, tuple[Shard, TensorPlace]]

GAP = 1024 * 1024  # bytes between two wanted tensors that are read along rather than asked for apart
SCRATCH = 8 * 1024 * 1024


@dataclasses.dataclass(frozen=True, slots=True)
class Form:
    """What tensors are to be: framework, device and dtype; None leaves the dtype as it was saved."""

    framework: str = "torch"
    device: Any = "cpu"
    dtype: Any = None


def load(
    session: Session,
    ref: str,
    form: Form,
    *,
    names: Iterable[str] | None = None,
    member: str | None = None,
    purpose: Purpose | str | None = None,
    run: str | None = None,
    approvals: tuple[Approval, ...] = (),
) -> dict[str, Any]:
    """Return tensors by name. See Workspace.load_tensors."""
    maker = frame(form.framework)
    bare, chosen = split_member(ref, member)
    (version,) = release(session, (bare,), purpose=purpose, run=run, approvals=approvals)
    with version:
        weights = weights_of(version, chosen)
        with weights.stack:
            return load_chosen(maker, weights.chosen(names), form)


def load_chosen(maker: Frame, chosen: Chosen, form: Form) -> dict[str, Any]:
    """Return the chosen tensors, in the order in which they were chosen."""
    if str(form.device) == "cpu" and form.dtype is None:
        return _in_place(maker, chosen)
    return {name: _converted(maker, shard, place, form) for name, (shard, place) in chosen.items()}


def _in_place(maker: Frame, chosen: Chosen) -> dict[str, Any]:
    memories: list[mmap] = []
    tensors: dict[str, Any] = {}
    done = False
    try:
        for shard, places in _runs(chosen):
            begin, end = places[0][1].begin, places[-1][1].end
            memory = private_memory(end - begin)
            memories.append(memory)
            shard.read_data(begin, memoryview(memory)[: end - begin])
            for name, place in places:
                tensors[name] = maker.over(memory, place.begin - begin, place)
        done = True
    finally:
        if not done:
            for memory in memories:
                clear(memory)
    return {name: tensors[name] for name in chosen}


def _runs(chosen: Chosen) -> Iterable[tuple[Shard, list[tuple[str, TensorPlace]]]]:
    """Yield tensors of one file that lie next to each other, or nearly, in order of place."""
    by_file: dict[int, tuple[Shard, list[tuple[str, TensorPlace]]]] = {}
    for name, (shard, place) in chosen.items():
        by_file.setdefault(id(shard), (shard, []))[1].append((name, place))
    for shard, places in by_file.values():
        places.sort(key=lambda item: (item[1].begin, item[1].end))
        run = places[:1]
        for item in places[1:]:
            if item[1].begin - run[-1][1].end > GAP:
                yield shard, run
                run = []
            run.append(item)
        yield shard, run


def _converted(maker: Frame, shard: Shard, place: TensorPlace, form: Form) -> Any:
    target = maker.empty(place, form.dtype, form.device)
    for part, rows in _parts(place):
        memory = private_memory(part.nbytes)
        try:
            shard.read(part, memoryview(memory)[: part.nbytes])
            maker.fill(target if rows is None else target[rows], maker.over(memory, 0, part))
        finally:
            clear(memory)
    return target


def _parts(place: TensorPlace) -> Iterable[tuple[TensorPlace, slice | None]]:
    """Yield the tensor in parts of whole rows, as many as fit into the scratch."""
    rows = place.shape[0] if place.shape else 1
    if place.nbytes <= SCRATCH or rows < 2 or place.nbytes % rows:  # rows of 4-bit floats may end within a byte
        yield place, None
        return
    row = place.nbytes // rows
    step = max(1, SCRATCH // row)
    for first in range(0, rows, step):
        last = min(rows, first + step)
        shape = (last - first, *place.shape[1:])
        yield (
            dataclasses.replace(place, shape=shape, begin=place.begin + first * row, end=place.begin + last * row),
            slice(first, last),
        )
