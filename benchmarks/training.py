"""A DataLoader's epoch over sealed shards of raw fixed-size records, against the same over plain files in the same run.

    python benchmarks/training.py [--gib 1] [--rounds 5] [--workers 2] [--record 65536] [--batch 64] [--folder DIR]

It needs torch, and says so where there is none: `make interop-torch` makes .environments/torch. No transform; page cache warm; every
round runs each contender once. All read the same batches in the same order:

    plain      a straightforward Dataset: numpy.memmap, one record at a time, torch's own collation
    plain, batched    the same engineering as ours without cryptography: whole batches by preadv into shared memory
    sealed     SealedLoader; workers take their releases, every byte is verified and decrypted, within the measured time

"blocks" is `shuffle=True`. Workers start anew in every epoch, on all sides.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

if importlib.util.find_spec("torch") is None:
    print("needs torch: make interop-torch, then .environments/torch/bin/python benchmarks/training.py")
    sys.exit()

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

import hermetic
from hermetic.domain.create import create_domain
from hermetic.integrations.torch import SealedLoader, SealedRecords

SHARDS = 4


class Plain(Dataset):
    """numpy.memmap, record by record."""

    def __init__(self, folder: Path, size: int) -> None:
        self.paths, self.size = sorted(folder.iterdir()), size
        self.rows = self.paths[0].stat().st_size // size
        self._maps = None

    def __len__(self) -> int:
        return self.rows * len(self.paths)

    def __getitem__(self, index):
        if self._maps is None:
            self._maps = [np.memmap(path, dtype=np.uint8, mode="r").reshape(-1, self.size) for path in self.paths]
        shard, row = divmod(index, self.rows)
        return torch.from_numpy(self._maps[shard][row].copy())


class Batched(Plain):
    """Whole batches, neighbouring records in one call, into the shared memory that torch hands over."""

    def __getitems__(self, indices):
        if self._maps is None:
            self._maps = [os.open(path, os.O_RDONLY) for path in self.paths]
        storage = torch.UntypedStorage._new_shared(len(indices) * self.size)  # noqa: SLF001 - what torch's own collation calls
        out = torch.empty(0, dtype=torch.uint8).set_(storage).view(-1, self.size)
        view, at = memoryview(out.numpy()).cast("B"), 0
        while at < len(indices):
            end = at + 1
            while end < len(indices) and indices[end] == indices[end - 1] + 1 and indices[end] % self.rows:
                end += 1
            shard, row = divmod(indices[at], self.rows)
            os.preadv(self._maps[shard], [view[at * self.size : end * self.size]], row * self.size)
            at = end
        return out


def seconds(loader, records: int) -> float:
    start = time.perf_counter()
    count = sum(batch.shape[0] for batch in loader)
    taken = time.perf_counter() - start
    assert count == records
    return taken


def measure(folder: Path, options) -> None:
    records = SealedRecords("dataset/train", dtype=torch.uint8, shape=(options.record,))
    total = len(records) * options.record / 2**30
    print(f"{total:.1f} GiB, records of {options.record} bytes, batches of {options.batch}, {options.workers} workers")
    print(f"{'order':<12}{'contender':<16}{'GiB/s':>8}{'seconds':>9}{'of plain':>10}")
    for shuffle in (False, True, "full") if options.full else (False, True):
        sealed = SealedLoader(records, batch_size=options.batch, shuffle=shuffle, num_workers=options.workers)
        batches = list(sealed.remaining())
        common = {"batch_sampler": batches, "num_workers": options.workers}
        contenders = {
            "plain": DataLoader(Plain(folder, options.record), **common),
            "plain, batched": DataLoader(Batched(folder, options.record), collate_fn=_same, **common),
            "sealed": sealed,
        }
        taken = {name: [] for name in contenders}
        for turn in range(options.rounds + 1):
            for name, loader in contenders.items():
                sealed.set_epoch(0)
                time_taken = seconds(loader, len(records))
                if turn:  # the first warms up
                    taken[name].append(time_taken)
        median = {name: statistics.median(times) for name, times in taken.items()}
        for name, value in median.items():
            order = {False: "sequential", True: "blocks"}.get(shuffle, shuffle)
            print(f"{order:<12}{name:<16}{total / value:>8.2f}{value:>9.2f}{median['plain'] / value:>9.0%}", flush=True)


def _same(batch):
    return batch


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gib", type=float, default=0.5)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--record", type=int, default=65536)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--full", action="store_true", help="a full permutation too, which decrypts 1 MiB for each record")
    parser.add_argument("--folder", type=Path, help="where the files go, by default a temporary folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        root = Path(name)
        for part in ("home", "project", "shards"):
            (root / part).mkdir(mode=0o700)
        rows = int(options.gib * 2**30) // SHARDS // options.record
        for shard in range(SHARDS):
            with (root / "shards" / f"{shard}.bin").open("wb") as out:
                generator = np.random.default_rng(shard)
                for at in range(0, rows, 1000):
                    out.write(generator.bytes(min(1000, rows - at) * options.record))
        os.environ["HERMETIC_HOME"] = str(root / "home")
        os.chdir(root / "project")
        create_domain(root / "project", provider_uri="local:insecure-file", project_name="bench")
        with hermetic.connect() as h:
            h.seal(root / "shards", name="dataset/train", data_class="internal", purpose="ingest")
            with h.run("bench", purpose="train"):
                measure(root / "shards", options)


if __name__ == "__main__":
    main()
