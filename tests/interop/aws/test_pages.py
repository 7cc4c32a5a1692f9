"""The how-to, run against ministack, which is reached where the page would reach Amazon."""

from __future__ import annotations

from tests.docs.conftest import folder, home  # noqa: F401 - fixtures
from tests.interop.aws.conftest import client
from tests.interop.aws.test_awskms import new_key
from tests.interop.rooted import check_page


def test_how_to(ministack, folder, home):  # noqa: F811
    client(ministack).create_alias(AliasName="alias/hermetic", TargetKeyId=new_key(ministack).rpartition("/")[2])
    check_page("root-in-aws-kms", {"endpoint": ministack}, folder, home)
