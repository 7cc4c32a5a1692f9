"""Capabilities TR1 and TR2: shards and checkpoints, as far as they need no torch. The rest of them is in tests/interop/torch."""

from __future__ import annotations

import multiprocessing
import random
import signal
import subprocess
import sys

import pytest

import hermetic
from hermetic.errors import IntegrityError

RECORD, ROWS = 1000, 500
NAME = "checkpoint/risk"
SAVING = """\
import os, signal, sys
import hermetic
from hermetic import steps

left = int(sys.argv[1])

def reached(name):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)

with hermetic.connect() as h, h.run("train", purpose="train"):
    steps.install(reached)
    for number in range(3):
        with h.checkpoint("checkpoint/risk", data_class="internal") as saved:
            for part in ("model", "optimizer"):
                with saved.open(part) as file:
                    file.write(b"%d" % number * 100_000)
        print(saved.version.ref, flush=True)
"""


def read_some(seed):
    """What a loader's worker does: records from anywhere in all shards."""
    chance = random.Random(seed)
    with hermetic.connect() as h, h.version("dataset/shards@1", purpose="train") as version:
        files = [version.open(member.path) for member in version.members]
        buffer = memoryview(bytearray(RECORD))
        for _ in range(200):
            shard, row = chance.randrange(len(files)), chance.randrange(ROWS)
            assert files[shard].read_at(row * RECORD, buffer) == RECORD
            if bytes(buffer) != bytes([shard, row % 256]) * (RECORD // 2):
                return False
        for file in files:
            file.close()
    return True


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_TR1_workers_read_records_of_all_shards_with_one_release_each(pipeline, method):
    shards = pipeline.root / "shards"
    shards.mkdir()
    for shard in range(4):
        (shards / f"{shard}.bin").write_bytes(b"".join(bytes([shard, row % 256]) * (RECORD // 2) for row in range(ROWS)))
    with hermetic.connect() as h:
        h.seal(shards, name="dataset/shards", data_class="internal", parents=())

    def intents():
        return sum(
            entry["kind"] == "release.intent" for entry in pipeline.hermetic("log", "ls", "--json", "--limit", "500").json["entries"]
        )

    before = intents()
    with multiprocessing.get_context(method).Pool(2) as pool:
        assert pool.map(read_some, [1, 2], chunksize=1) == [True, True]
    assert intents() == before + 2


def test_TR2_a_save_killed_anywhere_leaves_the_last_good_checkpoint(pipeline):
    seen = set()
    for kill_at in (1, 7, 11, 16, 22, 29):
        done = subprocess.run([sys.executable, "-c", SAVING, str(kill_at)], capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode in {0, -signal.SIGKILL}, done.stderr
        published = done.stdout.split()
        with hermetic.connect() as h:
            if not any(row.latest for row in h.list(NAME)):  # the first save was not over
                assert not published
                continue
            good = h.latest_good(NAME)
            assert good.refused == ()
            assert not published or int(good.ref.partition("@")[2]) >= int(published[-1].partition("@")[2])
            with h.version(good.ref, purpose="train") as version:
                model, optimizer = (version.open(part).read() for part in ("model", "optimizer"))
            assert model == optimizer
            assert len(model) == 100_000
            seen.add(good.ref)
    assert len(seen) >= 3


def test_TR2_a_tampered_checkpoint_is_refused_and_a_fallback_is_on_record(pipeline):
    with hermetic.connect() as h:
        for content in (b"one", b"two"):
            with h.checkpoint(NAME, data_class="internal") as saved, saved.open("model") as file:
                file.write(content * 1000)
        (path,) = (pipeline.project / "sealed" / h.show(NAME).version).glob("*.sealed")
        raw = bytearray(path.read_bytes())
        raw[len(raw) // 2] ^= 1
        path.chmod(0o600)
        path.write_bytes(raw)
        with pytest.raises(IntegrityError, match=f"{NAME}@2 is not what was published"):
            h.latest_good(NAME)
        with pytest.warns(UserWarning, match=f"resumed from {NAME}@1"):
            assert h.latest_good(NAME, fall_back=True).ref == f"{NAME}@1"
    (entry,) = pipeline.hermetic("log", "ls", "--json", "--kind", "asset.fallback").json["entries"]
    assert entry["kind"] == "asset.fallback"
