"""Helper processes of a campaign: they do what custody would do by itself, nothing depends on them, and keys do not stay with them."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import sys
import threading
from multiprocessing.connection import Pipe
from pathlib import Path
from types import SimpleNamespace

import pytest

from hermetic.crypto.secret import Secret
from hermetic.custody import pacing, rewrap_helper, rewrapping
from hermetic.custody.rewrap_helper import Gone, Helper, Helpers
from hermetic.custody.rewrap_rows import Job, RowMover, asset_of
from hermetic.db import tables
from hermetic.errors import RowTampered
from hermetic.formats.messages import keys
from hermetic.keys import hierarchy
from hermetic.keys import kek as keks
from tests import world as w

COUNT = 6


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Two keys a batch, and helpers for any number of keys, as on a machine with two processors."""
    for name, value in {"START": 2, "STEP": 2, "LEAST": 2, "MOST": 2}.items():
        monkeypatch.setattr(pacing, name, value)
    monkeypatch.setattr(rewrapping, "HELPED", 1)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {0, 1})


@pytest.fixture
def pages(monkeypatch):
    """Who worked out each page: "helper" or "here"."""
    found, there, here = [], Helper.moved, RowMover.moved

    def by_helper(self, rows):
        answer = there(self, rows)
        found.append("helper")
        return answer

    def by_us(self, rows):
        found.append("here")
        return here(self, rows)

    monkeypatch.setattr(Helper, "moved", by_helper)
    monkeypatch.setattr(RowMover, "moved", by_us)
    return found


@pytest.fixture
def port(world):
    port = world.port()
    for number in range(COUNT):
        w.seal(port, f"dataset/n{number}")
    yield port
    port._custodian.helpers.close()


def rotated(port):
    (row,) = port.ask(keys.ListKeys()).keys
    port.ask(keys.RotateKey(row.kek))
    return row.kek


def opened(port):
    """The data keys, as bytes."""
    return [w.key_of(port, item.lease) for item in w.open_(port, *(f"dataset/n{number}" for number in range(COUNT))).released]


def waiting(port):
    """The helpers that wait for their next job."""
    return [*port._custodian.helpers._idle]


def test_a_helper_moves_keys_as_custody_does(port, pages):
    before = opened(port)
    kek = rotated(port)
    assert port.ask(keys.RewrapKey(kek)) == keys.Rewrapped(kek, 2, COUNT, 0)
    assert pages == ["helper"] * (COUNT // 2)
    assert opened(port) == before
    assert len(set(before)) == COUNT
    (helper,) = waiting(port)
    port.ask(keys.RotateKey(kek))
    assert port.ask(keys.RewrapKey(kek)).moved == COUNT
    assert waiting(port) == [helper]  # the same one


@pytest.mark.parametrize("when", ["before", "between"])
def test_one_that_is_killed_is_done_without(port, pages, monkeypatch, when):
    before, kek = opened(port), rotated(port)
    plain = Helper.moved

    def killed(self, *given):
        if when == "before" or pages:
            os.kill(self._process.pid, signal.SIGKILL)
            self._process.wait()
        return plain(self, *given)

    monkeypatch.setattr(Helper, "moved", killed)
    assert port.ask(keys.RewrapKey(kek)).moved == COUNT
    assert pages == (["here"] * 3 if when == "before" else ["helper", "here", "here"])
    assert waiting(port) == []
    assert opened(port) == before


def test_one_that_ended_while_it_waited_is_replaced(port, pages):
    kek = rotated(port)
    port.ask(keys.RewrapKey(kek))
    (helper,) = waiting(port)
    os.kill(helper._process.pid, signal.SIGKILL)
    port.ask(keys.RotateKey(kek))
    assert port.ask(keys.RewrapKey(kek)).moved == COUNT
    assert set(pages) == {"helper"}
    assert waiting(port)[0] is not helper


def test_one_that_stands_still_is_done_without(port, pages, monkeypatch):
    kek = rotated(port)
    monkeypatch.setattr(rewrap_helper, "ANSWER_S", 0.2)
    plain = Helper.begin

    def stopped(self, *given):
        monkeypatch.setattr(rewrap_helper, "ANSWER_S", 30)
        plain(self, *given)
        monkeypatch.setattr(rewrap_helper, "ANSWER_S", 0.2)
        os.kill(self._process.pid, signal.SIGSTOP)

    monkeypatch.setattr(Helper, "begin", stopped)
    assert port.ask(keys.RewrapKey(kek)).moved == COUNT
    assert pages == ["here"] * 3
    assert waiting(port) == []  # what it says later is nobody's answer


@pytest.mark.parametrize("program", ["/nowhere/python", "/bin/true"])
def test_without_a_helper_it_goes_on_and_says_so(port, pages, monkeypatch, caplog, program):
    kek = rotated(port)
    monkeypatch.setattr(sys, "executable", program)
    assert port.ask(keys.RewrapKey(kek)).moved == COUNT
    assert pages == ["here"] * 3
    assert "rewrapped without" in caplog.text


def test_several_requests_share_the_helpers_of_a_process(port):
    helpers = port._custodian.helpers
    with looked_up(port) as (job, given, _), helpers.lent(job, given) as first:
        assert first.qsize() == 1
        with helpers.lent(job, given) as second:
            assert second.qsize() == 0
    with helpers.lent(job, given) as third:
        assert third.qsize() == 1


def test_one_processor_has_no_helper(port, pages, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {0})
    assert port.ask(keys.RewrapKey(rotated(port))).moved == COUNT
    assert pages == ["here"] * 3


def test_a_row_changed_by_hand_is_told_in_custodys_words(port, pages):
    kek = rotated(port)
    database = port._custodian.database
    with database.write(None) as session:
        session.connection.execute(tables.data_key.update().values(wrapped=b"x" * 96))
    with pytest.raises(RowTampered, match="data_key was changed by hand"):
        port.ask(keys.RewrapKey(kek))
    assert pages[0] == "helper"  # which said "do this one yourself"
    assert len(waiting(port)) == 1


@pytest.mark.parametrize("asset", [None, "\N{LATIN SMALL LETTER A WITH ACUTE}", b"raw", 7])
def test_what_stands_beside_a_row_and_is_no_id_is_a_change_by_hand(asset):
    with pytest.raises(RowTampered, match=r"is gone|has no asset"):
        asset_of(("a", asset), "k1")


@contextlib.contextmanager
def looked_up(port):
    """A job, its three keys, and the rows."""
    custodian = port._custodian
    kek = rotated(port)
    with custodian.database.read(custodian.row_keys) as session:
        whole = keks.get(session, kek)
        loaded = [hierarchy.load_kek(session, custodian.anchors, kek, number) for number in (1, 2)]
        job = Job(custodian.domain, whole.context(1), whole.context(2))
        rows = job.bulk(custodian.row_keys.mac).page(session, after="", limit=10)
    yield job, (custodian.row_keys.mac, *loaded), rows


@contextlib.contextmanager
def begun(port):
    """A helper with the keys of a job, and those."""
    with looked_up(port) as (job, given, rows):
        helper = Helper()
        try:
            helper.begin(job, given)
            yield helper, given, rows
        finally:
            helper.close()


def test_one_that_reads_no_more_keeps_nobody_waiting(port, monkeypatch):
    """A page is more than what lies between two processes: sending waits as well."""
    with begun(port) as (helper, _, rows):
        monkeypatch.setattr(rewrap_helper, "ANSWER_S", 0.2)
        rewrap_helper.limit_waiting(helper._line.fileno())
        os.kill(helper._process.pid, signal.SIGSTOP)
        with pytest.raises(Gone):
            helper.moved([*rows, [b"x" * 4_000_000]])
        assert helper._process.returncode is not None


def test_one_of_another_release_is_given_nothing_to_do(port, pages, monkeypatch, caplog):
    """As after an upgrade under a service that runs: what it would write is of the new release."""
    kek = rotated(port)
    monkeypatch.setattr(rewrap_helper, "READY", ("ready", "0.0.9"))
    assert port.ask(keys.RewrapKey(kek)).moved == COUNT
    assert pages == ["here"] * 3
    assert "rewrapped without" in caplog.text


def test_whatever_goes_wrong_its_next_answer_is_to_no_other_question(port, pages, monkeypatch):
    kek = rotated(port)
    plain, failed = Helper._answer, []

    def short_of_memory(self):
        if pages and not failed:
            failed.append(self)
            raise MemoryError
        return plain(self)

    monkeypatch.setattr(Helper, "_answer", short_of_memory)
    with pytest.raises(MemoryError):
        port.ask(keys.RewrapKey(kek))
    assert waiting(port) == []
    assert failed[0]._process.returncode is not None
    assert port.ask(keys.RewrapKey(kek)).left == 0


def test_it_ends_when_custody_is_gone_though_a_child_of_custody_has_its_line(port, monkeypatch):
    """A program that forked has every file of custody's, and may stay."""
    ours, theirs = Pipe()
    monkeypatch.setattr(rewrap_helper, "LOOK_S", 0.01)
    monkeypatch.setattr(sys, "argv", ["-c", str(os.dup(theirs.fileno())), "1"])  # somebody else's child
    with ours, theirs:
        rewrap_helper.main()


@pytest.mark.parametrize(
    ("flags", "expected"), [({"isolated": 1}, "-I"), ({"ignore_environment": 1}, "-E"), ({"no_user_site": 1}, "-s"), ({}, "-P")]
)
def test_it_imports_from_no_more_places_than_custody(monkeypatch, flags, expected):
    names = ("isolated", "ignore_environment", "no_user_site")
    monkeypatch.setattr(sys, "flags", SimpleNamespace(**{name: flags.get(name, 0) for name in names}))
    said = rewrap_helper.interpreter()
    assert said[0] == sys.executable
    assert said[-1] == expected
    assert "-P" in said or "-I" in said


@pytest.mark.parametrize("frozen", [True, False])
def test_a_program_that_is_no_interpreter_is_not_started_again(port, pages, monkeypatch, caplog, frozen):
    kek = rotated(port)
    monkeypatch.setattr(sys, "frozen", frozen, raising=False)
    monkeypatch.setattr(sys, "executable", sys.executable if frozen else None)
    assert port.ask(keys.RewrapKey(kek)).moved == COUNT
    assert pages == ["here"] * 3
    assert "rewrapped without" in caplog.text


def test_a_forked_child_does_not_wait_for_the_parents_threads():
    helpers = Helpers()
    helpers._lock.acquire()
    helpers._pid = os.getppid()  # as it is after a fork, while another thread of the parent had the lock
    helpers.close()


def test_keys_are_in_neither_arguments_nor_environment_and_no_core_is_written(port, monkeypatch):
    monkeypatch.setenv("HERMETIC_PASSPHRASE_FD", "planted")
    with begun(port) as (helper, given, rows):
        place = f"/proc/{helper._process.pid}"
        said = b"".join(Path(place, name).read_bytes() for name in ("cmdline", "environ"))
        assert not any(bytes(key.view()) in said or bytes(key.view()).hex().encode() in said for key in given)
        assert b"planted" not in said
        assert resource.prlimit(helper._process.pid, resource.RLIMIT_CORE) == (0, 0)
        assert len(helper.moved(rows)) == 6 * COUNT


def in_memory(helper, key):
    """How often a key stands in a helper's memory."""
    found, needle = 0, bytes(key.view())
    with Path(f"/proc/{helper._process.pid}/maps").open() as maps, Path(f"/proc/{helper._process.pid}/mem").open("rb", 0) as memory:
        for line in maps:
            span, mode, *_, name = line.split()
            if "r" in mode and not name.startswith("[v"):  # vvar and vsyscall are the kernel's
                start, end = (int(text, 16) for text in span.split("-"))
                memory.seek(start)
                found += memory.read(end - start).count(needle)
    return found


def test_no_key_is_left_in_its_memory_after_a_request(port):
    with begun(port) as (helper, given, rows):
        assert helper.moved(rows)
        assert all(in_memory(helper, key) for key in given)
        helper.end()
        with looked_up(port) as (job, _, _):
            helper.begin(job, tuple(Secret.random() for _ in range(3)))  # it answers once the request before has ended
        assert [in_memory(helper, key) for key in given[1:]] == [0, 0]


def test_it_ends_when_custody_is_gone(port):
    with begun(port) as (helper, _, _):
        helper._line.close()
        assert helper._process.wait(10) == 0


def test_it_ends_when_nothing_comes(port, monkeypatch):
    monkeypatch.setattr(rewrap_helper, "IDLE_S", 0)
    ended, plain = threading.Event(), Helper.close
    monkeypatch.setattr(Helper, "close", lambda self: (plain(self), ended.set()))
    assert port.ask(keys.RewrapKey(rotated(port))).moved == COUNT
    assert ended.wait(30)
    assert waiting(port) == []


@pytest.mark.parametrize("ending", ["the request ends", "custody hangs up"])
def test_keys_are_wiped(port, monkeypatch, ending):
    """The same code in this process, where its secrets can be looked at."""
    seen, plain = [], rewrap_helper._read_key
    monkeypatch.setattr(rewrap_helper, "_read_key", lambda line: seen.append(plain(line)) or seen[-1])
    with looked_up(port) as (job, given, _):
        ours, theirs = Pipe()
        with theirs:
            with ours:
                for key in given:
                    os.write(ours.fileno(), key.view())
                if ending == "the request ends":
                    ours.send(None)
                    rewrap_helper._serve(theirs, job, os.getppid())
            if ending == "custody hangs up":
                with pytest.raises((EOFError, OSError)):
                    rewrap_helper._serve(theirs, job, os.getppid())
    assert [len(key) for key in seen] == [0, 0, 0]


def test_a_forked_child_takes_none_along(port):
    helpers = port._custodian.helpers
    port.ask(keys.RewrapKey(rotated(port)))
    (helper,) = waiting(port)
    helpers._pid = -1  # as a child sees it
    assert helpers._taken() is None
    helper.close()
    with pytest.raises(Gone):
        helper.end()
    assert isinstance(helpers, Helpers)
