"""torch.save, the distributed checkpoint, and background saving: published whole, never plain on a disk, read as data only."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import pickle
import random
import struct
import threading
from fractions import Fraction

import pytest
import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint import CheckpointException
from torch.distributed.checkpoint.metadata import MetadataIndex

import hermetic
from hermetic.assets.checkpoints import OlderCheckpoint
from hermetic.domain import project
from hermetic.errors import FormatError, IntegrityError, NotFound, PolicyDenied, UsageError
from hermetic.formats.messages import versions
from hermetic.formats.messages.policy import ApplyPolicy
from hermetic.integrations import torch as sealed
from hermetic.integrations.torch.states import load_data

NAME = "checkpoint/risk"
pytestmark = pytest.mark.filterwarnings("ignore:torch.distributed is disabled:UserWarning")


class Odd:
    """A class that nobody allowed."""


def state_of(text, value=1.0):
    raw = torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8)
    return {"model": {"w": torch.full((300, 400), value), "planted": raw}, "step": 7, "note": text}


@pytest.fixture(autouse=True)
def purpose(monkeypatch):
    monkeypatch.setenv("HERMETIC_PURPOSE", "train")


def same(one, other):
    if isinstance(one, dict):
        return set(one) == set(other) and all(same(value, other[key]) for key, value in one.items())
    return torch.equal(one, other) if torch.is_tensor(one) else one == other


def test_a_state_comes_back_and_leaves_no_trace(real, traces, nothing_left, domain, monkeypatch):
    monkeypatch.chdir(domain)
    state = state_of(traces.text)

    def save_sealed():
        with real.run("train", purpose="train"):
            assert sealed.save(state, NAME, data_class="internal").ref == f"{NAME}@1"
            assert same(sealed.load(NAME), state)
            assert same(sealed.resume(NAME)[1], state)

    nothing_left(plain=lambda: torch.save(state, "plain.pt"), sealed=save_sealed)


def test_torchs_own_calls_on_file_objects(real, traces, nothing_left, domain, monkeypatch):
    monkeypatch.chdir(domain)
    state = state_of(traces.text)

    def save_sealed():
        with real.checkpoint(NAME, data_class="internal") as saved, saved.open("model.pt") as file:
            torch.save(state, file)
        with real.open(NAME, purpose="train") as file:
            assert same(torch.load(file, weights_only=True), state)

    nothing_left(plain=lambda: torch.save(state, "plain.pt"), sealed=save_sealed)


def test_distributed_checkpoint(real, traces, nothing_left, domain, monkeypatch):
    monkeypatch.chdir(domain)
    state = state_of(traces.text)
    empty = {"model": {"w": torch.zeros(300, 400), "planted": torch.zeros(len(traces.raw), dtype=torch.uint8)}, "step": 0, "note": ""}

    def save_sealed():
        with real.run("train", purpose="train"):
            writer = sealed.SealedWriter(NAME, data_class="internal", thread_count=2)
            dcp.save(state, storage_writer=writer, no_dist=True)
            assert writer.version.ref == f"{NAME}@1"
            assert ".metadata" in [member.path for member in real.members(NAME)]
            dcp.load(empty, storage_reader=sealed.SealedReader(NAME), no_dist=True)

    nothing_left(plain=lambda: dcp.save(state, checkpoint_id="plain", no_dist=True), sealed=save_sealed)
    assert same(empty, state)


def test_one_release_for_a_load_of_many_files(real, releases):
    writer = sealed.SealedWriter(NAME, data_class="internal", thread_count=4)
    state = {f"w{number}": torch.full((50, 50), float(number)) for number in range(8)}
    dcp.save(state, storage_writer=writer, no_dist=True)
    assert len(real.members(NAME)) == 5
    target = {name: torch.zeros(50, 50) for name in state}
    dcp.load(target, storage_reader=sealed.SealedReader(NAME), no_dist=True)
    assert same(target, state)
    assert releases() == 1


def test_an_asynchronous_save_is_published_when_it_is_complete(real):
    with real.run("train", purpose="train"):
        writer = sealed.SealedWriter(NAME, data_class="internal")
        state = {"w": torch.ones(1000, 1000)}
        future = dcp.async_save(state, storage_writer=writer, no_dist=True)
        state["w"].zero_()  # training goes on
        future.result()
        target = {"w": torch.zeros(1000, 1000)}
        dcp.load(target, storage_reader=sealed.SealedReader(NAME), no_dist=True)
    assert torch.equal(target["w"], torch.ones(1000, 1000))
    assert writer.version.ref == f"{NAME}@1"


def test_a_writer_is_not_sent_to_another_process(real):
    writer = sealed.SealedWriter(NAME, data_class="internal")
    with pytest.raises(UsageError, match="stays in its process"):
        pickle.dumps(writer)


def test_a_save_that_fails_leaves_nothing(real, domain, monkeypatch):
    class Breaking(dcp.DefaultSavePlanner):
        def resolve_data(self, item):
            raise ZeroDivisionError

    writer = sealed.SealedWriter(NAME, data_class="internal")
    with pytest.raises(CheckpointException, match="ZeroDivisionError"):
        dcp.save({"w": torch.ones(3)}, storage_writer=writer, planner=Breaking(), no_dist=True)
    with pytest.raises(NotFound):
        real.show(NAME)
    assert list((domain / "sealed").rglob("*.sealed")) == []
    dcp.save({"w": torch.ones(3)}, storage_writer=writer, no_dist=True)
    assert writer.version.ref == f"{NAME}@1"


def test_background_saving(real):
    with real.run("train", purpose="train"), sealed.BackgroundSaver(NAME, data_class="internal") as saver:
        weights = torch.zeros(500, 500)
        for step in range(3):
            weights += 1
            saver.save({"w": weights, "step": step, "more": [weights, (1, 2)]})
        weights.zero_()
        assert saver.wait().ref == f"{NAME}@3"
    for number in (1, 2, 3):
        state = sealed.load(f"{NAME}@{number}")
        assert torch.equal(state["w"], torch.full((500, 500), float(number)))
        assert torch.equal(state["more"][0], state["w"])
    assert threading.active_count() == 1


def test_what_fails_in_the_background_is_raised_later(real, monkeypatch):
    ask = real.connection.ask

    def refusing(request):
        if isinstance(request, versions.PublishVersion):
            raise PolicyDenied("no more")
        return ask(request)

    with real.run("train", purpose="train"):
        saver = sealed.BackgroundSaver(NAME, data_class="internal")
        saver.save({"w": torch.ones(3)})
        saver.wait()
        monkeypatch.setattr(real.connection, "ask", refusing)
        saver.save({"w": torch.ones(3)})
        with pytest.raises(PolicyDenied):
            saver.save({"w": torch.ones(3)})
        monkeypatch.setattr(real.connection, "ask", ask)
        assert saver.wait().ref == f"{NAME}@1"
        with pytest.raises(ZeroDivisionError), saver:
            saver.save({"w": torch.ones(3)})
            1 / 0  # noqa: B018
    assert real.show(NAME).number == 2


def test_pickles_that_are_more_than_data_are_refused(real, domain):
    sealed.save({"odd": Odd()}, NAME, data_class="internal")
    with pytest.raises(PolicyDenied, match=r"more than tensors.*Odd"):
        sealed.load(NAME)
    for content in (b"", b"PK\x03\x04 and no archive", b"not of torch at all"):
        real.seal(content, name=NAME)
        with pytest.raises(FormatError, match=f"torch cannot read {NAME}"):
            sealed.load(NAME)


def test_policy_allows_globals_by_name(real, domain):
    state = {"rate": Fraction(1, 3), "w": torch.ones(2)}
    sealed.save(state, NAME, data_class="internal")
    dcp.save(state, storage_writer=sealed.SealedWriter("checkpoint/dcp", data_class="internal"), no_dist=True)
    with pytest.raises(PolicyDenied, match=r"fractions\.Fraction") as refused:
        sealed.load(NAME)
    assert "pickles:" in refused.value.hint
    with (domain / "hermetic.yaml").open("a") as file:
        file.write("pickles: [fractions.Fraction]\n")
    with pytest.raises(PolicyDenied):
        sealed.load(NAME)  # an edited file is not a policy in force
    real.connection.ask(ApplyPolicy(project.load(domain).bundle().to_bytes()))
    assert sealed.load(NAME)["rate"] == Fraction(1, 3)
    target = {"rate": None, "w": torch.zeros(2)}
    dcp.load(target, storage_reader=sealed.SealedReader("checkpoint/dcp"), no_dist=True)
    assert target["rate"] == Fraction(1, 3)


def test_a_distributed_checkpoint_is_read_as_data(real, tmp_path):
    writer = sealed.SealedWriter(NAME, data_class="internal")
    dcp.save({"odd": Odd(), "w": torch.ones(2)}, storage_writer=writer, no_dist=True)
    target = {"odd": None, "w": torch.zeros(2)}
    with pytest.raises(CheckpointException, match="more than tensors"):
        dcp.load(target, storage_reader=sealed.SealedReader(NAME), no_dist=True)
    folder = tmp_path / "hostile"
    folder.mkdir()
    (folder / ".metadata").write_bytes(pickle.dumps(Odd()))
    real.seal(folder, name=NAME)
    with pytest.raises(CheckpointException, match=r"the metadata names .*Odd"):
        dcp.load(target, storage_reader=sealed.SealedReader(NAME), no_dist=True)
    real.seal(b"", name=NAME)
    with pytest.raises(CheckpointException, match=r"has no file '\.metadata'"):
        dcp.load(target, storage_reader=sealed.SealedReader(NAME), no_dist=True)


def test_a_tampered_checkpoint_is_not_resumed_from(real, domain):
    for value in (1.0, 2.0):
        sealed.save({"w": torch.full((10, 10), value)}, NAME, data_class="internal")
    (path,) = (domain / "sealed" / real.show(NAME).version).glob("*.sealed")
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.chmod(0o600)
    path.write_bytes(raw)
    with pytest.raises(IntegrityError, match=f"{NAME}@2 is not what was published"):
        sealed.resume(NAME)
    with pytest.raises(hermetic.IntegrityError):
        sealed.load(NAME)
    with pytest.warns(OlderCheckpoint):
        ref, state = sealed.resume(NAME, fall_back=True)
    assert ref == f"{NAME}@1"
    assert torch.equal(state["w"], torch.full((10, 10), 1.0))
    assert sealed.exists(NAME)
    assert not sealed.exists("checkpoint/none")


def metadata_of(h, ref):
    with h.open(f"{ref}/.metadata", purpose="evaluate") as file:
        return pickle.loads(file.read())


def publish_metadata(h, name, content):
    with h.checkpoint(name, data_class="internal") as saved, saved.open(".metadata") as file:
        file.write(content)


def test_tensors_are_not_taken_from_another_asset(real):
    for name, value in (("checkpoint/a", 1.0), ("checkpoint/secret", 777.0)):
        dcp.save({"w": torch.full((4,), value)}, storage_writer=sealed.SealedWriter(name, data_class="internal"), no_dist=True)
    metadata = metadata_of(real, "checkpoint/a@1")
    for index, place in metadata.storage_data.items():
        metadata.storage_data[index] = dataclasses.replace(place, relative_path=f"checkpoint/secret@1/{place.relative_path}")
    publish_metadata(real, "checkpoint/evil", pickle.dumps(metadata))
    target = {"w": torch.zeros(4)}
    with pytest.raises(CheckpointException, match="no part of it"):
        dcp.load(target, storage_reader=sealed.SealedReader("checkpoint/evil"), no_dist=True)
    assert torch.equal(target["w"], torch.zeros(4))


def test_metadata_changes_no_class(real):
    before = MetadataIndex.__eq__
    word = b"X" + struct.pack("<I", 6) + b"__eq__"
    named = b"ctorch.distributed.checkpoint.metadata\nMetadataIndex\n"
    publish_metadata(real, "checkpoint/evil", b"\x80\x02" + named + b"(N}" + word + b"ctorch\nSize\nstb.")
    with pytest.raises((CheckpointException, pickle.UnpicklingError, FormatError)):
        sealed.SealedReader("checkpoint/evil").read_metadata()
    assert MetadataIndex.__eq__ is before


def test_damaged_files_are_refused_as_such(real):
    buffer = io.BytesIO()
    torch.save(state_of("damaged"), buffer)
    chance, raw = random.Random(7), buffer.getvalue()
    for number in range(200):
        changed = bytearray(raw)
        for _ in range(chance.randint(1, 4)):
            changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
        with contextlib.suppress(FormatError, PolicyDenied):  # nothing else is raised
            load_data(real.session, io.BytesIO(bytes(changed)), f"number {number}")


def test_loads_in_threads_do_not_take_each_others_globals(real, domain):
    with (domain / "hermetic.yaml").open("a") as file:
        file.write("pickles: [fractions.Fraction]\n")
    real.connection.ask(ApplyPolicy(project.load(domain).bundle().to_bytes()))
    sealed.save({"a": Fraction(1, 3)}, "checkpoint/fraction", data_class="internal")
    failures = []

    def load():
        for _ in range(20):
            try:
                sealed.load("checkpoint/fraction")
            except PolicyDenied as error:
                failures.append(error)

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
