"""A disk that fails after the act itself: whoever asked is told that it is done, and the rest is done by who looks next."""

from __future__ import annotations

import pytest

from hermetic import steps
from hermetic.errors import KeyUnusable, StorageError
from hermetic.formats.certificate import parse_certificate
from hermetic.formats.messages.destruction import ShowCertificate
from hermetic.formats.messages.greeting import Hello
from hermetic.formats.messages.signing import ListSigningKeys, RotateSigningKey
from tests.unit.custody.approving import to_shred
from tests.world import kinds, open_, seal

REF = "dataset/patients@1"


@pytest.fixture(autouse=True)
def no_hook():
    yield
    steps.install(None)


def full_at(step):
    def hook(name):
        if name == f"{step}.before":
            raise StorageError("the disk is full; nothing was written", hint="make room")

    steps.install(hook)


def test_a_shred_is_told_as_done(world):
    port = world.port()
    seal(port)
    request = to_shred(port, REF)
    full_at("custody.certificate.made")
    with pytest.raises(StorageError, match="it is destroyed, and that is on record; its certificate waits") as caught:
        port.ask(request)
    assert "connects next" in (caught.value.hint or "")
    steps.install(None)
    with pytest.raises(KeyUnusable, match="was shredded"):
        open_(port, REF)
    port.ask(Hello())
    assert parse_certificate(port.ask(ShowCertificate(REF)).payload).state == "complete"


def test_a_rotation_of_a_signing_key_is_told_as_done(world):
    port = world.port()
    full_at("custody.signing.destroyed")
    with pytest.raises(StorageError, match="it is rotated, and that is on record"):
        port.ask(RotateSigningKey("log", "yearly"))
    steps.install(None)
    assert [row.state for row in port.ask(ListSigningKeys()).keys if row.use == "log"] == ["destroyed", "active"]
    port.ask(Hello())
    assert kinds(port).count("key.destroyed") == 1
