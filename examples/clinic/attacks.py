"""Two attackers, for the demo: one writes to the store, one to a custody database.

python attacks.py flip FILE OFFSET         change one bit of a file; again, and it is as before
python attacks.py cut DATABASE COUNT       delete the newest entries of the log, and every trace of them in its tree
"""

from __future__ import annotations

import sqlite3
import sys
from contextlib import closing
from pathlib import Path


def flip(path: Path, offset: int) -> str:
    """Change the lowest bit of one byte."""
    content = bytearray(path.read_bytes())
    content[offset] ^= 1
    path.write_bytes(content)
    return f"flipped a bit of byte {offset} of {len(content)}"


def cut(database: Path, count: int) -> str:
    """Delete the last `count` entries as carefully as one can without the signing key."""
    with closing(sqlite3.connect(database)) as connection, connection:
        (size,) = connection.execute("SELECT count(*) FROM log_leaf").fetchone()
        left = size - count
        connection.execute("DELETE FROM log_leaf WHERE idx >= ?", (left,))
        connection.execute("DELETE FROM log_opening WHERE idx >= ?", (left,))
        connection.execute("DELETE FROM log_node WHERE ((idx + 1) << level) > ?", (left,))
        connection.execute("DELETE FROM log_checkpoint WHERE size > ?", (left,))
    return f"deleted the last {count} of {size} entries"


if __name__ == "__main__":
    action, target, number = sys.argv[1:]
    print({"flip": flip, "cut": cut}[action](Path(target), int(number)))
