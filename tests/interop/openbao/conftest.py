"""One server for all tests that leave it as it was, and one of its own for those that seal, kill or restart it.

Each test has a transit key, a policy and a token of its own, so that nothing is shared but the server.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest

from hermetic.ids import DomainId, id_from_bytes
from hermetic.keys.provider import RootId
from hermetic.providers.place import Place
from hermetic.providers.registry import create_root, open_provider
from tests.interop import baoserver

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def bao(tmp_path_factory):
    with baoserver.running(tmp_path_factory.mktemp("bao")) as server:
        server.do("POST", "sys/mounts/transit", {"type": "transit"})
        yield server


@pytest.fixture
def own_bao(tmp_path):
    """A server that a test may hurt."""
    folder = tmp_path / "bao"
    folder.mkdir()
    with baoserver.running(folder) as server:
        server.do("POST", "sys/mounts/transit", {"type": "transit"})
        yield server


@dataclass
class Seat:
    """Where one test works: a server, a key of its own, a folder, settings for a root."""

    server: baoserver.Bao
    folder: Path
    key: str
    settings: dict[str, str]
    namespace: str = ""

    @property
    def uri(self) -> str:
        return f"openbao:transit/{self.key}"

    def do(self, method, path, body=None):
        return self.server.do(method, path, body, namespace=self.namespace)

    def give(self, name, text):
        """Write a private file and return its path as a setting."""
        path = self.folder / name
        path.touch(0o600)
        path.write_text(text)
        return str(path)

    def place(self, *, clock=None, **settings):
        place = Place(self.folder, DomainId(fresh()), RootId(fresh()), settings={**self.settings, **settings})
        return place if clock is None else replace(place, boot=clock)

    def create(self, place=None):
        return create_root(self.uri, place or self.place())

    def open(self, provider_or_place, **settings):
        """Open the same root again, as another process would, with other settings besides."""
        place = getattr(provider_or_place, "place", provider_or_place)
        return open_provider(self.uri, replace(place, settings={**place.settings, **settings}))


def fresh() -> str:
    return id_from_bytes(secrets.token_bytes(16))


def seat(server, folder, *, namespace="", **token):
    key = f"hermetic-{secrets.token_hex(6)}"
    server.policy(key, baoserver.root_policy(key, creating=True), namespace=namespace)
    given = Seat(server, folder, key, {"address": server.address, "ca": str(server.ca)}, namespace)
    given.settings["token_file"] = given.give("token", server.new_token(key, namespace=namespace, **token))
    return given


@pytest.fixture
def desk(bao, tmp_path):
    return seat(bao, tmp_path)


@pytest.fixture
def own_desk(own_bao, tmp_path):
    return seat(own_bao, tmp_path)
