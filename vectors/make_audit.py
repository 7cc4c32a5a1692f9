"""Write every vector of the audit log anew; the bytes are the same on every run.

    python vectors/make_audit.py                 write into this folder
    python vectors/make_audit.py --into FOLDER   write elsewhere, to compare

Keys, ids and salts are fixed and public, so nothing real may ever be logged with them.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import make_log_edges  # noqa: E402 - found beside this file
import make_logs  # noqa: E402


def main() -> None:
    """Write all scenarios below the folder given."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--into", type=Path, default=HERE)
    folder = parser.parse_args().into
    made = {**make_logs.files(), **make_log_edges.files()}
    for name, scenario in made.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes((json.dumps(scenario, indent=1, sort_keys=True) + "\n").encode())
    print(f"{len(made)} files", file=sys.stderr)


if __name__ == "__main__":
    main()
