"""Which run a call belongs to."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from hermetic.assets.current import CurrentRun, current_run, entered
from hermetic.assets.session import fresh_id
from hermetic.errors import InvalidName, UsageError


def in_thread(call):
    answers = []

    def work():
        try:
            answers.append(call())
        except UsageError as error:
            answers.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    return answers[0]


def test_nested_and_after():
    one, two = CurrentRun(fresh_id(), "d"), CurrentRun(fresh_id(), "d")
    assert current_run("d") is None
    with entered(one):
        with entered(two):
            assert current_run("d") == two.run
        assert current_run("d") == one.run
        assert current_run("other domain") is None
    assert current_run("d") is None


def test_threads_outside_any_context_belong_to_the_only_run():
    one, two = CurrentRun(fresh_id(), "d"), CurrentRun(fresh_id(), "d")
    with entered(one):
        assert in_thread(lambda: current_run("d")) == one.run
        with entered(two):
            assert isinstance(in_thread(lambda: current_run("d")), UsageError)


def test_the_environment_names_the_run_of_a_child(monkeypatch):
    run = fresh_id()
    monkeypatch.setenv("HERMETIC_RUN", run)
    assert current_run("d") == run
    with entered(CurrentRun(other := fresh_id(), "d")):
        assert current_run("d") == other
    monkeypatch.setenv("HERMETIC_RUN", "../../etc")
    with pytest.raises(InvalidName):
        current_run("d")


def test_processes_started_inside_belong_to_the_run(monkeypatch):
    look = [sys.executable, "-c", "import os; print(os.environ.get('HERMETIC_RUN'))"]

    def seen():
        return subprocess.run(look, capture_output=True, text=True, check=True).stdout.strip()

    one, two = CurrentRun(fresh_id(), "d"), CurrentRun(fresh_id(), "d")
    with entered(one):
        assert seen() == one.run
        with entered(two):
            assert seen() == two.run
        assert seen() == one.run
    assert seen() == "None"
    monkeypatch.setenv("HERMETIC_RUN", outer := fresh_id())
    with entered(one):
        assert seen() == one.run
    assert seen() == outer
