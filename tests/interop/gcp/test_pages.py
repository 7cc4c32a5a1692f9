"""The how-to, run against the server of these tests, which is reached where the page would reach Google."""

from __future__ import annotations

from tests.docs.conftest import folder, home  # noqa: F401 - fixtures
from tests.interop.rooted import check_page


def test_how_to(service, front, folder, home):  # noqa: F811
    service.new_key("root")
    check_page("root-in-google-cloud-kms", {"endpoint": front.url}, folder, home)
