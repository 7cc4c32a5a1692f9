"""Checkpoints are there whole or not at all, in an open run too, and nothing that was changed is resumed from."""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess

import pytest

import hermetic
from hermetic.assets.checkpoints import OlderCheckpoint
from hermetic.errors import IntegrityError, InvalidName, NotFound, PolicyDenied, UsageError
from hermetic.formats.messages import catalogue
from tests.unit.assets.real import domain, domain_template, python, real  # noqa: F401 - fixtures

NAME = "checkpoint/risk"


def save(h, *contents, name=NAME):
    with h.checkpoint(name, data_class="internal") as saved:
        for number, content in enumerate(contents):
            with saved.open(f"{number}.bin") as file:
                file.write(content)
    return saved.version


def objects(domain, h, ref):  # noqa: F811
    return sorted((domain / "sealed" / h.show(ref).version).glob("*.sealed"))


def damage(domain, h, ref):  # noqa: F811
    (path,) = objects(domain, h, ref)
    path.chmod(0o600)
    with path.open("r+b") as file:
        file.seek(-200, os.SEEK_END)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 1]))


def test_several_files_are_one_version(real):  # noqa: F811
    version = save(real, b"one", b"two")
    assert version.ref == "checkpoint/risk@1"
    with real.version(NAME, purpose="train") as found:
        assert [found.open(member.path).read() for member in found.members] == [b"one", b"two"]


def test_it_is_published_while_its_run_goes_on(real, domain):  # noqa: F811
    data = real.seal(b"data", name="dataset/a", data_class="restricted")
    with real.run("train", purpose="train") as run:
        real.open("dataset/a").read()
        with real.checkpoint(NAME) as saved, saved.open("x") as file:
            file.write(b"1")
        with hermetic.connect(domain) as other:
            details = other.show(NAME)
    assert details.ref == saved.version.ref
    assert (details.run, details.parents, details.data_class) == (run.id, (data.ref,), "restricted")


@pytest.mark.parametrize("where", ["file", "checkpoint"])
def test_an_error_leaves_nothing(real, domain, where):  # noqa: F811
    save(real, b"good")
    with pytest.raises(ZeroDivisionError), real.checkpoint(NAME) as saved:
        file = saved.open("a")
        file.write(b"half")
        if where == "checkpoint":
            file.close()
        1 / 0  # noqa: B018
    assert real.show(NAME).number == 1
    assert len(list((domain / "sealed").rglob("*.sealed"))) == 1
    with pytest.raises(UsageError, match="nothing was published"):
        _ = saved.version


def test_a_file_that_was_given_up_is_not_in_it(real):  # noqa: F811
    with real.checkpoint(NAME, data_class="internal") as saved:
        with pytest.raises(ZeroDivisionError), saved.open("half") as file:
            file.write(b"half")
            1 / 0  # noqa: B018
        dropped = saved.open("dropped")
        dropped.write(b"half")
        del dropped
        gc.collect()
        with saved.open("whole") as file:
            assert file.writable()
            file.write(b"whole")
            assert file.tell() == 5
        with pytest.raises(ValueError, match="closed"):
            file.write(b"more")
    assert [member.path for member in real.members(NAME)] == ["whole"]


def test_what_makes_no_sense_is_refused(real):  # noqa: F811
    with pytest.raises(UsageError, match="still open"), real.checkpoint(NAME, data_class="internal") as saved:
        file = saved.open("a")
    file.discard()
    with pytest.raises(UsageError):
        saved.open("b")
    with pytest.raises(UsageError), real.checkpoint(NAME, data_class="internal"):
        pass  # nothing written
    with pytest.raises(UsageError):
        real.checkpoint(NAME, data_class="internal").open("a")
    with pytest.raises(UsageError, match="secretive"):
        real.checkpoint(NAME, data_class="secretive")
    with pytest.raises(InvalidName):
        real.checkpoint("nothing")
    with real.checkpoint(NAME, data_class="internal") as saved:
        with pytest.raises(UsageError):
            saved.begin()
        with saved.open("a") as file:
            file.write(b"")
    saved.abandon()
    assert real.show(NAME).number == 1


def test_the_newest_is_good(real):  # noqa: F811
    save(real, b"one")
    save(real, b"two")
    found = real.latest_good(NAME)
    assert (found.ref, found.refused, found.verified.objects) == ("checkpoint/risk@2", (), 1)
    with pytest.raises(NotFound):
        real.latest_good("checkpoint/other")


def test_a_tampered_one_is_refused_until_told_otherwise(real, domain):  # noqa: F811
    for content in (b"one", b"two", b"three"):
        save(real, content * 100)
    damage(domain, real, f"{NAME}@3")
    (gone,) = objects(domain, real, f"{NAME}@2")
    gone.unlink()
    before = len(real.connection.ask(log()).rows)
    with pytest.raises(IntegrityError, match="checkpoint/risk@3 is not what was published") as refused:
        real.latest_good(NAME)
    assert "fall_back=True" in refused.value.hint
    assert len(real.connection.ask(log()).rows) == before
    with pytest.warns(OlderCheckpoint, match=r"resumed from checkpoint/risk@1: checkpoint/risk@3 was refused, .*; checkpoint/risk@2"):
        found = real.latest_good(NAME, fall_back=True)
    assert (found.ref, [item.ref for item in found.refused]) == ("checkpoint/risk@1", ["checkpoint/risk@3", "checkpoint/risk@2"])
    row = real.connection.ask(log()).rows[-1]
    assert row.kind == "asset.fallback"
    assert json.loads(row.leaf)["facts"]["version"] == real.show("checkpoint/risk@1").version
    assert "resumed from checkpoint/risk@1" in {pair.name: pair.value for pair in row.opened}["reason"]
    damage(domain, real, f"{NAME}@1")
    with pytest.raises(IntegrityError, match="no version"):
        real.latest_good(NAME, fall_back=True)


def test_a_fallback_that_cannot_be_recorded_is_none(real, domain, monkeypatch):  # noqa: F811
    save(real, b"one" * 100)
    save(real, b"two" * 100)
    damage(domain, real, f"{NAME}@2")
    ask = real.connection.ask

    def refusing(request):
        if isinstance(request, catalogue.RecordDecision):
            raise PolicyDenied("no")
        return ask(request)

    monkeypatch.setattr(real.connection, "ask", refusing)
    with pytest.raises(PolicyDenied):
        real.latest_good(NAME, fall_back=True)


def test_a_catalogue_put_back_is_noticed(real):  # noqa: F811
    save(real, b"one")
    real.connection.pins.pins.versions[real.show(NAME).asset] = 2
    with pytest.raises(IntegrityError, match="was at version 2"):
        real.latest_good(NAME, fall_back=True)


def log():
    from hermetic.formats.messages.log import ReadLog

    return ReadLog(limit=2000)


SAVING = """\
import os, signal, hermetic
h = hermetic.connect()
with h.run("train", purpose="train"):
    for step in range(3):
        with h.checkpoint("checkpoint/risk", data_class="internal") as saved:
            for number in range(2):
                with saved.open(f"{number}") as file:
                    file.write(b"%d" % step * 3_000_000)
                    if (step, number) == (2, 1):
                        print("now", flush=True)
                        signal.pause()
"""


def test_a_killed_process_leaves_what_it_had_published(domain):  # noqa: F811
    process = python(SAVING, stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"now\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    with hermetic.connect() as h:
        assert h.latest_good(NAME).ref == "checkpoint/risk@2"
        with h.version(NAME, purpose="train") as found:
            assert found.open("1").read() == b"1" * 3_000_000
        assert save(h, b"after").ref == "checkpoint/risk@3"


def test_parts_are_verified_with_the_checkpoint_that_names_them(real, domain):  # noqa: F811
    part = save(real, b"part" * 100, name="checkpoint/risk.rank-1")
    with real.checkpoint(NAME, data_class="internal") as saved:
        with saved.open("main") as file:
            file.write(b"main")
        assert saved.publish((part.ref,)).ref == f"{NAME}@1"
        saved.abandon()
        with pytest.raises(UsageError):
            saved.publish()
    assert real.latest_good(NAME).ref == f"{NAME}@1"
    damage(domain, real, part.ref)
    with pytest.raises(IntegrityError, match="checkpoint/risk@1 is not what was published"):
        real.latest_good(NAME)
