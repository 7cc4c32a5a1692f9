"""A document of another kind says which, if it is one of ours, and nothing else gets into the hint."""

from __future__ import annotations

import pytest

from hermetic.errors import FormatError
from hermetic.formats import canonical
from hermetic.keys import documents


@pytest.mark.parametrize(
    ("said", "hint"),
    [
        ("hermetic/approver-key/v1", "it says that it is a hermetic/approver-key/v1: give another file"),
        ("hermetic/approver-key/v1\n", None),
        ("hermetic/\u202eyek/v1", None),
        ("something else", None),
        (7, None),
    ],
)
def test_a_document_of_another_kind_says_which(said, hint):
    with pytest.raises(FormatError, match="not a document of the format hermetic/approver-public/v1") as caught:
        documents.parse(canonical.encode({"format": said}), "hermetic/approver-public/v1", {"format"}, limit=1000)
    assert caught.value.hint == hint
