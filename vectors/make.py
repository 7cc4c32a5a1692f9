"""Write every vector of sealed objects and manifests anew; the bytes are the same on every run.

    python vectors/make.py                 write into this folder
    python vectors/make.py --into FOLDER   write elsewhere, to compare

Randomness is SHAKE-256 of the scenario's name, so these objects must never hold anything real.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import make_manifests  # noqa: E402 - found beside this file
import make_object_edges  # noqa: E402
import make_objects  # noqa: E402


def main() -> None:
    """Write all scenarios below the folder given."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--into", type=Path, default=HERE)
    folder = parser.parse_args().into
    objects = make_objects.files()
    files = {**objects, **make_object_edges.files(objects), **make_manifests.files()}
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        raw = content if isinstance(content, bytes) else (json.dumps(content, indent=1, sort_keys=True) + "\n").encode()
        path.write_bytes(raw)
    print(f"{len(files)} files", file=sys.stderr)


if __name__ == "__main__":
    main()
