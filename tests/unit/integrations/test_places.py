"""Paths of hermetic://, and those that are refused."""

from __future__ import annotations

import pathlib

import pytest

from hermetic.errors import InvalidName
from hermetic.integrations.places import parse, strip


@pytest.mark.parametrize(
    ("path", "stripped"),
    [
        ("hermetic://dataset/a", "dataset/a"),
        ("dataset/a", "dataset/a"),
        ("/dataset/a/", "dataset/a"),
        ("hermetic://", ""),
        ("", ""),
        ("hermetic://dataset/a@3/x y/\u00e9.csv", "dataset/a@3/x y/\u00e9.csv"),
        ("dataset/*.parquet", "dataset/*.parquet"),
        (pathlib.PurePosixPath("dataset/a"), "dataset/a"),
    ],
)
def test_strip(path, stripped):
    assert strip(path) == stripped


@pytest.mark.parametrize(
    "path",
    [
        "sealed::file:///x",
        "hermetic::file:///x",
        "simplecache::hermetic://dataset/a",
        "file:///x",
        "hermetic://s3://bucket/x",
        "dataset/../x",
        "dataset/./x",
        "dataset//x",
        "dataset\\x",
        "dataset/a\nb",
        "dataset/\u202ex",
        b"dataset/a",
        "dataset/" + "n" * 10_000,
    ],
)
def test_what_is_refused(path):
    with pytest.raises(InvalidName):
        strip(path)


def test_where_the_name_ends():
    exact = parse("dataset/a/b@3/c/d@e")
    assert (str(exact.name), exact.number, exact.member) == ("dataset/a/b", 3, "c/d@e")
    assert parse("dataset/a@latest").number is None
    assert [(str(name), member) for name, member in parse("dataset/a/b/c=1/d").candidates()] == [
        ("dataset/a", "b/c=1/d"),
        ("dataset/a/b", "c=1/d"),
    ]
    assert parse("dataset").candidates() == ()
    assert parse("scratch/a@b").is_scratch


@pytest.mark.parametrize("path", ["patients", "tmp/x", "dataset/a@0", "dataset/a@x", "dataset/a@", "dataset/a b@1"])
def test_what_is_no_place(path):
    with pytest.raises(InvalidName):
        parse(path)
