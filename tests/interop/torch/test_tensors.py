"""Sealed weights in torch: equal to what safetensors reads from a plain file, for every dtype; no plaintext on any disk."""

from __future__ import annotations

import numpy as np
import pytest
import safetensors
import safetensors.torch as reference
import torch

from hermetic.errors import Unsupported, UsageError
from hermetic.formats.safetensors import BITS, encode_head

DTYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8,
          torch.bool, torch.complex64, torch.uint64, torch.uint32, torch.uint16, torch.float8_e4m3fn, torch.float8_e5m2,
          torch.float8_e4m3fnuz, torch.float8_e5m2fnuz, torch.float8_e8m0fnu, torch.float4_e2m1fn_x2]  # fmt: skip


def raw(tensor):
    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def made(dtype):
    generator = torch.Generator().manual_seed(7)
    values = torch.randint(0, 2 if dtype is torch.bool else 256, (6, 64), generator=generator, dtype=torch.uint8)
    return values.view(dtype)


def load(h, ref="model/all", **options):
    return h.load_tensors(ref, purpose="evaluate", **options)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_dtype_of_torch_goes_in_and_out(real, dtype, tmp_path):
    tensors = {"x": made(dtype), "row": made(dtype)[1], "none": torch.empty((0, 3), dtype=dtype)}
    real.seal_tensors(tensors, name="model/all", data_class="internal")
    found = load(real)
    for name, tensor in tensors.items():
        assert (found[name].dtype, found[name].shape, raw(found[name])) == (tensor.dtype, tensor.shape, raw(tensor))
    with real.open("model/all", member="model.safetensors", purpose="evaluate") as file:
        (tmp_path / "plain.safetensors").write_bytes(file.read())
    with safetensors.safe_open(tmp_path / "plain.safetensors", "pt") as plain:
        theirs = plain.get_tensor("x")
    assert (theirs.dtype, theirs.shape, raw(theirs)) == (dtype, tensors["x"].shape, raw(tensors["x"]))


@pytest.mark.parametrize("dtype", BITS)
def test_every_dtype_of_the_format_is_read_or_refused_by_name(real, dtype):
    shape, data = (4, 8), bytes(range(256))[: 4 * 8 * BITS[dtype] // 8]
    real.seal(encode_head([("x", dtype, shape)]) + data, name="model/all", data_class="internal")
    if dtype.startswith("F6_"):
        with pytest.raises(Unsupported, match=dtype):
            load(real)
    else:
        assert raw(load(real)["x"]) == data


def test_what_safetensors_wrote_is_read(real, tmp_path):
    tensors = {"a": torch.randn(300, 700), "b": torch.randn(5).to(torch.bfloat16), "scalar": torch.tensor(3.0)}
    reference.save_file(tensors, tmp_path / "m.safetensors", {"format": "pt"})
    real.seal(tmp_path / "m.safetensors", name="model/all", data_class="internal")
    found = load(real)
    assert found.keys() == tensors.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in tensors.items())


def test_views_and_conjugates_are_written_as_they_look(real):
    complex_one = torch.randn(4, 3, dtype=torch.complex64)
    base = torch.randn(10, 10)
    tensors = {
        "turned": base.T,
        "part": base[2:5, ::3],
        "conjugate": complex_one.conj(),
        "tied": base,
        "grown": torch.ones(3, requires_grad=True),
    }
    real.seal_tensors(tensors, name="model/all", data_class="internal")
    found = load(real)
    assert all(torch.equal(found[name], tensor.detach().resolve_conj()) for name, tensor in tensors.items())


def test_a_module_is_loaded_and_trains_on(real):
    torch.manual_seed(0)
    model, other = torch.nn.Linear(40, 3), torch.nn.Linear(40, 3)
    real.seal_tensors(model.state_dict(), name="model/all", data_class="internal")
    other.load_state_dict(load(real), assign=True)
    batch = torch.randn(5, 40)
    assert torch.equal(model(batch), other(batch))
    other(batch).sum().backward()
    torch.optim.SGD(other.parameters(), lr=0.1).step()
    assert not torch.equal(model(batch), other(batch))


def test_parts_and_conversion(real):
    tensor = torch.randn(5000, 800)
    real.seal_tensors({"x": tensor}, name="model/all", data_class="internal")
    assert torch.equal(load(real, dtype=torch.bfloat16)["x"], tensor.to(torch.bfloat16))
    assert load(real, device="meta")["x"].device.type == "meta"
    with real.open_tensors("model/all", purpose="evaluate") as file:
        assert torch.equal(file.part("x")[100:120, 3], tensor[100:120, 3])
        assert torch.equal(file.part("x")[-1], tensor[-1])


def test_unaligned_tensors_of_others_are_aligned(real):
    head = encode_head([("a", "U8", (3,)), ("b", "F32", (2,))])
    values = np.array([1.5, -2], "f4")
    real.seal(head + b"abc" + values.tobytes(), name="model/all", data_class="internal")
    assert load(real)["b"].tolist() == [1.5, -2.0]


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor:UserWarning")
def test_sparse_and_quantised_tensors_are_refused(real):
    for tensor in (
        torch.eye(3).to_sparse(),
        torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8),
        torch.empty(3, device="meta"),
    ):
        with pytest.raises(UsageError):
            real.seal_tensors({"x": tensor}, name="model/all", data_class="internal")


def test_nothing_is_left_on_disk(real, traces, nothing_left):
    tensors = {"x": torch.frombuffer(bytearray(traces.raw * 1000), dtype=torch.uint8), traces.text: torch.ones(3)}

    def plain():
        reference.save_file(tensors, "plain.safetensors")
        reference.load_file("plain.safetensors")

    def sealed():
        real.seal_tensors(tensors, name="model/all", data_class="internal")
        assert torch.equal(load(real)["x"], tensors["x"])
        with real.memory_path("model/all", purpose="evaluate") as path, safetensors.safe_open(path, "pt") as file:
            assert torch.equal(file.get_tensor("x"), tensors["x"])

    nothing_left(plain=plain, sealed=sealed)
