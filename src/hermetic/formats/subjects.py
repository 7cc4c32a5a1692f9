"""Data subjects of a version: labels named `subject`, so that everything about one person can be shredded together. Pure.

A label is kept in an encrypted column, and goes with the version's key. Two spellings are one subject if they are the same text after
NFC and without space around: whoever seals and whoever shreds should use a number of the person rather than a name.
"""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Final

from hermetic.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

LABEL: Final = "subject"
LIMIT: Final = 200  # characters


def check_subject(text: str) -> str:
    """Return the text as it is kept. Raises UsageError for none, one too long, or control characters."""
    found = unicodedata.normalize("NFC", text).strip()
    if not 0 < len(found) <= LIMIT or any(unicodedata.category(sign).startswith("C") for sign in found):
        raise UsageError(
            f"a data subject is named by 1 to {LIMIT} characters", hint="a number of the person is best: --subject P-0017"
        )
    return found


def as_labels(subjects: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """Return the labels of a version that holds data of these. Raises UsageError."""
    return tuple((LABEL, text) for text in dict.fromkeys(map(check_subject, subjects)))


def check_labels(labels: Iterable[tuple[str, ...]]) -> None:
    """Raise UsageError for a subject that is not written as it is kept: nobody would find it."""
    for label in labels:
        if label[0] == LABEL and check_subject(label[1]) != label[1]:
            raise UsageError(f"the subject {label[1]!r} is not written as it is kept", hint="h.seal(subjects=…) does that")


def of_labels(labels: Iterable[tuple[str, ...]]) -> frozenset[str]:
    """Return the subjects that labels name."""
    return frozenset(label[1] for label in labels if len(label) > 1 and label[0] == LABEL)
