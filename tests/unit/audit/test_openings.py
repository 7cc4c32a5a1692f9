"""What stands in an opening, when it is not what the log wrote."""

from __future__ import annotations

import pytest

from hermetic.audit.openings import _parts, _read_part
from hermetic.errors import FormatError

SEED = "A" * 43


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (f'{{"seed":"{SEED}","values":{{"é":1}}}}', "no log entry can have"),
        (f'{{"seed":"{SEED}","values":[]}}', "holds a seed and values"),
        ('{"seed":7,"values":{}}', "base64url text"),
    ],
)
def test_an_opening_that_the_log_did_not_write_is_refused(raw, message):
    with pytest.raises(FormatError, match=message):
        _read_part(raw.encode())


@pytest.mark.parametrize("raw", [b"x", bytes(36), bytes(32) + b"\0\0\0\5abcd", bytes(32) + b"\xff" * 4])
def test_a_row_that_is_cut_is_refused(raw):
    with pytest.raises(FormatError, match="cut or too long"):
        _parts(raw)
