"""Numbers in texts that anybody could have written."""

import pytest

from hermetic.formats.fields import whole_number


@pytest.mark.parametrize(("text", "number"), [("0", 0), ("1800000000000", 1_800_000_000_000), ("007", 7)])
def test_numbers(text, number):
    assert whole_number(text) == number


@pytest.mark.parametrize("text", [None, "", "soon", "-1", "1.5", " 1", "1_0", "٣", "²", "9" * 16, "9" * 6000, b"1", 1])
def test_anything_else_is_none(text):
    assert whole_number(text) is None
