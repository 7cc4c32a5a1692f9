"""Which HTTP status a refusal has (spec/port.md section 4.1). The message says what is the matter; the status is for those in between.

A class of `errors` that is not named has the status of the nearest one above it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hermetic import errors

if TYPE_CHECKING:
    from hermetic.errors import HermeticError

OF_ERROR: Final[dict[type[HermeticError], int]] = {
    errors.UsageError: 422,
    errors.FormatError: 422,
    errors.SignatureError: 422,  # of a signing request, a statement, an authenticator's answer: what came is wrong
    errors.Unsupported: 422,
    errors.NotAuthenticated: 401,
    errors.Denied: 403,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.FindingsError: 409,
    errors.ApprovalNeeded: 428,
    errors.StorageError: 503,
    errors.KeyServiceUnavailable: 503,
    errors.HermeticError: 500,
}

MEANINGS: Final = {
    400: "Not HTTP as it is spoken here.",
    401: "No certificate of the domain's, one that is not known or revoked, or no proof that the recipient's key is the caller's.",
    403: "The policy, the state of a key, or the end of a lease says no.",
    404: "There is no such thing, or no such path.",
    405: "Requests are sent by POST.",
    409: "Somebody else changed it first, it is there already, or the idempotency key was used for other bytes.",
    413: "The message is over 4 MiB.",
    415: "The message is not `application/json`, or is compressed.",
    422: "The message is malformed, holds a wrong signature, or asks for what makes no sense.",
    428: "Somebody's approval, or a fresh second factor, is needed first.",
    429: "Too many requests of this caller; `Retry-After` says when.",
    431: "The head of the request is too long.",
    500: "A check inside custody failed, or a defect; the service's log has it.",
    503: "The root, its provider or the disk cannot be reached; with `Retry-After`: too much at once, and nothing was begun.",
}


def status_of(error: HermeticError) -> int:
    """Return the HTTP status for an error."""
    return next(OF_ERROR[cls] for cls in type(error).__mro__ if cls in OF_ERROR)
