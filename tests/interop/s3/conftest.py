"""A real domain whose development store is a bucket of a server that runs."""

from __future__ import annotations

import pytest

import hermetic
from tests.interop.s3server import s3_moto, s3_rclone, s3_server, use_bucket  # noqa: F401 - fixtures
from tests.unit.assets.real import domain, domain_template  # noqa: F401 - fixtures


@pytest.fixture
def lake(domain, s3_server):  # noqa: F811
    """The project, entered; its objects go to the bucket."""
    use_bucket(domain, s3_server)
    return domain


@pytest.fixture
def h(lake):
    with hermetic.connect(lake) as workspace:
        yield workspace
