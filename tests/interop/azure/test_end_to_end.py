"""A domain whose root is a key of Azure Key Vault, end to end."""

from __future__ import annotations

import pytest

from tests.interop.rooted import journey


@pytest.mark.parametrize("kty", ["RSA-HSM", "oct-HSM"])
def test_journey(service, front, certificate, project, kty):
    uri = service.new_key(kty=kty)
    (key,) = service.keys.values()
    journey(
        project,
        (uri, {"endpoint": front.url, "ca": str(certificate[0])}),
        take_away=lambda: key.newest.attributes.update(enabled=False),
        give_back=lambda: key.newest.attributes.update(enabled=True),
        says=b"Key Vault refuses (KeyDisabled)",
    )
