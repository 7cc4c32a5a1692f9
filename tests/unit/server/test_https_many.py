"""More than fits into one message, through HTTPS: many versions at once, a long catalogue, a long log."""

from __future__ import annotations

import contextlib

import pytest

from hermetic.assets import releases
from hermetic.assets.workspace import Workspace
from hermetic.domain.connect import connect
from hermetic.domain.custody_place import URL
from hermetic.errors import UsageError
from hermetic.formats.messages.versions import OpenVersions
from hermetic.ids import Purpose
from tests import backends
from tests import world as w
from tests.world import World

MANY = 1000


@pytest.fixture(scope="module")
def far(tmp_path_factory):
    """A connection to custody behind HTTPS, as the library has it, and the world it is of."""
    world = World.make(tmp_path_factory.mktemp("many") / "world")
    with contextlib.closing(world):
        w.seal(world.port(), "dataset/a")
        served = backends.serving("service", world.home, world.domain, world.root)
        with served as url, pytest.MonkeyPatch.context() as environment:
            environment.setenv(URL, url)
            with connect(world.project, home=world.home) as connection:
                yield connection, world


def test_many_versions(far):
    """The library asks for as many in one request as custody takes: 1,000 are five, each on record, in the order asked."""
    connection, world = far
    h = Workspace(connection)
    before = w.kinds(world.ports[0]).count("release.intent")
    found = h.open_many(["dataset/a@1", "dataset/a"] * (MANY // 2), purpose="prepare")
    assert {version.ref for version in found} == {"dataset/a@1"}
    assert len({version.leased.lease.id for version in found}) == MANY
    assert w.kinds(world.ports[0]).count("release.intent") - before == MANY // releases.APART
    for version in found:
        version.leased.wipe()
    with pytest.raises(UsageError, match="at most 200 versions"):
        connection.ask(OpenVersions(w.fresh(), ("dataset/a",) * (releases.APART + 1), Purpose.PREPARE))
