"""Errors as port messages and back (spec/port.md section 2).

>>> refusal_of(PolicyDenied("no", reasons=("deny-debug",)))
Refusal(error='PolicyDenied', message='no', hint=None, reasons=('deny-debug',))
"""

from __future__ import annotations

import inspect

from hermetic import errors
from hermetic.errors import HermeticError, PolicyDenied
from hermetic.formats.messages.base import Refusal

_CLASSES = {
    name: cls for name, cls in vars(errors).items() if inspect.isclass(cls) and issubclass(cls, HermeticError) and name[0] != "_"
}


def refusal_of(error: HermeticError) -> Refusal:
    """Return the message that tells of `error`: the nearest class that every reader knows, message, hint and reasons."""
    name = next(cls.__name__ for cls in type(error).__mro__ if _CLASSES.get(cls.__name__) is cls)
    reasons = error.reasons if isinstance(error, PolicyDenied) else ()
    return Refusal(name, error.message, error.hint, tuple(reasons))


def error_of(refusal: Refusal) -> HermeticError:
    """Return the error that a refusal tells of; a class this release does not know reads as HermeticError."""
    cls = _CLASSES.get(refusal.error, HermeticError)
    if issubclass(cls, PolicyDenied):
        return cls(refusal.message, hint=refusal.hint, reasons=refusal.reasons)
    return cls(refusal.message, hint=refusal.hint)
