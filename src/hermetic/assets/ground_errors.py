"""What file systems raise at plain locations, as errors of ours."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from hermetic.errors import Denied, HermeticError, IntegrityError, NotFound, StorageError, UsageError
from hermetic.stores.base import hint_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType


@contextmanager
def local_errors(action: str, path: str) -> Iterator[None]:
    """Turn an OSError inside the block into NotFound, IntegrityError for a link in a file's place, or StorageError."""
    try:
        yield
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFound(f"cannot {action} {path!r}: there is no such file") from error
    except IsADirectoryError:
        raise
    except OSError as error:
        if os.path.islink(path):  # noqa: PTH114 - Path.is_symlink raises for names that are too long
            raise no_file(path) from error
        raise StorageError(f"cannot {action} {path!r}: {(error.strerror or str(error)).lower()}", hint=hint_for(error)) from error


class far_errors:  # noqa: N801 - used like a function, as `contextlib.suppress` is
    """Turn whatever a file system of somebody else raises inside the block into an error of ours.

    s3fs, gcsfs and others raise what their clients raise, so every Exception counts; what ends a process goes through.
    """

    def __init__(self, action: str, path: str) -> None:
        self._what = f"cannot {action} {path!r}"

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if not isinstance(error, Exception) or isinstance(error, HermeticError | IsADirectoryError):
            return
        if isinstance(error, FileNotFoundError):
            raise NotFound(f"{self._what}: there is no such file") from error
        if isinstance(error, PermissionError):
            raise Denied(f"{self._what}: the storage refuses it", hint="check the credentials of the storage") from error
        reason = (str(error).splitlines() or [""])[0][:200]
        raise StorageError(f"{self._what}: {type(error).__name__} {reason}".rstrip(), hint="check the storage") from error


def too_long(path: str, limit: int) -> UsageError:
    """Return the refusal of a name for which there is no room."""
    return UsageError(
        f"the name of {path[:100]!r}… is too long: there is no room for the signed manifest beside it",
        hint=f"take a name of at most {max(0, limit)} bytes, in a folder that is not deeper",
    )


def no_file(path: str) -> IntegrityError:
    """Return the refusal of what is no regular file."""
    return IntegrityError(f"{path!r} is a link or device, not a file", hint="something else stands in its place; find out who made it")
