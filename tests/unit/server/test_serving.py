"""Whom separated custody never answers: its own user, and the number that stands for all users that its namespace lacks."""

from __future__ import annotations

import contextlib
import os

import pytest

from hermetic.domain import serving
from hermetic.domain.serving import SeparatedCustody, nameless_user
from hermetic.errors import Denied, NotAuthenticated
from hermetic.formats.messages.greeting import Hello
from tests import world as w


@pytest.fixture
def world(tmp_path, monkeypatch):
    made = w.World.make(tmp_path / "world")
    monkeypatch.setenv("HERMETIC_HOME", str(made.root / "home"))
    yield made
    made.close()


def test_its_own_user(world):
    """Whoever holds the root is not restrained by asking a service of theirs, and no entry is to say so."""
    with SeparatedCustody(world.project) as custody:
        with pytest.raises(Denied, match="not kept apart"):
            custody.ask_for(os.geteuid(), Hello())
        with pytest.raises(NotAuthenticated, match="not known"):
            custody.ask_for(os.geteuid() + 1, Hello())


def test_users_that_the_namespace_lacks(world, monkeypatch):
    """Somebody was enrolled under the number that the kernel gives for anybody of outside: it is refused all the same."""
    with contextlib.closing(world.port()) as port:
        w.enrol(port, "nobody", ("auditor",))
    for nameless, answered in ((None, True), (65534, False)):
        monkeypatch.setattr(serving, "nameless_user", lambda nameless=nameless: nameless)
        with SeparatedCustody(world.project) as custody:
            assert custody.knows(65534) is answered
            if answered:
                assert custody.ask_for(65534, Hello()).enforcement == "separated"
                continue
            with pytest.raises(NotAuthenticated, match="no user of the user namespace"):
                custody.ask_for(65534, Hello())


@pytest.mark.parametrize(
    ("mapped", "expected"),
    [
        ("         0          0 4294967295\n", None),
        ("0 100000 65536\n", 65533),
        ("0 1000 1\n1 100000 65535\n", 65533),
        ("0 0 1\n1 1 4294967294\n", None),
        ("", 65533),
        ("what is this", 65534),
    ],
)
def test_what_the_kernel_maps(tmp_path, mapped, expected):
    for name, content in (("self/uid_map", mapped), ("sys/kernel/overflowuid", "65533\n")):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    assert nameless_user(tmp_path) == expected


def test_what_cannot_be_read_maps_nobody_else(tmp_path):
    assert nameless_user(tmp_path) == 65534
