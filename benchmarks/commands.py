"""The shipped commands and calls beside `cp`: seal and expose one large file, peak memory, in one run.

    python benchmarks/commands.py [--mib 1024] [--rounds 7] [--folder DIR]

What peers/run.py says of `cp`, the API and the command, without rivals and without installing anything: `seal` (data key, record,
digests, manifest, syncs of object and folder, backup copy) stands beside `cp` followed by sync of the copy; `expose` (release on
record, every digest checked) beside `cp`, neither of which waits for the disk.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(1, str(Path(__file__).resolve().parent / "peers"))

import _data
import _table
from _contenders import OPEN, SEAL
from run import Peers

from hermetic.bench import place
from hermetic.bench.measuring import RETRIES

LABELS = ("cp", "cp, then sync of the copy", "copy loop in Python", "hermetic, API", "hermetic, command")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--pause", type=float, default=2.0)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    options = parser.parse_args()
    options.works, options.only, options.torch_index, options.retries = f"{SEAL},{OPEN}", "", None, RETRIES
    with place.temporary(options.folder) as folder:
        peers = Peers(folder, options)
        peers.contenders = [one for one in peers.contenders if one.label in LABELS]
        peers.pythons = {one.environment: Path(sys.executable) for one in peers.contenders}
        _data.write(folder, options.mib)
        peers.measure()
    print(f"{options.mib} MiB, {options.rounds} rounds")
    for line in _table.tables(peers.found(), peers.works):
        print(line)
    for label, why in peers.absent.items():
        print(f"{label}: {why}")


if __name__ == "__main__":
    main()
