"""Every error that leaves Hermetic, in one tree. Nothing else crosses the public edge.

    HermeticError                    exit 1   something failed; `hint` says what to do next
    ├── UsageError                   exit 2   the caller asked for something that makes no sense: fix the call
    │   ├── InvalidName              exit 2   a name, reference or path that is not allowed
    │   └── ConfigError              exit 2   hermetic.yaml, a policy file or a setting; carries file, line, column
    ├── NotFound                     exit 1   no such asset, version, key, run, file
    ├── Conflict                     exit 1   someone else changed it first, or it already exists: look, then try again
    ├── Unsupported                  exit 1   written by a newer release, or needs a missing extra or platform feature
    ├── StorageError                 exit 1   disk full, read-only, unreachable store, failed sync; nothing was half-written
    ├── Denied                       exit 3   a decision said no
    │   ├── PolicyDenied             exit 3   the access policy; `reasons` names policies and obligations
    │   ├── NotAuthenticated         exit 3   nobody, or nobody this domain knows
    │   ├── KeyUnusable              exit 3   the key's state forbids it: suspended, deactivated, compromised, destroyed
    │   └── LeaseEnded               exit 3   the lease was revoked or ran out: ask again
    ├── IntegrityError               exit 4   bytes or rows are not what was written; do not use them
    │   ├── FormatError              exit 4   not canonical, over limits, truncated, unknown marker
    │   ├── SignatureError           exit 4   missing, wrong or foreign signature
    │   ├── WrongKey                 exit 4   this key did not seal these bytes
    │   ├── RowTampered              exit 4   an authenticated database row was changed by hand
    │   └── LogTampered              exit 4   the log was cut, forked, re-signed or changed
    ├── ApprovalNeeded               exit 5   another person, or a fresh second factor, has to say yes
    ├── KeyServiceUnavailable        exit 6   the root or its provider cannot be reached
    │   └── Locked                   exit 6   the root is locked: `hermetic unlock`
    └── FindingsError                exit 7   the check ran and found something

`str(error)` is one line. `error.hint` is what a person should do next. `error.diagnostics()` is the long form.
"""

from __future__ import annotations


class HermeticError(Exception):
    """Root of the tree. `exit_code` is what the command line returns for it."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        if hint is not None:
            self.add_note(f"hint: {hint}")  # so that a traceback in somebody's script shows it too

    def diagnostics(self) -> str:
        """Return the text a person reads: the message, then the hint."""
        return self.message if self.hint is None else f"{self.message}\nhint: {self.hint}"


class UsageError(HermeticError):
    """The caller asked for something that makes no sense."""

    exit_code = 2


class InvalidName(UsageError):
    """A name, reference, id or path that is not allowed."""


class ConfigError(UsageError):
    """A settings or policy file is wrong; says where and what to write instead. Lines and columns count from 1."""

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        file: str | None = None,
        line: int | None = None,
        column: int | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.file, self.line, self.column = file, line, column

    def __str__(self) -> str:
        where = ":".join(str(part) for part in (self.file, self.line, self.column) if part is not None)
        return f"{where}: {self.message}" if where else self.message

    def diagnostics(self) -> str:
        """Return place, message and remedy."""
        return str(self) if self.hint is None else f"{self}\nhint: {self.hint}"


class NotFound(HermeticError):
    """No such asset, version, key, run or file."""


class Conflict(HermeticError):
    """Someone else changed it first, or it already exists."""


class Unsupported(HermeticError):
    """Written by a newer release, or needs something this machine lacks."""


class StorageError(HermeticError):
    """Disk full, read-only, unreachable or failed sync."""


class DatabaseUnavailable(StorageError):
    """The server of the custody database cannot be reached."""

    exit_code = 6


class Denied(HermeticError):
    """A decision said no."""

    exit_code = 3


class PolicyDenied(Denied):
    """The access policy or an obligation said no; `reasons` names which."""

    def __init__(self, message: str, *, hint: str | None = None, reasons: tuple[str, ...] = ()) -> None:
        super().__init__(message, hint=hint)
        self.reasons = reasons


class NotAuthenticated(Denied):
    """Nobody, or nobody this domain knows."""


class KeyUnusable(Denied):
    """The key's state forbids the use."""


class LeaseEnded(Denied):
    """The lease was revoked or ran out."""


class IntegrityError(HermeticError):
    """Bytes or rows are not what was written."""

    exit_code = 4


class FormatError(IntegrityError):
    """Bytes that are not canonical, over limits, truncated or of an unknown kind."""


class SignatureError(IntegrityError):
    """A signature is missing, wrong or foreign."""


class WrongKey(IntegrityError):
    """This key did not seal these bytes."""


class RowTampered(IntegrityError):
    """An authenticated database row was changed outside Hermetic."""


class LogTampered(IntegrityError):
    """The log was cut, forked, re-signed or changed."""


class ApprovalNeeded(HermeticError):
    """Another person, or a fresh second factor, has to say yes."""

    exit_code = 5


class KeyServiceUnavailable(HermeticError):
    """The root or its provider cannot be reached."""

    exit_code = 6


class Locked(KeyServiceUnavailable):
    """The root is locked."""


class FindingsError(HermeticError):
    """The check ran and found something."""

    exit_code = 7
