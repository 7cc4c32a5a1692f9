"""A domain whose place `lake` is in a bucket, reached by s3fs."""

from __future__ import annotations

import pytest

from tests.interop.s3server import credentials, moto, rclone
from tests.unit.integrations.sealed_domain import SUITES, copied, entered, fresh_process, ground_in, sealed_template  # noqa: F401

_turns = iter(range(10**9))


@pytest.fixture(scope="module", params=["moto", "rclone"])
def served(request, tmp_path_factory):
    """A server for all tests of a module; its credentials are in the environment."""
    with credentials(), {"moto": moto, "rclone": rclone}[request.param](tmp_path_factory.mktemp(request.param)) as made:
        yield made


@pytest.fixture(scope="module")
def lake(served, sealed_template, tmp_path_factory):  # noqa: F811
    with copied(sealed_template, tmp_path_factory.mktemp("lake") / "domain", bucket=served.bucket) as made, fresh_process():
        yield made


@pytest.fixture
def ground(lake, served, monkeypatch):
    """A folder of an asset in the bucket: `fs` seals, `plain` is s3fs itself."""
    entered(lake, monkeypatch)
    monkeypatch.setenv("HERMETIC_PURPOSE", "prepare")
    for name in ("AWS_REQUEST_CHECKSUM_CALCULATION", "AWS_RESPONSE_CHECKSUM_VALIDATION"):
        monkeypatch.setenv(name, "when_required")  # these servers send the checksum of the whole object with a range of it
    made = ground_in(lake, "s3", f"suite{next(_turns) % SUITES}", endpoint_url=served.endpoint, use_listings_cache=False)
    made.served = served
    return made
