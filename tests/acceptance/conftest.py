"""A small pipeline in a project of its own: raw records, a run that prepares features, a model, a configuration, a notebook."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import sqlite3
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

import hermetic
from hermetic.cli import main
from hermetic.domain import config
from tests.world import World

PASSPHRASE = "an acceptable recovery passphrase"
ROWS = b"name,diagnosis\n" + b"".join(b"MARKER-%05d,benign\n" % number for number in range(3000))
NOTEBOOK = json.dumps({"cells": [], "metadata": {"title": "NOTEBOOK-MARKER"}, "nbformat": 4, "nbformat_minor": 5}).encode()
CONFIG = b"learning_rate: 0.0317\n"
WHY = "names removed"
TRAIN = """\
import hermetic

with hermetic.connect() as h:
    h.open("features/counts").read()
    h.seal(b"weights", name="model/risk", labels=[("stage", "LABEL" + "-MARKER")])
"""


class Done(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self):
        return json.loads(self.out)


class Pipeline:
    """Where everything lies, and the program."""

    def __init__(self, root: Path, call) -> None:
        self.root, self.hermetic = root, call
        self.project, self.home, self.backup = root / "project", root / "home", root / "backup"

    @property
    def database(self) -> Path:
        (found,) = self.home.glob("data/*/custody.db")
        return found

    def rows(self, statement: str, *values: object) -> list[tuple]:
        """Ask the database file, around Hermetic."""
        with sqlite3.connect(self.database) as database:
            return database.execute(statement, values).fetchall()

    def everything_on_disk(self) -> dict[Path, bytes]:
        """Return the bytes of every file of project, store, home and backup place."""
        return {path: path.read_bytes() for path in self.root.rglob("*") if path.is_file()}


@pytest.fixture(scope="session")
def template(tmp_path_factory):
    """Build the pipeline once; tests get copies."""
    root = tmp_path_factory.mktemp("pipeline")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HERMETIC_HOME", str(root / "home"))
        patch.setenv("HOME", str(root / "user"))
        for name in ("project", "backup", "home", "user"):
            (root / name).mkdir(mode=0o700)
        patch.chdir(root / "project")
        (root / "passphrase").write_text(PASSPHRASE)
        arguments = ["--root", "local:insecure-file", "--backup", "../backup", "--recovery-passphrase-file", "../passphrase"]
        assert main.run(["init", *arguments]) == 0
        with hermetic.connect() as h:
            _build(h)
    return root


def _build(h) -> None:
    h.seal(ROWS, name="dataset/patients", data_class="restricted", owner="ana", member="patients.csv")
    with h.run("prepare", purpose="prepare", decisions={"features/counts": ("internal", WHY)}) as run:
        with h.open("dataset/patients") as file:
            count = len(file.read())
        h.seal(b"%d" % count, name="features/raw")
        h.seal(b"%d" % count, name="features/counts")
        with run.scratch.create("half-way") as file:
            file.write(ROWS[:1000])
    Path("train.py").write_text(TRAIN)
    code, _ = h.run_command("train", [sys.executable, "train.py"], purpose="train")
    assert code == 0
    h.seal(CONFIG, name="config/training", data_class="internal", parents=())
    h.seal(NOTEBOOK, name="config/notebook", data_class="confidential", parents=())


@pytest.fixture
def world(tmp_path):
    """A custody with a clock of its own, on which several users can be."""
    made = World.make(tmp_path / "world")
    yield made
    made.close()


@pytest.fixture
def pipeline(template, tmp_path, monkeypatch, capfd):
    """Return a copy of the pipeline in `tmp_path`, in whose project we stand."""
    root = tmp_path / "root"
    shutil.copytree(template, root)
    for file in (root / "home" / "config").glob("*/config.yaml"):
        config.save(file.parent, dataclasses.replace(config.load(file.parent), backup_place=root / "backup"))
    monkeypatch.setenv("HERMETIC_HOME", str(root / "home"))
    monkeypatch.chdir(root / "project")
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr("hermetic.domain.backing.DELAY_S", 3600)  # no copy by timer after the test's folder is gone

    def call(*arguments):
        code = main.run([os.fspath(argument) if isinstance(argument, Path) else str(argument) for argument in arguments])
        return Done(code, *capfd.readouterr())

    return Pipeline(root, call)
