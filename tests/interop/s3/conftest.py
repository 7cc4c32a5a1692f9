"""A real domain whose development store is a bucket of a server that runs: the servers for all tests, a bucket for each."""

from __future__ import annotations

import secrets
from dataclasses import replace

import pytest

import hermetic
from tests.interop.s3server import client, credentials, moto, rclone, use_bucket
from tests.unit.assets.real import domain, domain_template  # noqa: F401 - fixtures


@pytest.fixture(scope="session")
def servers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("servers")
    with credentials(), rclone(folder) as one, moto(folder) as two:
        yield {served.kind: served for served in (one, two)}


def fresh(served):
    """The server with a bucket of its own."""
    bucket = f"bucket-{secrets.token_hex(8)}"
    client(served).create_bucket(Bucket=bucket)
    return replace(served, bucket=bucket, folder=served.folder and served.folder.with_name(bucket))


@pytest.fixture
def s3_rclone(servers):
    return fresh(servers["rclone"])


@pytest.fixture
def s3_moto(servers):
    return fresh(servers["moto"])


@pytest.fixture(params=["rclone", "moto"])
def s3_server(servers, request):
    return fresh(servers[request.param])


@pytest.fixture
def lake(domain, s3_server):  # noqa: F811
    """The project, entered; its objects go to the bucket."""
    use_bucket(domain, s3_server)
    return domain


@pytest.fixture
def h(lake):
    with hermetic.connect(lake) as workspace:
        yield workspace
