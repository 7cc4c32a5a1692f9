"""URIs of artifact folders and names of artifacts, which need no MLflow."""

from __future__ import annotations

import pytest

from hermetic.errors import InvalidName
from hermetic.integrations.mlflow.locations import Root


@pytest.mark.parametrize(
    ("uri", "protocol", "path"),
    [
        ("hermetic+file:///data/mlruns", "file", "/data/mlruns"),
        ("hermetic+file:/data/mlruns", "file", "/data/mlruns"),
        ("hermetic+file:/data/mlruns/", "file", "/data/mlruns"),
        ("hermetic+file:///data/my runs/é", "file", "/data/my runs/é"),
        ("hermetic+s3://bucket", "s3", "bucket"),
        ("hermetic+s3://bucket/a/b/", "s3", "bucket/a/b"),
    ],
)
def test_what_is_read(uri, protocol, path):
    assert Root.parse(uri) == Root(protocol, path)


@pytest.mark.parametrize(
    "uri",
    [
        "file:///data",
        "s3://bucket/a",
        "hermetic+gs://bucket/a",
        "HERMETIC+file:///data",
        "hermetic+file:data",
        "hermetic+file://data/mlruns",
        "hermetic+file://localhost/data",
        "hermetic+file:////data",
        "hermetic+file://",
        "hermetic+file:///",
        "hermetic+file:/",
        "hermetic+s3:/bucket/a",
        "hermetic+s3:///a",
        "hermetic+s3:bucket",
        "hermetic+s3://",
        "hermetic+file:///data/../etc",
        "hermetic+file:///data/./x",
        "hermetic+file:///data//x",
        "hermetic+file:///data\\x",
        "hermetic+file:///data\x00x",
        "hermetic+file:///data\n",
        "hermetic+file:///data/%2e%2e/x",
        "hermetic+file:///data?x=1",
        "hermetic+file:///data#x",
        "hermetic+file:///data/sealed::file:///x",
        "hermetic+s3://bucket/s3://other",
        "",
    ],
)
def test_what_is_refused(uri):
    with pytest.raises(InvalidName):
        Root.parse(uri)


@pytest.mark.parametrize("nothing", [None, "", "."])
def test_the_root_itself(nothing):
    assert Root("file", "/data").at(nothing) == "/data"


def test_names_below_the_root_there_and_back():
    root = Root("s3", "bucket/a")
    assert root.at("model/MLmodel") == "bucket/a/model/MLmodel"
    assert root.at("model/") == "bucket/a/model"
    assert root.name_of("bucket/a/model/MLmodel") == "model/MLmodel"
    for elsewhere in ("bucket/ab/c", "bucket/a", "bucket/b"):
        with pytest.raises(InvalidName, match="not below"):
            root.name_of(elsewhere)


@pytest.mark.parametrize("artifact", ["../x", "a/../x", "/etc/passwd", "a//b", "./a", "a\\b", "a\u202eb", "/", ".."])
def test_artifacts_that_could_be_elsewhere_are_refused(artifact):
    with pytest.raises(InvalidName):
        Root("file", "/data").at(artifact)
