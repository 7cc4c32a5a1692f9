"""Data keys that a root wraps itself, many in one call.

    wrapped   WRAP || what the provider made of S || check value (`wrap.payload`)

What is asked for together is done together or not at all: the first error that any item met is raised, and nothing that did open is
kept. A provider that takes one item a call is asked `at_once` items at a time; once its service is gone the rest is not tried.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, TypeVar

from hermetic.errors import FormatError, HermeticError, IntegrityError, KeyServiceUnavailable
from hermetic.keys.provider import WRAPPED_LIMIT
from hermetic.keys.wrap import open_payload

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hermetic.crypto.secret import Secret
    from hermetic.keys.provider import Provider
    from hermetic.keys.wrap import DataKeyContext

WRAP: Final = b"HDP\x01"

A = TypeVar("A")
B = TypeVar("B")


def is_wrap(wrapped: bytes) -> bool:
    """Tell whether a stored wrap of a data key was made by a root itself."""
    return wrapped.startswith(WRAP)


def wrap_all(provider: Provider, payloads: Sequence[Secret], context: bytes) -> list[bytes]:
    """Return the wraps of payloads (`wrap.payload`). Raises Locked, KeyServiceUnavailable, IntegrityError."""
    many = getattr(provider, "wrap_many", None)
    items = [(payload, context) for payload in payloads]
    made = many(items) if many else _one_by_one(provider, lambda item: provider.wrap(*item), items)
    return [WRAP + _sized(one) for one in _all(made, len(items))]


def unwrap_all(provider: Provider, items: Sequence[tuple[bytes, bytes]]) -> list[Secret]:
    """Return the payloads of (wrapped, context) pairs, in one call where the provider has one. Raises as `wrap_all`, and WrongKey."""
    asked = [(_inner(wrapped), context) for wrapped, context in items]
    many = getattr(provider, "unwrap_many", None)
    made: Sequence[Secret | HermeticError]
    made = many(asked) if many else _one_by_one(provider, lambda item: provider.unwrap(*item), asked)
    try:
        return _all(made, len(asked))
    except BaseException:
        for one in made:
            if not isinstance(one, HermeticError):
                one.wipe()
        raise


def rewrap_all(provider: Provider, wraps: Sequence[bytes], context: bytes) -> list[bytes] | None:
    """Return wraps under the newest version of the provider's key, secrets staying inside; None where a provider cannot."""
    many, single = getattr(provider, "rewrap_many", None), getattr(provider, "rewrap", None)
    items = [(_inner(wrapped), context) for wrapped in wraps]
    if many is not None:
        made = many(items)
    elif single is not None:
        made = _one_by_one(provider, lambda item: single(*item), items)
    else:
        return None
    return [WRAP + _sized(one) for one in _all(made, len(items))]


def opened(payloads: Sequence[Secret], contexts: Sequence[DataKeyContext]) -> list[Secret]:
    """Return the data keys in payloads, each compared with its check value; the payloads are wiped. Raises IntegrityError."""
    keys: list[Secret] = []
    try:
        for payload, context in zip(payloads, contexts, strict=True):
            secret, key = open_payload(payload, context)
            secret.wipe()
            keys.append(key)
    except BaseException:
        for key in keys:
            key.wipe()
        raise
    finally:
        for payload in payloads:
            payload.wipe()
    return keys


def _one_by_one(provider: Provider, do: Callable[[A], B], items: Sequence[A]) -> list[B | HermeticError]:
    """Ask for each item alone, `provider.at_once` of them at a time; once the service is gone the rest is not tried."""
    gone: list[KeyServiceUnavailable] = []

    def one(item: A) -> B | HermeticError:
        if gone:
            return gone[0]
        try:
            return do(item)
        except KeyServiceUnavailable as error:
            gone.append(error)
            return error
        except HermeticError as error:
            return error

    at_once = min(getattr(provider, "at_once", 1), len(items))
    if at_once <= 1:
        return [one(item) for item in items]
    with ThreadPoolExecutor(at_once, thread_name_prefix="hermetic-provider") as pool:
        return list(pool.map(one, items))


def _all(made: Sequence[A | HermeticError], expected: int) -> list[A]:
    if len(made) != expected:
        raise IntegrityError(f"the provider answered {len(made)} of {expected} items", hint="do not use it: look at its own log")
    results: list[A] = []
    for one in made:
        if isinstance(one, HermeticError):
            raise one
        results.append(one)
    return results


def _inner(wrapped: bytes) -> bytes:
    if not is_wrap(wrapped):
        raise FormatError("not a data key that a provider wrapped: wrong marker")
    return wrapped[len(WRAP) :]


def _sized(made: bytes) -> bytes:
    if not 0 < len(made) <= WRAPPED_LIMIT:
        raise IntegrityError(f"the provider made a wrap of {len(made)} bytes", hint="do not use it: look at its own log")
    return made
