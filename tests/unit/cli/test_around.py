"""What `status` looks at beside custody's facts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from hermetic.cli.around import look
from hermetic.cli.out import Out
from hermetic.errors import StorageError
from hermetic.formats.messages.domain import GatherFacts
from tests.unit.assets.real import domain, domain_template, real  # noqa: F401 - fixtures


@pytest.fixture
def sealed(real):  # noqa: F811
    return [real.seal(b"x", name=f"model/{name}", data_class="internal") for name in "ab"]


def test_objects_that_are_gone_are_missing(real, sealed):  # noqa: F811
    real.connection.stores["sealed"].delete(f"{sealed[1].version}/0.sealed")
    assert look(real.connection, Out(), (), real.connection.ask(GatherFacts())).missing == ("model/b",)


def test_what_somebody_else_sealed_in_their_own_clone_is_not_missing(real, sealed, monkeypatch):  # noqa: F811
    real.connection.stores["sealed"].delete(f"{sealed[1].version}/0.sealed")
    facts = real.connection.ask(GatherFacts())
    monkeypatch.setattr(real.connection, "_place", Path("/custody.sock"))
    mine = look(real.connection, Out(), (), facts)
    assert (mine.missing, mine.others) == (("model/b",), ())
    monkeypatch.setattr(real.connection, "welcome", replace(real.connection.welcome, principal="ben"))
    bens = look(real.connection, Out(), (), facts)
    assert (bens.missing, bens.others) == ((), ("model/b",))


def test_a_store_that_gives_no_answer_is_told_once(real, sealed, capsys):  # noqa: F811
    class Silent:
        def exists(self, key):
            raise StorageError("cannot be reached")

    real.connection.stores = {"sealed": Silent()}
    assert look(real.connection, Out(), (), real.connection.ask(GatherFacts())).missing == ()
    assert capsys.readouterr().err.count("cannot be reached") == 1
