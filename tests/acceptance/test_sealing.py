"""Capabilities SC1, SC2, SC3, SC6, SC10, SG1, DP2, KM1, KM9, KM10: sealed artifacts and their keys."""

from __future__ import annotations

import os
import random
import sys
import time

import pytest

import hermetic
from hermetic.errors import HermeticError, IntegrityError, KeyUnusable
from tests.acceptance.conftest import CONFIG, NOTEBOOK, ROWS

LONGEST_S = 60  # to wait for a lease to notice; restricted data checks every 5 s


def objects(pipeline):
    return sorted((pipeline.project / "sealed").rglob("*.sealed"))


def test_SC1_one_key_a_version_and_none_beside_the_data(pipeline):
    keys = pipeline.rows("SELECT id, version_id, wrapped FROM data_key")
    assert len({version for _, version, _ in keys}) == len(keys)
    beside = b"".join(path.read_bytes() for path in (pipeline.project / "sealed").rglob("*") if path.is_file())
    assert all(wrapped not in beside for _, _, wrapped in keys if wrapped)


def test_SC2_random_access_and_streams_of_unknown_length(pipeline):
    reader, writer = os.pipe()
    chance, content = random.Random(7), random.Random(8).randbytes(3_000_001)
    if (child := os.fork()) == 0:
        os.close(reader)
        with os.fdopen(writer, "wb") as out:
            out.write(content)
        os._exit(0)
    os.close(writer)
    with hermetic.connect() as h:
        with os.fdopen(reader, "rb") as stream:
            h.seal(stream, name="dataset/stream", data_class="internal")
        os.waitpid(child, 0)
        with h.open("dataset/stream") as file:
            for _ in range(50):
                at, count = chance.randrange(len(content)), chance.randrange(300_000)
                file.seek(at)
                assert file.read(count) == content[at : at + count]


def test_SC2_every_change_of_the_stored_bytes_is_noticed(pipeline):
    with hermetic.connect() as h:
        version = h.show("config/training").version
    (path,) = (pipeline.project / "sealed" / version).glob("*.sealed")
    good = path.read_bytes()
    path.chmod(0o600)
    changes = [good[:-1], good + b"\0", good[:-20], b"", *(flipped(good, at) for at in range(0, len(good), 7))]
    for changed in changes:
        path.write_bytes(changed)
        with pytest.raises(HermeticError), hermetic.connect() as h, h.open("config/training") as file:
            file.read()
    path.write_bytes(good)
    with hermetic.connect() as h, h.open("config/training") as file:
        assert file.read() == CONFIG


def flipped(raw, at):
    return raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]


def test_SC3_names_labels_and_columns_are_nowhere_in_plain(pipeline):
    words = (b"patients", b"model/risk", b"LABEL-MARKER", b"NOTEBOOK-MARKER", b"MARKER-0", b"learning_rate", b"names removed")
    own = {pipeline.project / "hermetic.yaml", pipeline.project / "train.py"}  # the user's own files name what they are about
    found = {(word, path) for path, raw in pipeline.everything_on_disk().items() for word in words if word in raw and path not in own}
    assert found == set()


def test_SC6_configurations_notebooks_and_archives_come_back(pipeline):
    with hermetic.connect() as h:
        for name, content in (("config/training", CONFIG), ("config/notebook", NOTEBOOK)):
            with h.open(name) as file:
                assert file.read() == content


def test_SC10_plaintext_is_on_record_with_its_duration_and_scratch_ends_with_its_run(pipeline):
    assert pipeline.hermetic("expose", "dataset/patients", "plain.csv", "--for", "1h", "--purpose", "prepare").code == 0
    assert (pipeline.project / "plain.csv").read_bytes() == ROWS
    assert pipeline.hermetic("expose", "--end", "plain.csv").code == 0
    assert not (pipeline.project / "plain.csv").exists()
    (row,) = pipeline.hermetic("expose", "--all", "--json").json["exposures"]
    assert row["ended_ms"] > row["started_ms"]
    scratch = pipeline.rows("SELECT wrapped FROM data_key WHERE state != 'active'")
    assert scratch == [(None,)]  # the run's scratch key is gone for good


def test_SG1_signed_at_creation_and_verified_without_the_key(pipeline):
    assert pipeline.hermetic("verify", "model/risk").code == 0
    version = pipeline.hermetic("show", "model/risk", "--json").json["version"]
    for name in ("0.sealed", "manifest.json"):
        path = pipeline.project / "sealed" / version / name
        good = path.read_bytes()
        path.chmod(0o600)
        path.write_bytes(flipped(good, len(good) // 2))
        assert pipeline.hermetic("verify", "model/risk").code == 4
        path.write_bytes(good)
    with hermetic.connect() as h, h.open("model/risk", purpose="evaluate") as file:
        assert file.read() == b"weights"


def test_SG1_a_tampered_artifact_never_loads(pipeline):
    version = pipeline.hermetic("show", "model/risk", "--json").json["version"]
    path = pipeline.project / "sealed" / version / "0.sealed"
    path.chmod(0o600)
    path.write_bytes(flipped(path.read_bytes(), path.stat().st_size // 2))
    with pytest.raises(IntegrityError), hermetic.connect() as h, h.open("model/risk", purpose="evaluate") as file:
        file.read()


def test_DP2_what_a_run_leaves_on_disk_holds_no_plaintext(pipeline):
    script = (
        "import sys, tempfile, hermetic\n"
        "with hermetic.connect() as h, h.open('dataset/patients') as file: raw = file.read()\n"
        "kept = tempfile.NamedTemporaryFile(delete=False); kept.write(raw); kept.flush(); print(kept.name)\n"
    )
    control = pipeline.project / "control.bin"
    control.write_bytes(ROWS)  # the search finds what is there
    done = pipeline.hermetic("run", "look", "--purpose", "prepare", "--json", "--", sys.executable, "-c", script)
    assert done.code == 0, done.err
    left = {path for path, raw in pipeline.everything_on_disk().items() if b"MARKER-0" in raw}
    assert left == {control}
    temporary = next(line for line in done.err.splitlines() if line.startswith("/"))
    assert not os.path.exists(temporary)  # noqa: PTH110 - it may have lain in a mount that only the run saw


def test_KM1_hierarchy_and_blast_radius(pipeline):
    keys = pipeline.hermetic("key", "ls", "--json").json["keys"]
    assert {(key["environment"], key["data_class"]) for key in keys} == {
        ("development", name) for name in ("internal", "confidential", "restricted")
    }
    assert all(key["roots"] == ["local:insecure-file"] for key in keys)
    restricted = next(key for key in keys if key["data_class"] == "restricted")
    assert set(restricted["assets"]) == {"dataset/patients", "features/raw"}
    shown = pipeline.hermetic("key", "show", restricted["kek"]).out
    assert "Blast radius: 2 assets" in shown


def test_KM9_a_revoked_key_leaves_memory_within_the_time_of_the_class(pipeline, record_property):
    with hermetic.connect() as h:
        h.seal(bytes(8 << 20), name="dataset/large", data_class="restricted", parents=())
    kek = pipeline.hermetic("show", "dataset/large", "--json").json["kek"]
    with hermetic.connect() as h, h.open("dataset/large", purpose="prepare") as file:
        assert file.read(4) == bytes(4)
        assert pipeline.hermetic("key", "revoke", kek, "--reason", "lost laptop").code == 0
        start = time.monotonic()
        with pytest.raises(HermeticError) as refused:
            while time.monotonic() < start + LONGEST_S:
                for place in (6 << 20, 0):  # what is in the file's buffer is out already
                    file.seek(place)
                    file.read(4)
                time.sleep(0.05)
    assert refused.value.exit_code == 3
    record_property("summary", f"KM9: {time.monotonic() - start:.1f} s from revocation to no access (restricted checks every 5 s)")


def test_KM10_every_key_operation_is_on_record(pipeline):
    kek = pipeline.hermetic("show", "dataset/patients", "--json").json["kek"]
    for verb in ("rotate", "suspend", "resume", "revoke"):
        assert pipeline.hermetic("key", verb, kek, "--reason", "drill").code == 0
    with pytest.raises(KeyUnusable), hermetic.connect() as h:
        h.open("dataset/patients", purpose="prepare")
    kinds = [item["kind"] for item in pipeline.hermetic("log", "ls", "--json", "--limit", "200").json["entries"]]
    assert {"key.created", "key.rotated", "key.state", "release.intent", "release.outcome", "release.denied"} <= set(kinds)
    assert kinds.count("key.state") >= 3
