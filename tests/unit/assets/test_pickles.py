"""Pickles import only what the policy in force names; everything else is refused before it is called."""

from __future__ import annotations

import datetime as dt
import os
import pickle
import subprocess
from collections import OrderedDict

import numpy as np
import pytest

from hermetic.domain import project
from hermetic.errors import FormatError, IntegrityError, PolicyDenied
from hermetic.formats.messages.policy import ApplyPolicy
from tests.unit.assets.real import domain, domain_template, real  # noqa: F401 - fixtures

NUMPY = "[numpy.dtype, numpy.ndarray, numpy._core.multiarray._reconstruct, numpy._core.numeric._frombuffer]"


class Calls:
    """An object whose pickle calls something."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


def sealed(h, content):
    h.seal(content, name="model/object", member="object.pkl")


def load(h):
    return h.load_pickle("model/object", purpose="evaluate")


def allow(h, folder, listed):
    file = folder / "hermetic.yaml"
    file.write_text(f"{file.read_text()}\npickles: {listed}\n")
    h.connection.ask(ApplyPolicy(project.load(folder).bundle().to_bytes()))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_data_needs_no_permission(real, protocol):  # noqa: F811
    value = {"a": [1, 2.5, None, True], "b": {1, 2}, "c": OrderedDict(x="y"), "d": (3j, frozenset({1}))}
    if protocol >= 3:  # older ones call a codec for bytes
        value |= {"e": dt.date(2026, 1, 2), "f": b"bytes"}
    sealed(real, pickle.dumps(value, protocol))
    assert load(real) == value


@pytest.mark.parametrize(
    ("evil", "name"),
    [
        (Calls(os.system, "touch owned"), "system"),
        (Calls(subprocess.Popen, ["touch", "owned"]), "subprocess.Popen"),
        (Calls(eval, "open('owned', 'w')"), "builtins.eval"),
        (Calls(getattr, os, "system"), "builtins.getattr"),
        (Calls(__import__, "os"), "builtins.__import__"),
        (np.ones(3), "numpy"),
    ],
    ids=["os.system", "Popen", "eval", "getattr", "import", "array"],
)
@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_what_is_not_listed_is_refused_before_it_is_called(real, domain, evil, name, protocol):  # noqa: F811
    try:
        content = pickle.dumps(evil, protocol)
    except TypeError:
        content = pickle.dumps(Calls(getattr, "", "upper"), protocol)  # a module cannot be an argument
    sealed(real, content)
    with pytest.raises(PolicyDenied) as failure:
        load(real)
    assert failure.value.exit_code == 3
    assert name in failure.value.message
    assert "pickles:" in failure.value.hint
    assert ("add it" in failure.value.hint) is (name == "numpy")  # what `policy apply` refuses is not asked for
    assert not (domain / "owned").exists()


def test_what_the_policy_in_force_lists_is_imported(real, domain):  # noqa: F811
    array = np.arange(12.0).reshape(3, 4)
    sealed(real, pickle.dumps({"weights": array, "names": np.array(["a", "b"])}))
    file = domain / "hermetic.yaml"
    before = file.read_text()
    file.write_text(f"{before}\npickles: {NUMPY}\n")
    with pytest.raises(PolicyDenied):  # edited, not in force
        load(real)
    file.write_text(before)
    allow(real, domain, NUMPY)
    np.testing.assert_array_equal(load(real)["weights"], array)
    sealed(real, pickle.dumps(Calls(os.system, "touch owned")))
    with pytest.raises(PolicyDenied):
        load(real)


def test_attributes_of_what_is_listed_are_not_followed(real, domain):  # noqa: F811
    allow(real, domain, "[numpy.dtype, numpy.f2py.os.system]")
    for module, name in (("numpy", "f2py.os.system"), ("numpy.f2py", "os.system"), ("numpy", "dtype.__init__")):
        sealed(real, b"\x80\x04" + pickle.SHORT_BINUNICODE + bytes([len(module)]) + module.encode() + pickle.SHORT_BINUNICODE
               + bytes([len(name)]) + name.encode() + pickle.STACK_GLOBAL + b".")  # fmt: skip
        with pytest.raises(PolicyDenied):
            load(real)


@pytest.mark.parametrize("raw", [b"", b"garbage", pickle.dumps([1])[:-3], b"\x80\x04P1\n.", b"cnumpy\ndtype\n", b"\x80\x04K\x01Q."])
def test_what_is_no_pickle_is_refused_as_that(real, raw):  # noqa: F811
    sealed(real, raw)
    with pytest.raises((FormatError, PolicyDenied)):
        load(real)


def test_what_listed_code_raises_is_an_error_of_ours(real, domain):  # noqa: F811
    allow(real, domain, "[numpy.dtype]")
    sealed(real, pickle.dumps(Calls(np.dtype, "no such dtype")))
    with pytest.raises(FormatError, match="TypeError"):
        load(real)


def test_damage_is_found_before_anything_is_unpickled(real, domain):  # noqa: F811
    version = real.seal(pickle.dumps(list(range(1000))), name="model/object", member="object.pkl")
    path = domain / "sealed" / version.version / "0.sealed"
    raw = bytearray(path.read_bytes())
    raw[700] ^= 1
    path.write_bytes(raw)
    with pytest.raises(IntegrityError):
        load(real)


def built_on(module, name):
    """A pickle that sets an attribute of a class, function or module by BUILD, as one of protocol 2 can."""
    word = b"X" + len(b"__add__").to_bytes(4, "little") + b"__add__"
    return b"\x80\x02c" + module.encode() + b"\n" + name.encode() + b"\n(N}" + word + b"cbuiltins\nrange\nstb."


@pytest.mark.parametrize("content", [built_on("decimal", "Decimal"), built_on("builtins", "set")], ids=["python", "c"])
def test_no_pickle_changes_a_class(h, content):
    import decimal

    before = decimal.Decimal.__add__
    h.seal(content, name="model/p", data_class="internal", member="p.pkl")
    with pytest.raises(FormatError):
        h.load_pickle("model/p", purpose="evaluate")
    assert decimal.Decimal.__add__ is before
    assert "__add__" not in vars(set)


def test_a_file_of_torch_save_is_named(h):
    h.seal(b"PK\x03\x04" + bytes(100), name="model/p", data_class="internal", member="p.pt")
    with pytest.raises(FormatError, match="is an archive and no pickle") as failure:
        h.load_pickle("model/p", purpose="evaluate")
    assert failure.value.hint == "a file of torch.save is read by hermetic.integrations.torch.load"


def test_objects_with_a_state_are_read(h):
    import collections

    made = collections.OrderedDict(a=1)
    made.note = "kept in its __dict__"
    h.seal(pickle.dumps(made), name="model/p", data_class="internal", member="p.pkl")
    found = h.load_pickle("model/p", purpose="evaluate")
    assert (found, found.note) == (made, made.note)
