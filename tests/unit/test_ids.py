"""Ids, names and references: what they are written as is what they are read from."""

from __future__ import annotations

import pytest

from hermetic.errors import InvalidName
from hermetic.ids import AssetName, Ref, check_id, id_from_bytes


@pytest.mark.parametrize(
    ("text", "number", "member", "written"),
    [
        ("dataset/patients", None, "", "dataset/patients"),
        ("dataset/patients@latest", None, "", "dataset/patients"),
        ("hermetic://dataset/patients@3", 3, "", "dataset/patients@3"),
        ("dataset/patients@3/a/b.csv", 3, "a/b.csv", "dataset/patients@3/a/b.csv"),
        ("dataset/patients@latest/a.csv", None, "a.csv", "dataset/patients@latest/a.csv"),
    ],
)
def test_a_reference_is_read_as_it_is_written(text, number, member, written):
    ref = Ref.parse(text)
    assert ref == Ref(AssetName.parse("dataset/patients"), number, member)
    assert str(ref) == written
    assert Ref.parse(written) == ref


@pytest.mark.parametrize(
    "text", ["dataset/a@0", "dataset/a@01", "dataset/a@", "dataset/a@3/../b", "dataset/a::b", "thing/a", "dataset/", 7]
)
def test_anything_else_is_no_reference(text):
    with pytest.raises(InvalidName):
        Ref.parse(text)


def test_an_id_is_sixteen_bytes():
    assert check_id(id_from_bytes(bytes(16))) == "a" * 26
    for raw in (b"", bytes(15), bytes(17)):
        with pytest.raises(InvalidName, match="16 bytes"):
            id_from_bytes(raw)


@pytest.mark.parametrize("text", ["a" * 25, "a" * 27, "A" * 26, "a" * 25 + "b", "1" * 26, 7])
def test_anything_else_is_no_id(text):
    with pytest.raises(InvalidName):
        check_id(text)
