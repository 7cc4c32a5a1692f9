"""The command line in this process, on a custody that answers what a test tells it to."""

from __future__ import annotations

import json
import sys
import types
from types import SimpleNamespace
from typing import NamedTuple

import pytest

from hermetic.cli import around, main
from hermetic.policy import defaults
from tests.unit.evidence import sample


class Outcome(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self):
        return json.loads(self.out)


class Told:
    """A connection whose custody answers by message class; a callable answer gets the request, an exception is raised."""

    def __init__(self, root):
        self.answers, self.asked = {}, []
        bundle = defaults.default_bundle(sample.DOMAIN, "cardio")
        self.project = SimpleNamespace(root=root, document=sample.document(), bundle=lambda: bundle)
        self.welcome = sample.welcome()
        self.pins = SimpleNamespace(size=214, checkpoint="note", earlier=("older",), log_keys=("key",), generation=1)
        self.first_use, self.apart, self.environment = False, False, None
        self.stores = {}
        self.config = SimpleNamespace(backup_place=None, backup_objects=False)

    def ask(self, request):
        self.asked.append(request)
        answer = self.answers[type(request)]
        if isinstance(answer, Exception):
            raise answer
        return answer(request) if callable(answer) else answer

    def close(self):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


@pytest.fixture
def hermetic(capfd, monkeypatch, tmp_path):
    """Call the program: `hermetic("ls", "--json").json`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)

    def call(*arguments):
        code = main.run([str(argument) for argument in arguments])
        return Outcome(code, *capfd.readouterr())

    return call


@pytest.fixture
def custody(monkeypatch, tmp_path):
    """The connection that commands get."""
    told = Told(tmp_path)
    module = types.ModuleType("hermetic.domain.connect")
    module.connect = lambda *_, **__: told
    module.ANEW = "anew"  # what a workspace takes from there, where this test is the first to import it
    monkeypatch.setitem(sys.modules, "hermetic.domain.connect", module)
    monkeypatch.setattr(around, "never_pinned", lambda: False)
    monkeypatch.setattr(around, "own", lambda _connection: around.Own(sample.NOW, tmp_path / "config.yaml"))
    monkeypatch.setattr(around, "document_in_force", lambda _session: told.project.document)
    return told
