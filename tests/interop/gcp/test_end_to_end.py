"""A domain whose root is a key of Google Cloud KMS, end to end."""

from __future__ import annotations

from tests.interop.rooted import journey


def test_journey(service, front, project):
    uri = service.new_key("root")
    (key,) = service.keys.values()
    journey(
        project,
        (uri, {"endpoint": front.url}),
        take_away=lambda: setattr(key.primary, "state", "DISABLED"),
        give_back=lambda: setattr(key.primary, "state", "ENABLED"),
        says=b"Cloud KMS refuses (FAILED_PRECONDITION)",
    )
