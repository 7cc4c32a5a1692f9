"""Hermetic as a library, in an embedded domain of its own: every release decided and on record, signature and digests verified."""

import os
import shutil

from contenders._tensors import ONE, touch, weights

MODEL, TABLE = "model/bench", "dataset/table"
FILE = "weights.safetensors"


def seal(folder, _variant):
    h = _connect(folder, fresh=True)
    return lambda: h.seal(folder / FILE, name=MODEL, data_class="internal")


def open(folder, _variant):  # noqa: A001
    h = _connect(folder)
    for row in h.exposures():  # of the round before
        h.end_exposure(row.path)
    return lambda: h.expose(MODEL, folder / "back", seconds=3600, purpose="prepare")


def save(folder, _variant):
    h = _connect(folder, fresh=True)
    from hermetic.assets.sealing import Terms

    tensors, terms = weights(folder), Terms(data_class="internal")
    return lambda: h.seal_tensors(tensors, name=MODEL, member=FILE, terms=terms)


def load_all(folder, _variant):
    h = _connect(folder)
    return lambda: touch(h.load_tensors(MODEL, purpose="serve"))


def one(folder, _variant):
    h = _connect(folder)
    return lambda: touch(h.load_tensors(MODEL, names=[ONE], purpose="serve"))


def pandas(folder, _variant):
    import pandas as pd

    _connect(folder).close()
    return lambda: pd.read_parquet(f"hermetic://{TABLE}/table.parquet")


def pyarrow(folder, _variant):
    import fsspec
    import pyarrow.parquet as pq

    _connect(folder).close()
    return lambda: pq.read_table(f"{TABLE}/table.parquet", filesystem=fsspec.filesystem("hermetic"))


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
    if not (made or fresh):
        h.seal(folder / FILE, name=MODEL, data_class="internal")
        h.seal(folder / "table.parquet", name=TABLE, data_class="internal")
    return h
