"""Hermetic as a library, in an embedded domain of its own: every release decided and on record, signature and digests verified.

Like its rivals' imports and keys, imports and the connection to the domain are not timed: each work finds them done, and something
small read before it. The release of what is measured, on record, is.
"""

import os
import shutil

from contenders._tensors import ONE, touch, weights

MODEL, TABLE = "model/bench", "dataset/table"
FILE = "weights.safetensors"


def seal(folder, _variant):
    h = _connect(folder, fresh=True)
    return lambda: h.seal(folder / FILE, name=MODEL, data_class="internal")


def open(folder, _variant):  # noqa: A001
    import hermetic.assets.exposing  # noqa: F401 - see above

    h = _connect(folder)
    for row in h.exposures():  # of the round before
        h.end_exposure(row.path)
    return lambda: h.expose(MODEL, folder / "back", seconds=3600, purpose="prepare")


def save(folder, _variant):
    h = _connect(folder, fresh=True)
    tensors = weights(folder)
    h.seal_tensors({"a": tensors[ONE][:1]}, name="model/small", member=FILE, terms=_terms())
    return lambda: h.seal_tensors(tensors, name=MODEL, member=FILE, terms=_terms())


def load_all(folder, _variant):
    h = _connect_for_tensors(folder)
    return lambda: touch(h.load_tensors(MODEL, purpose="serve"))


def one(folder, _variant):
    h = _connect_for_tensors(folder)
    return lambda: touch(h.load_tensors(MODEL, names=[ONE], purpose="serve"))


def pandas(folder, _variant):
    import pandas as pd

    _read_small_table(folder)
    return lambda: pd.read_parquet(f"hermetic://{TABLE}/table.parquet")


def pyarrow(folder, _variant):
    import fsspec
    import pyarrow.parquet as pq

    _read_small_table(folder)
    return lambda: pq.read_table(f"{TABLE}/table.parquet", filesystem=fsspec.filesystem("hermetic"))


def _connect_for_tensors(folder):
    import torch

    h = _connect(folder)
    if not h.list("model/small"):
        h.seal_tensors({"a": torch.zeros(4)}, name="model/small", member=FILE, terms=_terms())
    h.load_tensors("model/small", purpose="serve")
    return h


def _read_small_table(folder):
    import pandas as pd

    h = _connect(folder)
    if not h.list("dataset/small"):
        pd.DataFrame({"a": [1]}).to_parquet(folder / "small.parquet")
        h.seal(folder / "small.parquet", name="dataset/small", data_class="internal")
        (folder / "small.parquet").unlink()
    h.close()
    pd.read_parquet("hermetic://dataset/small/small.parquet")


def _terms():
    from hermetic.assets.sealing import Terms

    return Terms(data_class="internal")


def _connect(folder, *, fresh=False):
    """Return a workspace on the domain of this folder, which is made if it is not there or a `fresh` one is wanted."""
    import hermetic
    from hermetic.domain.create import create_domain

    place = folder / ("written" if fresh else "api")
    os.environ |= {"HERMETIC_HOME": str(place / "home"), "HERMETIC_PURPOSE": "prepare"}
    if fresh:
        shutil.rmtree(place, ignore_errors=True)
    project = place / "project"
    made = project.exists()
    if not made:
        project.mkdir(parents=True, mode=0o700)
        create_domain(project, provider_uri="local:insecure-file", project_name="bench", backup=place / "backup")
    os.chdir(project)
    h = hermetic.connect()
    h.seal(b"warm", name="dataset/warm", data_class="internal", member="warm")
    with h.open("dataset/warm", purpose="prepare") as file:
        file.read()
    if not (made or fresh):
        h.seal(folder / FILE, name=MODEL, data_class="internal")
        h.seal(folder / "table.parquet", name=TABLE, data_class="internal")
    return h
