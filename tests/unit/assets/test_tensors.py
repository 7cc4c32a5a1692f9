"""Tensors in numpy, from a real domain: equal to what the reference implementation reads, and refused when anything contradicts."""

from __future__ import annotations

import io
import json
import tracemalloc

import numpy as np
import pytest
import safetensors.numpy as reference

from hermetic.assets.sealing import Terms
from hermetic.assets.tensors.frames import frame
from hermetic.errors import FormatError, IntegrityError, NotFound, Unsupported, UsageError
from hermetic.formats.safetensors import TensorPlace
from hermetic.sealed.memory import private_memory
from tests.unit.assets.real import domain, domain_template, real  # noqa: F401 - fixtures

MIB = 1024 * 1024
_RANDOM = np.random.default_rng(7)


def tensors(*, wide=200_000):
    made = {"wide": _RANDOM.random((wide, 3)).astype("f4"), "scalar": np.array(3.5, "f8"), "none": np.ones((0, 4), "i2")}
    for name in ("bool", "u1", "i1", "i2", "u2", "f2", "i4", "u4", "f4", "c8", "f8", "i8", "u8"):
        made[name] = _RANDOM.integers(0, 2, (3, 5)).astype(name)
    return made


def same(found, expected):
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert found[name].dtype == array.dtype
        assert found[name].shape == array.shape
        np.testing.assert_array_equal(found[name], array)


def sealed(h, content, name="model/risk", member="model.safetensors"):
    return h.seal(content, name=name, member=member)


def folder(h, tmp_path, files, name="model/sharded"):
    place = tmp_path / "weights"
    place.mkdir()
    for path, content in files.items():
        (place / path).write_bytes(content)
    return h.seal(place, name=name)


def index(weight_map):
    return json.dumps({"weight_map": weight_map}).encode()


def load(h, ref="model/risk", **options):
    return h.load_tensors(ref, framework="numpy", purpose="evaluate", **options)


def test_all_tensors_are_those_of_the_file(real):  # noqa: F811
    made = tensors()
    sealed(real, reference.save(made))
    same(load(real), made)


def test_a_state_dict_goes_in_and_out(real):  # noqa: F811
    made = tensors()
    version = real.seal_tensors(made, name="model/risk", metadata={"step": "3"}, files={"config.json": b"{}"})
    same(load(real), made)
    with real.open("model/risk", member="model.safetensors", purpose="evaluate") as file:
        raw = file.read()
    same(reference.load(raw), made)
    assert [member.path for member in real.members(version.ref)] == ["config.json", "model.safetensors"]
    with real.open_tensors("model/risk", framework="numpy", purpose="evaluate") as file:
        assert file.metadata == {"step": "3"}


def test_tensors_that_are_not_laid_out_in_rows_are_written_as_rows(real):  # noqa: F811
    made = {"turned": np.arange(12, dtype="f4").reshape(3, 4).T, "every": np.arange(10)[::3], "big": np.arange(5, dtype=">i4")}
    real.seal_tensors(made, name="model/risk")
    found = load(real)
    for name, array in made.items():
        np.testing.assert_array_equal(found[name], array)


def test_some_are_loaded_by_name_in_that_order(real):  # noqa: F811
    made = tensors()
    sealed(real, reference.save(made))
    found = load(real, names=["f8", "wide", "none"])
    assert list(found) == ["f8", "wide", "none"]
    same(found, {name: made[name] for name in found})


def test_tensors_can_be_written_to(real):  # noqa: F811
    sealed(real, reference.save(tensors()))
    found = load(real)
    found["f4"][:] = 9
    same(load(real, names=["f4"]), {"f4": load(real)["f4"]})
    assert (found["f4"] == 9).all()


def test_another_dtype_is_converted_piece_by_piece(real):  # noqa: F811
    made = {"x": _RANDOM.random((6 * MIB, 1)).astype("f4"), "y": np.arange(5, dtype="f4"), "s": np.array(2, "f4")}
    real.seal_tensors(made, name="model/risk")
    same(load(real, dtype="f8"), {name: array.astype("f8") for name, array in made.items()})


def test_memory_is_that_of_the_tensors(real):  # noqa: F811
    made = {f"x{number}": _RANDOM.random((8 * MIB // 4,)).astype("f4") for number in range(4)}
    real.seal_tensors(made, name="model/risk")
    tracemalloc.start()  # what is decrypted in place lies outside of what this counts: it sees the copies
    load(real)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 12 * MIB


@pytest.mark.parametrize(
    "chosen",
    [
        3,
        -1,
        slice(2, 5),
        slice(None),
        slice(None, None, 2),
        slice(4, 2),
        (2, 1),
        (slice(1, 4), slice(None, 2)),
        Ellipsis,
        (Ellipsis, 0),
    ],
)
def test_a_part_is_what_indexing_gives(real, chosen):  # noqa: F811
    made = {"a": np.arange(40, dtype="i4").reshape(8, 5), "b": np.arange(3)}
    real.seal_tensors(made, name="model/risk")
    with real.open_tensors("model/risk", framework="numpy", purpose="evaluate") as file:
        part = file.part("a")
        assert (part.shape, part.dtype) == ((8, 5), "I32")
        np.testing.assert_array_equal(part[chosen], made["a"][chosen])
        np.testing.assert_array_equal(file.tensor("b"), made["b"])


@pytest.mark.parametrize(("chosen", "error"), [(8, IndexError), (-9, IndexError), (slice(3, 1, -1), UsageError), ([1, 2], UsageError)])
def test_a_part_that_is_none_is_refused(real, chosen, error):  # noqa: F811
    real.seal_tensors({"a": np.arange(40).reshape(8, 5), "s": np.array(1)}, name="model/risk")
    with real.open_tensors("model/risk", framework="numpy", purpose="evaluate") as file:
        with pytest.raises(error):
            file.part("a")[chosen]
        with pytest.raises(IndexError):
            file.part("s")[0]
        assert file.part("s")[...] == 1


def test_shards_with_and_without_an_index(real, tmp_path):  # noqa: F811
    one, two = {"a": np.arange(4)}, {"b": np.ones(3, "f2")}
    files = {"m-1.safetensors": reference.save(one), "m-2.safetensors": reference.save(two), "config.json": b"{}"}
    folder(real, tmp_path, files, "model/loose")
    same(load(real, "model/loose"), one | two)
    (tmp_path / "weights").rename(tmp_path / "loose")
    files["m.safetensors.index.json"] = index({"a": "m-1.safetensors", "b": "m-2.safetensors"})
    folder(real, tmp_path, files)
    same(load(real, "model/sharded"), one | two)
    same(load(real, "model/sharded@1/m-2.safetensors"), two)
    same(load(real, "model/sharded", member="m.safetensors.index.json"), one | two)


def test_an_index_below_a_name_of_several_parts(real, tmp_path):  # noqa: F811
    tensors_of = {"a": np.arange(4)}
    files = {"m-1.safetensors": reference.save(tensors_of), "m.safetensors.index.json": index({"a": "m-1.safetensors"})}
    folder(real, tmp_path, files, "model/team/risk")
    same(load(real, "model/team/risk"), tensors_of)


@pytest.mark.parametrize(
    ("weight_map", "why"),
    [
        ({"a": "m-1.safetensors", "b": "m-3.safetensors"}, "does not have"),
        ({"a": "m-1.safetensors", "b": "../m-2.safetensors"}, "does not have"),
        ({"a": "m-1.safetensors", "b": "m-2.safetensors", "c": "m-2.safetensors"}, "'c' into m-2.safetensors, but no shard has it"),
        ({"a": "m-2.safetensors", "b": "m-1.safetensors"}, "'a' into m-2.safetensors, but m-1.safetensors has it"),
        ({"a": "m-1.safetensors", "c": "m-2.safetensors"}, "'b' into nowhere, but m-2.safetensors has it"),
    ],
)
def test_an_index_that_says_something_else_is_refused(real, tmp_path, weight_map, why):  # noqa: F811
    files = {f"m-{number}.safetensors": reference.save({name: np.arange(4)}) for number, name in ((1, "a"), (2, "b"))}
    folder(real, tmp_path, files | {"m.safetensors.index.json": index(weight_map)})
    with pytest.raises(FormatError, match=why):
        load(real, "model/sharded")


def test_a_tensor_in_two_shards_is_refused(real, tmp_path):  # noqa: F811
    folder(real, tmp_path, {f"m-{number}.safetensors": reference.save({"a": np.arange(4)}) for number in (1, 2)})
    with pytest.raises(FormatError, match="two files"):
        load(real, "model/sharded")


def test_pickled_weights_are_refused_with_the_reason(real, tmp_path):  # noqa: F811
    folder(real, tmp_path, {"pytorch_model.bin": b"\x80\x04.", "config.json": b"{}"})
    with pytest.raises(NotFound) as failure:
        load(real, "model/sharded")
    assert "runs code" in failure.value.hint
    with pytest.raises(FormatError, match="runs code"):
        load(real, "model/sharded", member="pytorch_model.bin")


@pytest.mark.parametrize(("names", "error"), [(["nobody"], NotFound), ("f4", UsageError)])
def test_names_that_are_none_are_refused(real, names, error):  # noqa: F811
    sealed(real, reference.save(tensors()))
    with pytest.raises(error):
        load(real, names=names)


def test_a_file_of_another_kind_is_refused(real):  # noqa: F811
    sealed(real, b"id,name\n1,Ana\n", member="data.csv")
    with pytest.raises(FormatError, match="not a safetensors file"):
        load(real)
    sealed(real, b"{}")
    with pytest.raises(FormatError, match="too short"):
        load(real)


def test_a_damaged_object_gives_no_tensor(real, domain):  # noqa: F811
    version = sealed(real, reference.save(tensors(wide=400_000)))
    path = domain / "sealed" / version.version / "0.sealed"
    raw = bytearray(path.read_bytes())
    raw[2 * MIB] ^= 1
    path.write_bytes(raw)
    with pytest.raises(IntegrityError):
        load(real)


def test_what_safetensors_cannot_hold_is_refused(real):  # noqa: F811
    for tensors_of in ({"a": np.array(["x"], object)}, {"a": [1, 2]}, {"a": np.array([1], "f16")}, {}, {3: np.ones(1)}):
        with pytest.raises(UsageError):
            real.seal_tensors(tensors_of, name="model/risk")
    assert real.list("model/*") == ()


def test_frameworks_and_devices(real, monkeypatch):  # noqa: F811
    sealed(real, reference.save(tensors()))
    with pytest.raises(UsageError, match="torch, numpy"):
        real.load_tensors("model/risk", framework="jax", purpose="evaluate")
    with pytest.raises(UsageError, match="cpu"):
        load(real, device="cuda")
    monkeypatch.setitem(__import__("sys").modules, "torch", None)
    with pytest.raises(Unsupported) as failure:
        real.load_tensors("model/risk", purpose="evaluate")
    assert "pip install '.[torch]'" in failure.value.hint


def test_a_member_beside_the_tensors_has_another_name(real):  # noqa: F811
    with pytest.raises(UsageError, match="member of the tensors"):
        real.seal_tensors({"a": np.ones(1)}, name="model/risk", files={"model.safetensors": b""})


def test_terms_are_taken_over(real):  # noqa: F811
    made = real.seal_tensors({"a": np.ones(1)}, name="model/risk", terms=Terms(data_class="restricted", labels=(("stage", "x"),)))
    assert made.data_class == "restricted"


def test_tensors_outlive_the_file_they_came_from(real):  # noqa: F811
    real.seal_tensors({"a": np.arange(5)}, name="model/risk")
    with real.open_tensors("model/risk", framework="numpy", purpose="evaluate") as file:
        found = file.tensor("a")
    assert found.tolist() == [0, 1, 2, 3, 4]
    with pytest.raises(ValueError, match="closed"):
        file.tensor("a")


def test_an_open_stream_can_be_sealed_too(real):  # noqa: F811
    made = {"a": np.arange(5)}
    real.seal(io.BytesIO(reference.save(made)), name="model/risk")
    same(load(real), made)


def raw_file(name, dtype, shape, data):
    head = json.dumps({name: {"dtype": dtype, "shape": shape, "data_offsets": [0, len(data)]}}).encode()
    return len(head).to_bytes(8, "little") + head + data


@pytest.mark.parametrize("shape", [[64], [4, 3]], ids=["one dimension", "odd rows"])
def test_rows_that_end_within_a_byte_are_not_read_apart(real, shape):  # noqa: F811
    sealed(real, raw_file("w", "F4", shape, bytes([0x21] * (np.prod(shape) // 2))))
    with real.open_tensors("model/risk", framework="numpy", purpose="evaluate") as file:
        for rows in (slice(0, 2), 0, slice(None)):
            with pytest.raises(UsageError, match="no whole number of bytes"):
                file.part("w")[rows]


@pytest.mark.parametrize("name", ["numpy", "torch"])
def test_no_tensor_is_made_of_nothing(name):
    if name == "torch":
        pytest.importorskip("torch")
    with pytest.raises(UsageError, match="no bytes to take them from"):
        frame(name).over(private_memory(1), 0, TensorPlace("w", "F32", (2, 3), 0, 0))


def test_an_empty_shape_beyond_the_library_is_refused(real):  # noqa: F811
    sealed(real, raw_file("w", "F32", [0, 2**62], b""))
    with pytest.raises(Unsupported, match="cannot hold"):
        load(real)


def test_what_is_no_tensor_is_named(real):  # noqa: F811
    state = {"layer": np.ones(2)}
    for value, kind in ((state, "dict"), (1, "int")):
        with pytest.raises(UsageError, match=f"'epoch' holds no tensor of torch or numpy but a value of type {kind}") as refused:
            real.seal_tensors({"layer": np.ones(2), "epoch": value}, name="model/n", data_class="internal")
        assert "model.state_dict()" in refused.value.hint
        assert "hermetic.integrations.torch.save" in refused.value.hint
