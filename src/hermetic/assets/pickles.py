"""Pickles, whose reading calls what they name: only globals that the policy in force lists may be imported.

    pickles: [numpy.dtype, numpy.ndarray, numpy._core.multiarray._reconstruct]       # in hermetic.yaml, then `hermetic policy apply`

Invariants:
1. Nothing is imported but HARMLESS and what `pickles:` names, each exactly as module and name; attributes of a name are not followed.
2. The policy is the one in force, not an edited file; with nothing listed, a pickle can hold plain data only.
3. A pickle fills the objects that it makes, never a class, module or function.
4. Every byte was verified before the unpickler sees it, so that a pickle comes from whoever was allowed to seal it.

A listed class or function is called with arguments that the pickle chooses. List what only builds values: the policy refuses
names of modules that are known to run programs or code, and cannot know them all. Weights belong into safetensors instead.
"""

from __future__ import annotations

import _compat_pickle
import pickle
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any, ClassVar

from hermetic.assets.naming import document_in_force
from hermetic.assets.opening import MemberFile
from hermetic.assets.releases import release, split_member
from hermetic.errors import FormatError, HermeticError, PolicyDenied
from hermetic.policy.globals import runs_code

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from hermetic.assets.session import Session
    from hermetic.formats.messages.base import Approval
    from hermetic.ids import Purpose

HARMLESS = frozenset(
    {
        "builtins.bytearray",
        "builtins.complex",
        "builtins.frozenset",
        "builtins.range",
        "builtins.set",
        "builtins.slice",
        "collections.OrderedDict",
        "datetime.date",
        "datetime.datetime",
        "datetime.time",
        "datetime.timedelta",
        "datetime.timezone",
        "decimal.Decimal",
    }
)
# What reading bytes that are no pickle raises, and what listed classes raise for arguments that they do not take.
_SHARED = (type, ModuleType, FunctionType, BuiltinFunctionType, MethodType)
_BROKEN = (
    *(pickle.PickleError, ArithmeticError, AssertionError, AttributeError, EOFError, ImportError, LookupError, MemoryError),
    *(RuntimeError, TypeError, ValueError),
)


class CarefulUnpickler(pickle._Unpickler):  # noqa: SLF001 - the one written in Python
    """An unpickler whose BUILD fills objects only: on a class, module or function it would change what the whole process computes.

    Callers say what may be imported, by `find_class`. It is slower than the one written in C, which has no place for this check.
    """

    def load_build(self) -> None:
        """Set the state of an object. Raises UnpicklingError for what is no object of its own."""
        stack = self.stack  # type: ignore[attr-defined]  # typeshed knows the public part only
        if len(stack) > 1 and isinstance(stack[-2], _SHARED):
            raise pickle.UnpicklingError("a state is set on a class, module or function")
        super().load_build()  # type: ignore[misc]

    dispatch: ClassVar[dict[int, Any]] = {**pickle._Unpickler.dispatch, pickle.BUILD[0]: load_build}  # noqa: SLF001


_ASK = "ask whoever sealed it for safetensors or plain data"
_ZIP = b"PK\x03\x04"  # how files of torch.save begin
_TORCH = "a file of torch.save is read by hermetic.integrations.torch.load"


class _Listed(CarefulUnpickler):
    """An unpickler that imports nothing but what it was told."""

    def __init__(self, file: MemberFile, allowed: AbstractSet[str]) -> None:
        super().__init__(file, fix_imports=False)  # a mapped name would not be the name that was checked
        self._file, self._allowed = file, allowed

    def find_class(self, module: str, name: str) -> Any:
        """Return a listed global. Raises PolicyDenied for any other."""
        module, name = _today(module, name)
        wanted = f"{module}.{name}"
        if wanted not in self._allowed or "." in name:
            raise PolicyDenied(
                f"{self._file.ref} is a pickle that wants {wanted[:200]!r}, which this domain's policy does not allow",
                hint=_way(wanted),
            )
        return super().find_class(module, name)

    def persistent_load(self, pid: Any) -> Any:  # noqa: ARG002 - pickle's signature
        """Refuse references to what lies outside the pickle."""
        raise FormatError(f"{self._file.ref} refers to objects outside of it", hint="read it with the library that wrote it")


def _way(wanted: str) -> str:
    """Return what to do about a name; for one that no policy takes only what is safe."""
    if runs_code(wanted):
        return f"it would run programs or code, which `pickles:` takes from nobody: {_ASK}"
    return f"if it only builds values: add it to `pickles:` in hermetic.yaml, then `hermetic policy apply`; {_ASK}"


def _today(module: str, name: str) -> tuple[str, str]:
    """Return what a name of Python 2, as protocols below 3 write them, is called now."""
    return _compat_pickle.NAME_MAPPING.get((module, name)) or (_compat_pickle.IMPORT_MAPPING.get(module, module), name)


def load_pickle(
    session: Session,
    ref: str,
    *,
    member: str | None = None,
    purpose: Purpose | str | None = None,
    run: str | None = None,
    approvals: tuple[Approval, ...] = (),
) -> Any:
    """Return the object that a member holds as a pickle. See Workspace.load_pickle."""
    allowed = HARMLESS | document_in_force(session).pickles
    bare, chosen = split_member(ref, member)
    (version,) = release(session, (bare,), purpose=purpose, run=run, approvals=approvals)
    with version, MemberFile(version, version.member(chosen)) as file:
        if file.peek(len(_ZIP))[: len(_ZIP)] == _ZIP:
            raise FormatError(f"{file.ref} is an archive and no pickle", hint=_TORCH)
        try:
            return _Listed(file, allowed).load()
        except HermeticError:
            raise
        except _BROKEN as error:
            raise FormatError(f"{file.ref} is no pickle that can be read: {type(error).__name__}") from error
