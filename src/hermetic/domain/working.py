"""The environment that a connection works in: `connect(environment=)`, else HERMETIC_ENVIRONMENT, else None.

None leaves it to custody: a run's environment, what `rules:` say of a name, or the `environment:` of hermetic.yaml. Otherwise every
request that works in an environment says so, and what custody releases has to be of it.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, TypeVar

from hermetic.errors import IntegrityError, UsageError
from hermetic.formats.messages.catalogue import ListAssets
from hermetic.formats.messages.versions import Opened
from hermetic.ids import Environment

if TYPE_CHECKING:
    from hermetic.formats.messages.base import Request

Answer = TypeVar("Answer")
VARIABLE: Final = "HERMETIC_ENVIRONMENT"


def declared() -> Environment | None:
    """Return what HERMETIC_ENVIRONMENT says, None for nothing. Raises UsageError for a word that is none."""
    text = os.environ.get(VARIABLE)
    if not text:
        return None
    try:
        return Environment(text)
    except ValueError:
        raise UsageError(f"{VARIABLE} is {text!r}, which is no environment", hint=f"one of: {', '.join(Environment)}") from None


def placed(request: Request[Answer], environment: Environment | None) -> Request[Answer]:
    """Return the request with the environment in it, where it takes one and names none. Lists are of all unless they say otherwise."""
    asked: Any = request
    if environment is None or getattr(asked, "environment", environment) is not None or isinstance(asked, ListAssets):
        return request
    return replace(asked, environment=environment)  # type: ignore[no-any-return]


def check(request: Any, answer: Any) -> None:
    """Raise IntegrityError if keys of another environment came than were asked for."""
    if isinstance(answer, Opened) and request.environment is not None:
        for item in answer.released:
            if item.environment is not request.environment:
                raise IntegrityError(f"custody released {item.ref} of {item.environment.value}, asked in {request.environment.value}")
