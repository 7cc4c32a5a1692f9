"""Plain safetensors, four ways: mapped, mapped and cloned, read with pread, read as bytes."""

from pathlib import Path

from contenders._tensors import ONE, touch, weights
from safetensors import safe_open
from safetensors.torch import load, load_file, save_file


def save(folder, _variant):
    tensors = weights(folder)
    return lambda: save_file(tensors, str(folder / "saved"))


def load_all(folder, variant):
    path = str(folder / "weights.safetensors")
    ways = {
        "mmap": lambda: load_file(path),
        "clone": lambda: {name: tensor.clone() for name, tensor in load_file(path).items()},
        "pread": lambda: load_file(path, backend="pread"),
        "read": lambda: load(_read(path)),
    }
    return lambda: touch(ways[variant]())


def one(folder, variant):
    more = {"backend": "pread"} if variant == "pread" else {}

    def run():
        with safe_open(str(folder / "weights.safetensors"), framework="pt", **more) as file:
            tensor = file.get_tensor(ONE)
            return touch({ONE: tensor.clone() if variant == "clone" else tensor})

    return run


def _read(path):
    with Path(path).open("rb") as file:
        return file.read()
