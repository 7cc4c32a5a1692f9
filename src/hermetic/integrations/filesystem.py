"""hermetic:// for fsspec: pandas, pyarrow, dask and whatever else opens URLs reads and writes governed assets by name.

    pandas.read_parquet("hermetic://dataset/patients@3")
    frame.to_parquet("hermetic://features/x")
    pyarrow.parquet.read_table("dataset/patients@3", filesystem=HermeticFileSystem())

Reading is opening: custody decides and records, once for each version and run of a process. Writing makes versions:

    in a run            everything written to one name is one version, published when the run ends well (`assets.pending`)
    in a transaction    the same, published at the end of `with fs.transaction:`
    otherwise           one file is one version, published when it is closed; a file below a name is refused, since a second file
                        would silently be another version

What is written outside a run inherits the class of all that the process has read so far (`assets.current`). Nothing is ever removed
or overwritten, and nothing is copied to a disk unrecorded (`downloads`, `caches`). Options and range reads: see `common`. Paths: see
`places`.
"""

from __future__ import annotations

from typing import Any, ClassVar

from hermetic.assets.sealing import DEFAULT_MEMBER, Terms, begin
from hermetic.errors import UsageError
from hermetic.ids import Kind
from hermetic.integrations import scratch_files
from hermetic.integrations.caches import refuse_cache
from hermetic.integrations.decrypting import DecryptingFileSystem
from hermetic.integrations.files import WritingFile
from hermetic.integrations.listing import (
    ExistingFile,
    Info,
    MissingFile,
    as_os_errors,
    children,
    describe,
    folder,
    not_one_file,
    step_towards,
)
from hermetic.integrations.places import PROTOCOL, Place, parse, strip
from hermetic.integrations.transaction import HermeticTransaction, SingleSink

_IMMUTABLE_HINT = "versions never change; writing to a name makes its next version"


class HermeticFileSystem(DecryptingFileSystem):
    """See the module's text."""

    protocol: ClassVar[str] = PROTOCOL
    transaction_type = HermeticTransaction

    @classmethod
    def _stripped(cls, path: Any) -> str:
        return strip(path)

    # looking

    def info(self, path: str, **_: Any) -> Info:
        """Return name, size in bytes of plaintext, type, and for files version, number and mtime. Raises FileNotFoundError."""
        refuse_cache()
        path = strip(path)
        place = parse(path)
        with as_os_errors():
            if place.is_scratch:
                return scratch_files.info(self.attached.scratch(), path)
            if not path or path in Kind._value2member_map_:
                return folder(path)
            found = self.attached.locate(place)
            if found is not None:
                return describe(path, *found)
            if path in self.attached.folders or (place.name is None and self.attached.below(path)):
                return folder(path)
        raise MissingFile(f"there is no {path!r}", hint="`hermetic ls` lists assets")

    def ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:  # noqa: FBT001, FBT002 - fsspec's signature
        """Return what lies directly in a folder, or the file itself."""
        path = strip(path)
        place = parse(path)
        with as_os_errors():
            entries = scratch_files.entries(self.attached.scratch(), path) if place.is_scratch else self._entries(path, place)
        return entries if detail else [entry["name"] for entry in entries]

    def _entries(self, path: str, place: Place) -> list[Info]:
        found = self.attached.locate(place) if path else None
        if found is not None:
            return children(path, *found)
        below = self.attached.below(path)
        names = sorted({step_towards(path, row.name) for row in below})
        if not names and path and path not in Kind._value2member_map_ and path not in self.attached.folders:
            raise MissingFile(f"there is no {path!r}", hint="`hermetic ls` lists assets")
        whole = {row.name for row in below}
        return [self.info(name) if name in whole else folder(name) for name in names]

    # opening

    def _open(self, path: str, mode: str = "rb", block_size: Any = None, autocommit: bool = True, **_: Any) -> Any:  # noqa: ARG002, FBT001, FBT002
        place = parse(path)
        with as_os_errors():
            if mode == "rb":
                return self._open_to_read(path, place)
            if mode not in {"wb", "xb"}:
                raise UsageError(f"mode {mode!r} is not possible", hint=_IMMUTABLE_HINT)
            if mode == "xb" and self.exists(path):
                raise ExistingFile(f"{path!r} exists")
            return self._open_to_write(path, place)

    def _open_to_read(self, path: str, place: Place) -> Any:
        files = self.attached
        if place.is_scratch:
            return scratch_files.open_to_read(files.scratch(), path)
        found = files.locate(place)
        if found is None or not found[0].holds(found[1]):
            raise MissingFile(f"there is no {path!r}", hint="`hermetic ls` lists assets")
        view, member = found
        chosen = member or view.single
        if chosen is None or chosen not in view.members:
            raise not_one_file(path, view)
        return self._watched(files.open(view, chosen, self._purpose))

    def _open_to_write(self, path: str, place: Place) -> WritingFile:
        files = self.attached
        if place.is_scratch:
            return WritingFile(path, scratch_files.sink(files.scratch(), path))
        name, member = files.target(place)
        run = files.session.run_for(None)
        if self._intrans:
            writer = self.transaction.add(files, Terms(name=str(name), purpose=self._purpose), member or DEFAULT_MEMBER)
            return WritingFile(path, writer, self.transaction.done)
        if run is not None:
            return WritingFile(path, files.drafts(run).add_member(str(name), member or DEFAULT_MEMBER))
        if member or str(name) in files.folders:
            raise UsageError(
                f"{path!r} would be one of several files of {name}",
                hint="several files are one version inside `with h.run(...)`, `hermetic run`, or `with fs.transaction:`",
            )
        sink = SingleSink(begin(files.session, Terms(name=str(name), purpose=self._purpose)), DEFAULT_MEMBER)
        return WritingFile(path, sink, lambda _: files.published(str(name)))

    # changing

    def mkdir(self, path: str, create_parents: bool = True, **_: Any) -> None:  # noqa: ARG002, FBT001, FBT002 - fsspec's signature
        """Announce a folder: what is written below it in a run or transaction are members of one version. Nothing is made."""
        self.makedirs(path, exist_ok=True)

    def makedirs(self, path: str, exist_ok: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002 - fsspec's signature
        """See mkdir."""
        place = parse(strip(path))
        if place.path and not place.is_scratch:
            with as_os_errors():
                self.attached.announce(place)

    def rm(self, path: Any, recursive: bool = False, maxdepth: int | None = None) -> None:  # noqa: FBT001, FBT002 - fsspec's signature
        """Remove scratch. Anything else is refused."""
        for item in self.expand_path(path, recursive=recursive, maxdepth=maxdepth):
            self.rm_file(item)

    def rm_file(self, path: str) -> None:
        """Remove a scratch file. Anything else is refused."""
        place = parse(strip(path))
        if not place.is_scratch:
            raise UsageError(f"{place.path!r} cannot be removed", hint=_IMMUTABLE_HINT)
        if not self.isdir(place.path):  # a folder goes with its last file
            with as_os_errors():
                scratch_files.remove(self.attached.scratch(), place.path)

    def rmdir(self, path: str) -> None:
        """Take back a folder that was only announced."""
        self.attached.folders.discard(strip(path))

    def cp_file(self, path1: str, path2: str, **_: Any) -> None:
        """Copy: read one, write the other, as anybody would."""
        with self.open(path1, "rb") as source, self.open(path2, "wb") as target:
            while piece := source.read(4 * 1024 * 1024):
                target.write(piece)

    def mv(self, path1: str, path2: str, recursive: bool = False, maxdepth: int | None = None, **options: Any) -> None:  # noqa: FBT001, FBT002
        """Rename an asset, or move scratch. Members cannot be renamed."""
        old, new = parse(strip(path1)), parse(strip(path2))
        if old.is_scratch and new.is_scratch:
            super().mv(path1, path2, recursive=recursive, maxdepth=maxdepth, **options)
            return
        names = [place.candidates() for place in (old, new)]
        if any(place.name is not None or not found or found[-1][1] for place, found in zip((old, new), names, strict=True)):
            raise UsageError(f"{old.path!r} cannot be moved to {new.path!r}", hint="whole assets can be renamed: KIND/OLD to KIND/NEW")
        with as_os_errors():
            self.attached.rename(names[0][-1][0], names[1][-1][0])

    def invalidate_cache(self, path: str | None = None) -> None:  # noqa: ARG002 - fsspec's signature
        """Look at the latest versions again."""
        self.attached.refresh()
