"""What custody wants a writer to know, for doors that hand back no result: as warnings of Python, once each."""

from __future__ import annotations

import warnings


class WriterNote(UserWarning):
    """Something about a version just published that the writer may not have meant, such as a class above what its name had."""


def tell(notes: tuple[str, ...]) -> None:
    """Warn of each; with warnings as errors the first is raised, after the version was published."""
    for note in notes:
        warnings.warn(note, WriterNote, stacklevel=3)
