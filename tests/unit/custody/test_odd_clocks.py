"""A clock that says something impossible is refused before anything is written; what the log holds stays readable."""

import os

import pytest

from hermetic.errors import FormatError, HermeticError, NotFound, UsageError
from hermetic.formats.messages.log import ReadLog, VerifyLog
from tests.world import START, enrol, open_, seal


@pytest.mark.parametrize("now", [-1, -(10**15), 2**53 - 1, 2**53, 2**63, 10**30])
def test_no_clock_spoils_the_log(world, now):
    port = world.port()
    seal(port)
    world.clock.now = now
    for ask in (lambda: open_(port, "dataset/patients"), lambda: seal(port, "dataset/other"), lambda: enrol(port)):
        with pytest.raises(HermeticError):
            ask()
    world.clock.now = START
    open_(port, "dataset/patients")
    assert port.ask(VerifyLog()).size


def test_a_pipe_in_place_of_the_pins_is_refused(world):
    world.connect().close()
    (path,) = world.home.config.glob("*/pins.json")
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(FormatError, match="not a regular file"):
        world.connect()


def test_words_that_cannot_be_there(world):
    port = world.port()
    for kind in ("\udcff", "%", "release_intent"):
        with pytest.raises(UsageError, match="kinds of entries"):
            port.ask(ReadLog(limit=1, kind=kind))
    for kind, hint in (("relase", "release"), ("release.intnet", "release.intent"), ("xx", "kinds begin with access, approval")):
        with pytest.raises(UsageError, match="no entry is of a kind") as refused:
            port.ask(ReadLog(limit=1, kind=kind))
        assert hint in refused.value.hint
    assert not port.ask(ReadLog(limit=1, kind="package")).rows  # there is such a kind, and no entry
    with pytest.raises(NotFound):
        enrol(port, "a\0b")
