"""The how-to, run against the server of these tests, which is reached where the page would reach Microsoft."""

from __future__ import annotations

from tests.docs.conftest import folder, home  # noqa: F401 - fixtures
from tests.interop.rooted import check_page


def test_how_to(service, front, certificate, folder, home):  # noqa: F811
    service.new_key("hermetic")
    check_page("root-in-azure-key-vault", {"endpoint": front.url, "ca": str(certificate[0])}, folder, home)
