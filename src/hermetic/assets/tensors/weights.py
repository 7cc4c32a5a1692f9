"""Which members of an open version hold tensors: one safetensors file, or shards with or without an index.

An index must say what the shards say: a tensor that it names and no shard has, or the other way round, is refused. So is a tensor
that two shards have.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hermetic.errors import FormatError, NotFound, UsageError
from hermetic.formats.safetensors import LENGTH_BYTES, Head, TensorPlace, head_length, parse_head
from hermetic.formats.tensor_index import LIMIT, SUFFIX, parse_index

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from hermetic.assets.opening import MemberFile
    from hermetic.assets.releases import OpenVersion

SAFETENSORS = ".safetensors"
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib")


@dataclass(frozen=True, slots=True)
class Shard:
    """One open safetensors file, by its path in the version, and its head."""

    path: str
    file: MemberFile
    head: Head

    def read(self, place: TensorPlace, view: memoryview, *, skip: int = 0) -> None:
        """Fill `view` with the tensor's bytes from `skip` on. Raises what reads raise."""
        self.read_data(place.begin + skip, view)

    def read_data(self, begin: int, view: memoryview) -> None:
        """Fill `view` with data from `begin` on. Raises FormatError if the file ends before."""
        if self.file.read_at(self.head.data_start + begin, view) != view.nbytes:
            raise FormatError(f"{self.file.ref} ends inside its tensors")


@dataclass(frozen=True, slots=True)
class Weights:
    """The tensors of a version by name: where each lies. Closing `stack` closes the files."""

    ref: str
    places: Mapping[str, tuple[Shard, TensorPlace]]
    metadata: Mapping[str, str]
    stack: ExitStack

    def chosen(self, names: Iterable[str] | None) -> dict[str, tuple[Shard, TensorPlace]]:
        """Return the tensors of these names, all for None. Raises NotFound for one that is not there."""
        if names is None:
            return dict(self.places)
        if isinstance(names, str):
            raise UsageError("names of tensors are a list", hint=f"write names=[{names!r}]")
        return {name: self.place(name) for name in names}

    def place(self, name: str) -> tuple[Shard, TensorPlace]:
        """Return one tensor. Raises NotFound."""
        try:
            return self.places[name]
        except KeyError:
            near = ", ".join(sorted(self.places)[:5])
            raise NotFound(f"{self.ref} has no tensor {name[:200]!r}", hint=f"it has {len(self.places)}: {near}, …") from None


def weights_of(version: OpenVersion, member: str | None = None) -> Weights:
    """Open every file that holds tensors of the version, or only `member`, a file or an index. Raises FormatError, NotFound."""
    with ExitStack() as stack:
        files, index = _files(version, member)
        shards = {path: _open(stack, version, path) for path in files}
        places = _merged(version.ref, shards)
        if index is not None:
            _check_index(version.ref, index, {name: shard.path for name, (shard, _) in places.items()})
        metadata = {key: value for shard in shards.values() for key, value in shard.head.metadata.items()}
        return Weights(version.ref, places, metadata, stack.pop_all())
    raise AssertionError("an ExitStack swallowed an error")


def _files(version: OpenVersion, member: str | None) -> tuple[list[str], dict[str, str] | None]:
    """Return the members to open, and what the index says, if there is one."""
    paths = [found.path for found in version.members]
    if member is None:
        indices = [path for path in paths if path.endswith(SUFFIX)]
        if len(indices) > 1:
            raise UsageError(f"{version.ref} holds several sets of weights", hint=f"name the index: {', '.join(indices)}")
        member = indices[0] if indices else None
    if member is not None and member.endswith(SUFFIX):
        index = parse_index(_small(version, member))
        folder = member.rpartition("/")[0]
        shards = {name: f"{folder}/{file}" if folder else file for name, file in index.items()}
        for path in sorted(set(shards.values()) - set(paths)):
            raise FormatError(
                f"the index of {version.ref} names {path!r}, which the version does not have", hint="seal all shards at once"
            )
        return sorted(set(shards.values())), shards
    if member is not None:
        return [version.member(member).path], None
    found = [path for path in paths if path.endswith(SAFETENSORS)]
    if found or len(paths) == 1:
        return found or paths, None
    raise NotFound(f"{version.ref} holds no safetensors file", hint=_instead(paths))


def _instead(paths: list[str]) -> str:
    pickled = next((path for path in paths if path.endswith(_PICKLES)), None)
    if pickled is not None:
        return f"{pickled!r} is pickled, and unpickling runs code: convert it to safetensors"
    return "name the member that holds tensors: member=…"


def _small(version: OpenVersion, path: str) -> bytes:
    with version.open(path) as file:
        if file.size > LIMIT:
            raise FormatError(f"the tensor index {path!r} is over {LIMIT} bytes")
        return file.read()


def _open(stack: ExitStack, version: OpenVersion, path: str) -> Shard:
    file = stack.enter_context(version.open(path))
    if path.endswith(_PICKLES):
        raise FormatError(
            f"{file.ref} is pickled, and unpickling runs code", hint="convert it to safetensors; `h.open` gives its bytes"
        )
    first = bytearray(LENGTH_BYTES)
    file.read_at(0, memoryview(first))
    raw = bytearray(head_length(bytes(first), file.size))
    file.read_at(0, memoryview(raw))
    return Shard(path, file, parse_head(bytes(raw), file.size))


def _merged(ref: str, shards: Mapping[str, Shard]) -> dict[str, tuple[Shard, TensorPlace]]:
    places: dict[str, tuple[Shard, TensorPlace]] = {}
    for path, shard in shards.items():
        for name, place in shard.head.tensors.items():
            if name in places:
                raise FormatError(
                    f"two files of {ref} have the tensor {name[:200]!r}, the second is {path!r}", hint="name one: member=…"
                )
            places[name] = (shard, place)
    return places


def _check_index(ref: str, index: Mapping[str, str], found: Mapping[str, str]) -> None:
    for name in sorted(index.keys() ^ found.keys() | {name for name in index.keys() & found.keys() if index[name] != found[name]}):
        said, has = index.get(name, "nowhere"), found.get(name, "no shard")
        raise FormatError(
            f"the index of {ref} puts {name[:200]!r} into {said}, but {has} has it", hint="seal index and shards together"
        )
