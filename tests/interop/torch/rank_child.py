"""One of several ranks that save and load a distributed checkpoint: `python rank_child.py RANK RANKS MEETING_FILE`."""

from __future__ import annotations

import sys

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Shard, distribute_tensor

from hermetic.integrations.torch import SealedReader, SealedWriter

NAME = "checkpoint/ranks"


def main() -> None:
    rank, ranks = int(sys.argv[1]), int(sys.argv[2])
    dist.init_process_group("gloo", init_method=f"file://{sys.argv[3]}", rank=rank, world_size=ranks)
    try:
        mesh = init_device_mesh("cpu", (ranks,))
        whole = torch.arange(4000.0).view(400, 10)
        state = {"sharded": distribute_tensor(whole, mesh, [Shard(0)]), f"own-{rank}": torch.full((5,), float(rank)), "step": 3}
        writer = SealedWriter(NAME, data_class="internal")
        dcp.save(state, storage_writer=writer)
        dist.barrier()
        target = {"sharded": distribute_tensor(torch.zeros(400, 10), mesh, [Shard(0)]), f"own-{rank}": torch.zeros(5), "step": 0}
        dcp.load(target, storage_reader=SealedReader(NAME))
        assert torch.equal(target["sharded"].full_tensor(), whole)
        assert torch.equal(target[f"own-{rank}"], torch.full((5,), float(rank)))
        assert target["step"] == 3
        print(writer.version.ref if writer.version else "none", flush=True)
    finally:
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
