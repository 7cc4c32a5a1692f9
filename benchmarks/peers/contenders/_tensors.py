"""What every work on tensors shares: every page is touched, and what was loaded can be compared."""

import hashlib

ONE = "layer.000.weight"  # 16 MiB


def touch(tensors):
    """Read a byte of every page, so that what was only mapped is there."""
    import torch

    for tensor in tensors.values():
        tensor.reshape(-1).view(torch.uint8)[::4096].sum().item()
    return tensors


def digest(tensors):
    """Return a digest of names, shapes, types and bytes."""
    import torch

    found = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        found.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        found.update(memoryview(tensor.contiguous().reshape(-1).view(torch.uint8).numpy()))
    return found.hexdigest()


def weights(folder):
    """Return the plain tensors, in memory of their own."""
    import numpy as np
    import torch

    head, data = _raw(folder / "weights.safetensors")
    return {
        name: torch.from_numpy(np.frombuffer(data[place["data_offsets"][0] : place["data_offsets"][1]], np.float16).copy()).reshape(
            place["shape"]
        )
        for name, place in head.items()
    }


def _raw(path):
    import json
    import mmap

    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        head = json.loads(file.read(length))
        return head, memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))[8 + length :]
