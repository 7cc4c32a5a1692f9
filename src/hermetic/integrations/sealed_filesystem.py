"""sealed:: for fsspec: files at plain locations, of which only ciphertext lies there.

    pandas.read_parquet("sealed::s3://bucket/reports/a.parquet", storage_options={"s3": {"profile": "team"}})
    with fsspec.open("sealed::file:///data/reports/a.csv", "wb") as file: ...

A write makes one sealed object at exactly that path, as a version of the asset that the rules give for the location, and its signed
manifest beside it, `<path>.manifest.json`. A location that no rule covers is refused with the line to add. What belongs together:

    in a run            all files at locations of one asset, in one place, are one version, delivered when the run ends well
    in a transaction    the same, at the end of `with fs.transaction:`
    otherwise           one file is one version, delivered when it is closed

Reading asks custody by the ids in the object's header (`sealed_objects`). Sizes are those of the plaintext; manifests are not listed.
`rm`, `mv` and `cp` act on the location: the catalogue keeps the version, nothing is encrypted anew and no key is released, since what
an object is bound to are ids and not paths. They are on record, so that whatever else lands at a location is refused. Locations of
different assets are different data: to go from one to the other, read and write.

Options are those of `common`, and fsspec's own for the file system behind: `target_protocol`, `target_options`, `fs`. Storage
credentials belong to that layer. A cache belongs behind as well, where it holds ciphertext: `sealed::simplecache::s3://…`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar, NamedTuple

from fsspec.implementations.chained import ChainedFileSystem

from hermetic.assets.ground_caches import innermost
from hermetic.assets.ground_errors import far_errors
from hermetic.assets.locations import SIDE, is_in_folder_of_store, terms_at
from hermetic.assets.pending import has_pending, slot_of
from hermetic.assets.sealing import begin
from hermetic.errors import Conflict, NotFound, UsageError
from hermetic.integrations.behind import behind
from hermetic.integrations.caches import refuse_cache
from hermetic.integrations.decrypting import DecryptingFileSystem
from hermetic.integrations.files import WritingFile
from hermetic.integrations.listing import ExistingFile, Info, MissingFile, as_os_errors, folder
from hermetic.integrations.sealed_entries import described, is_hidden, making, require_ours
from hermetic.integrations.sealed_moves import is_one_location, pairs, remove, transfer
from hermetic.integrations.sealed_objects import TRIES, SealedObjects, is_side
from hermetic.integrations.sealed_paths import PROTOCOL, strip, strip_for
from hermetic.integrations.transaction import HermeticTransaction, SingleSink

_OURS = frozenset({PROTOCOL, "hermetic"})


class Pending(NamedTuple):
    """A file that this run has written: the draft that it is in, its key in the place, its length in bytes."""

    slot: str
    key: str
    length: int


class SealedFileSystem(ChainedFileSystem, DecryptingFileSystem):  # type: ignore[misc]  # fsspec has no types
    """See the module's text."""

    protocol: ClassVar[str] = PROTOCOL
    transaction_type = HermeticTransaction
    _strip_tokenize_options = ("fo",)

    def __init__(
        self,
        fo: str | None = None,  # noqa: ARG002 - fsspec gives the path too
        target_protocol: str | None = None,
        target_options: dict[str, Any] | None = None,
        fs: Any = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        if fs is not None and target_protocol is not None:
            raise UsageError("fs and target_protocol are two ways to say the same", hint="give one of them")
        if target_protocol in _OURS or isinstance(fs, DecryptingFileSystem):
            raise UsageError("sealed:: in front of what decrypts would seal what is sealed already", hint="leave out one of them")
        if (target_options or {}).get("asynchronous") or getattr(fs, "asynchronous", False):
            raise UsageError("the file system behind sealed:: is used synchronously", hint="leave out asynchronous=True")
        self.fs = fs if fs is not None else behind(target_protocol or "file", target_options or {})
        self._strip_protocol = self._strip_here  # type: ignore[method-assign]  # each instance has its own file system behind

    @classmethod
    def _stripped(cls, path: Any) -> str:
        return strip(path)

    def _strip_here(self, path: Any) -> Any:
        refuse_cache()
        return [self._path(item) for item in path] if isinstance(path, list) else self._path(path)

    def _path(self, path: Any) -> str:
        return strip_for(path, innermost(self.fs))

    def unstrip_protocol(self, name: str) -> str:
        """Return the chained form of a path."""
        return f"{PROTOCOL}::{innermost(self.fs).unstrip_protocol(self._path(name))}"

    @property
    def _objects(self) -> SealedObjects:
        return SealedObjects(self.attached, self.fs)

    # looking

    def info(self, path: str, **_: Any) -> Info:
        """Return name, size in bytes of plaintext, type, and for files asset, version, number, mtime. Raises FileNotFoundError.

        A file that is no sealed object, or does not belong there, has `problem` in place of these and its size as it lies there.
        """
        refuse_cache()
        path = self._path(path)
        with as_os_errors():
            if not is_side(path):
                pending = self._pending_at(path)
                if pending is not None:
                    return {"name": path, "size": pending.length, "type": "file"}
                objects = self._objects
                try:
                    return described(path, objects.look(path))
                except (NotFound, IsADirectoryError):
                    if self._is_folder(path) or (objects.settle_below(path) and self._is_folder(path)):
                        return folder(path)
        raise MissingFile(f"there is no {path!r}")

    def _is_folder(self, path: str) -> bool:
        with far_errors("look at", path):
            if self.fs.isdir(path):
                return True
        return bool(self._pending_below(path))

    def ls(self, path: str, detail: bool = True, **options: Any) -> list[Any]:  # noqa: FBT001, FBT002 - fsspec's signature
        """Return what lies directly in a folder, or the file itself."""
        path = self._path(path)
        with as_os_errors():
            found = self._listed(path, options)
            for rest, length in self._pending_below(path).items():
                head, slash, _ = rest.partition("/")
                name = f"{path}/{head}"
                found[name] = folder(name) if slash else {"name": name, "size": length, "type": "file"}
            if not found and not self._is_folder(path):
                found[path] = self.info(path)
        entries = [found[name] for name in sorted(found)]
        return entries if detail else [entry["name"] for entry in entries]

    def _listed(self, path: str, options: dict[str, Any]) -> dict[str, Info]:
        """List what lies in a folder, of each version that is sealed to it all or nothing."""
        objects = self._objects
        objects.settle_below(path)
        for _ in range(TRIES):
            found = self._listed_now(path, options)
            if not objects.settle_below(path):  # nor was anything begun while we listed
                return found
        raise Conflict(f"{path!r} is being written all the time", hint="try again")

    def _listed_now(self, path: str, options: dict[str, Any]) -> dict[str, Info]:
        if not self._is_folder(path):
            return {}
        try:
            with far_errors("list", path):
                entries = self.fs.ls(path, detail=True, **options)
        except NotFound:
            entries = []  # a folder that only what is pending makes
        shown = [entry for entry in entries if entry["name"].rstrip("/") != path and not is_hidden(entry["name"])]
        files = [entry for entry in shown if entry["type"] != "directory"]
        seen = self._objects.look_at_many([(entry["name"], int(entry["size"] or 0)) for entry in files])
        found = {entry["name"].rstrip("/"): folder(entry["name"].rstrip("/")) for entry in shown if entry["type"] == "directory"}
        present = [(entry["name"], item) for entry, item in zip(files, seen, strict=True) if item is not None]
        return found | {name: described(name, item) for name, item in present}

    # what this run has written and not published yet

    def _pending(self, place: str | None) -> tuple[Pending, ...]:
        files = self.attached
        run = files.session.run_for(None)
        if place is None or run is None or not has_pending(files.session, run):
            return ()
        return tuple(Pending(*item) for item in files.drafts(run).located(place))

    def _pending_at(self, path: str) -> Pending | None:
        location = self._objects.locate(path)
        return next((item for item in self._pending(location.place) if item.key == location.key), None)

    def _pending_below(self, path: str) -> dict[str, int]:
        """Return lengths by path relative to `path`."""
        location = self._objects.locate(f"{path}/x")
        prefix = location.key.removesuffix("x")
        return {item.key.removeprefix(prefix): item.length for item in self._pending(location.place) if item.key.startswith(prefix)}

    def _publish_pending(self, path: str) -> None:
        """Publish what a later step of the run builds on."""
        pending = self._pending_at(path)
        if pending is not None:
            files = self.attached
            files.drafts(str(files.session.run_for(None))).publish(pending.slot)

    # opening

    def _open(self, path: str, mode: str = "rb", block_size: Any = None, autocommit: bool = True, **_: Any) -> Any:  # noqa: ARG002, FBT001, FBT002
        path = self._path(path)
        with as_os_errors():
            if mode == "rb":
                return self._open_to_read(path)
            if mode not in {"wb", "xb"}:
                raise UsageError(f"mode {mode!r} is not possible", hint="a sealed object is written whole")
            if mode == "xb" and self.exists(path):
                raise ExistingFile(f"{path!r} exists")
            return self._open_to_write(path)

    def _open_to_read(self, path: str) -> Any:
        if is_side(path):
            raise MissingFile(f"there is no {path!r}", hint="signed manifests are read without sealed::")
        self._publish_pending(path)
        return self._watched(self._objects.open(path, self._purpose))

    def _open_to_write(self, path: str) -> WritingFile:
        files, objects = self.attached, self._objects
        location = objects.locate(path)
        terms = terms_at(files.session, location)
        objects.ground.require_room(location.path, len(SIDE))
        self._refuse_plain(path)
        run = files.session.run_for(None)
        if run is not None and not self._intrans:
            return WritingFile(path, files.drafts(run).add_member(slot_of(terms), location.key, terms))
        terms = replace(terms, purpose=self._purpose)
        if self._intrans:
            return WritingFile(path, self.transaction.add(files, terms, location.key), self.transaction.done)
        return WritingFile(path, SingleSink(begin(files.session, terms), location.key))

    def _refuse_plain(self, path: str) -> None:
        """Raise ExistingFile if what lies at a path is somebody's plain file: it may be the only copy."""
        try:
            seen = self._objects.look(path)
        except NotFound:
            return
        if seen.found.state in {"plain", "foreign"}:
            raise ExistingFile(f"{path!r} is a file that this domain has not sealed", hint="move it away first: it is not overwritten")

    def _exposable(self, path: str) -> str:
        found = self._objects.look(self._path(path)).found
        return f"{found.name}@{found.number}/{found.member}"

    # changing

    def mkdir(self, path: str, create_parents: bool = True, **options: Any) -> None:  # noqa: FBT001, FBT002 - fsspec's signature
        """Make a folder, where the storage has any."""
        with making(path):
            self.fs.mkdir(self._path(path), create_parents=create_parents, **options)

    def makedirs(self, path: str, exist_ok: bool = False) -> None:  # noqa: FBT001, FBT002 - fsspec's signature
        """Make a folder and those above it, where the storage has any."""
        with making(path):
            self.fs.makedirs(self._path(path), exist_ok=exist_ok)

    def rmdir(self, path: str) -> None:
        """Remove an empty folder."""
        with as_os_errors(), far_errors("remove", path):
            self.fs.rmdir(self._path(path))

    def rm(self, path: Any, recursive: bool = False, maxdepth: int | None = None) -> None:  # noqa: FBT001, FBT002 - fsspec's signature
        """Remove files, and with `recursive` the folders they leave. The catalogue keeps the versions."""
        paths = self.expand_path(path, recursive=recursive, maxdepth=maxdepth)
        folders = [item for item in paths if self._type(item) == "directory"]
        for item in paths:
            if item not in folders:
                self.rm_file(item)
        self._rm_empty(folders if recursive else [])

    def _rm_empty(self, folders: list[str]) -> None:
        """Remove those that are empty, the inner ones first."""
        for item in reversed(folders):
            if self.fs.isdir(item) and not self.fs.ls(item):
                self.rmdir(item)

    def rm_file(self, path: str) -> None:
        """Remove an object and its manifest from a location. Raises FileNotFoundError, FormatError for what is no sealed object."""
        path = self._path(path)
        with as_os_errors():
            self._publish_pending(path)
            objects = self._objects
            seen = objects.look(path)
            require_ours(seen)
            if is_in_folder_of_store(objects.session, seen.location):
                raise UsageError(f"{path!r} lies in a store", hint="`hermetic gc` removes what no version needs")
            remove(objects, seen, self._word())

    def cp_file(self, path1: str, path2: str, **_: Any) -> None:
        """Copy ciphertext and manifest to another location of the same asset; no key is released."""
        source, target = self._path(path1), self._path(path2)
        with as_os_errors():
            if self._type(source) == "directory":
                self.makedirs(target, exist_ok=True)
                return
            self._transfer(source, target, leaves=False)

    def mv(self, path1: str, path2: str, recursive: bool = False, maxdepth: int | None = None, **_: Any) -> None:  # noqa: FBT001, FBT002
        """Move files to other locations of the same asset, one after the other; nothing is encrypted anew.

        What is there already stays as it is. Raises UsageError for a folder that would go into itself; then nothing was moved.
        """
        found = pairs(self, (path1, path2), recursive=recursive, maxdepth=maxdepth)
        with as_os_errors():
            folders = [(source, target) for source, target in found if self._type(source) == "directory"]
            left = [source for source, target in folders if self._leaves(source, target)]
            for source, target in found:
                if (source, target) in folders:
                    self.makedirs(self._path(target), exist_ok=True)
                else:
                    self._transfer(self._path(source), self._path(target), leaves=True)
            self._rm_empty(left)

    def _leaves(self, source: str, target: str) -> bool:
        """Whether a folder would go somewhere else. Raises UsageError if that is in itself."""
        inside, goal = (self._objects.locate(f"{self._path(path)}/x").path.removesuffix("x") for path in (source, target))
        if goal != inside and goal.startswith(inside):
            raise UsageError(f"{source!r} cannot be moved into itself", hint="name a target outside of it")
        return goal != inside

    def _transfer(self, source: str, target: str, *, leaves: bool) -> None:
        self._publish_pending(source)
        objects = self._objects
        seen = objects.look(source)
        seen.require()
        place = objects.locate(target)
        if is_one_location(objects, seen.location, place):
            return
        terms_at(objects.session, place)
        objects.ground.require_room(place.path, len(SIDE))
        self._refuse_plain(target)
        transfer(objects, seen, place, leaves=leaves, purpose=self._word())

    def _word(self) -> Any:
        session = self.attached.session
        return session.purpose_for(self._purpose, None)

    def invalidate_cache(self, path: str | None = None) -> None:
        """Look at the storage again."""
        self.fs.invalidate_cache(path)
        super().invalidate_cache(path)
