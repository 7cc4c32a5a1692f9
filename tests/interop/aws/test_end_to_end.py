"""A domain whose root is a key of AWS KMS, end to end."""

from __future__ import annotations

from tests.interop.aws.conftest import client
from tests.interop.aws.test_awskms import new_key
from tests.interop.rooted import journey


def test_journey(ministack, project):
    uri = new_key(ministack)
    key = {"KeyId": uri.rpartition("/")[2]}
    journey(
        project,
        (uri, {"endpoint": ministack}),
        take_away=lambda: client(ministack).disable_key(**key),
        give_back=lambda: client(ministack).enable_key(**key),
        says=b"AWS KMS refuses (DisabledException)",
    )
