"""What hermetic:// and sealed:: have in common as fsspec file systems: options, refusals, reading by range, plain questions.

Options are `project` (a folder in the project) and `purpose`; keys are none, and unknown options are refused, since fsspec writes
options into pickles, JSON and logs. Instances hold options only, so they pickle, and a forked or spawned process connects anew.

`asynchronous=True` is taken, and changes nothing: these are synchronous file systems. Callers that await use fsspec's own
`AsyncFileSystemWrapper`, which runs each call in a thread; run and purpose go with it.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from fsspec import AbstractFileSystem
from fsspec.callbacks import DEFAULT_CALLBACK

from hermetic.errors import HermeticError, UsageError
from hermetic.integrations.caches import refuse_cache
from hermetic.integrations.downloads import refuse_disk
from hermetic.integrations.process import attached

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hermetic.assets.opening import MemberFile
    from hermetic.integrations.attached import Attached

_FSSPEC_OPTIONS = frozenset({"asynchronous", "loop", "skip_instance_cache", "use_listings_cache", "listings_expiry_time", "max_paths"})


class DecryptingFileSystem(AbstractFileSystem):  # type: ignore[misc]  # fsspec has no types
    """See the module's text."""

    root_marker = ""

    def __init__(self, project: str | None = None, purpose: str | None = None, **options: Any) -> None:
        refuse_cache()
        unknown = sorted(set(options) - _FSSPEC_OPTIONS)
        if unknown:
            raise UsageError(
                f"{self.protocol} has no option {unknown[0][:100]!r}", hint="options are project and purpose; keys never are"
            )
        super().__init__(project=project, purpose=purpose, **options)
        self._project, self._purpose = project, purpose

    @property
    def attached(self) -> Attached:
        """The domain as this process uses it."""
        return attached(self._project)

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        refuse_cache()
        return [cls._stripped(item) for item in path] if isinstance(path, list) else cls._stripped(path)

    @classmethod
    def _stripped(cls, path: Any) -> str:
        raise NotImplementedError

    # looking

    def exists(self, path: str, **_: Any) -> bool:
        """Say whether something is there; a refusal is raised, not taken for absence."""
        try:
            self.info(path)
        except FileNotFoundError:
            return False
        return True

    def isfile(self, path: str) -> bool:
        """Say whether it is a file."""
        return self._type(path) == "file"

    def isdir(self, path: str) -> bool:
        """Say whether it is a folder."""
        return self._type(path) == "directory"

    def _type(self, path: str) -> str | None:
        try:
            return str(self.info(path)["type"])
        except FileNotFoundError:
            return None

    def modified(self, path: str) -> dt.datetime:
        """Return when the version was published."""
        return dt.datetime.fromtimestamp(self.info(path).get("mtime", 0), tz=dt.UTC)

    created = modified

    # reading

    @staticmethod
    def _watched(file: MemberFile) -> MemberFile:
        """Return a file that no cache reads, however many others stand in between."""
        refuse_cache()
        file.check_readers(refuse_cache)
        return file

    def cat_ranges(  # noqa: PLR0917 - fsspec's signature
        self,
        paths: list[str],
        starts: Any,
        ends: Any,
        max_gap: int | None = None,  # noqa: ARG002
        on_error: str = "return",
        **_: Any,
    ) -> list[Any]:
        """Return the bytes of many ranges, each file opened once. `max_gap` may be given: pieces are verified one by one anyway.

        With on_error "return" an error stands in the place of what it prevented; anything else raises it.
        """
        refuse_cache()  # which is nothing to return in the place of bytes
        if not isinstance(paths, list):
            raise TypeError("paths is a list")  # what fsspec raises
        wanted = list(zip(paths, _each(starts, paths), _each(ends, paths), strict=True))
        out: list[Any] = [None] * len(wanted)
        for path in dict.fromkeys(paths):
            here = [index for index, (other, _, _) in enumerate(wanted) if other == path]
            try:
                with self.open(path, "rb") as file:
                    for index in here:
                        out[index] = _range(file, *wanted[index][1:])
            except (HermeticError, OSError) as error:
                if on_error != "return":
                    raise
                for index in here:
                    out[index] = error if out[index] is None else out[index]
        return out

    def get_file(self, rpath: str, lpath: Any, callback: Any = DEFAULT_CALLBACK, outfile: Any = None, **options: Any) -> None:
        """Copy a file to a local path on a tmpfs. Raises UsageError for one on disk: that is what `expose` is for."""
        if not self.isdir(rpath):
            refuse_disk(lambda: self._exposable(rpath), lpath if outfile is None else outfile)
        super().get_file(rpath, lpath, callback=callback, outfile=outfile, **options)

    def _exposable(self, path: str) -> str:
        """Return what `hermetic expose` takes in place of a path."""
        return self._stripped(path)


def _each(value: Any, paths: Sequence[str]) -> list[Any]:
    values = list(value) if isinstance(value, list) else [value] * len(paths)
    if len(values) != len(paths):
        raise ValueError("as many starts and ends as paths")  # what fsspec raises
    return values


def _range(file: Any, start: int | None, end: int | None) -> bytes:
    """Return the bytes that the slice [start:end] of the whole file would have."""
    first, last, _ = slice(start, end).indices(file.seek(0, 2))
    file.seek(first)
    return bytes(file.read(max(0, last - first)))
