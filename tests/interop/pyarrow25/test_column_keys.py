"""Column keys with the oldest pyarrow that is supported (MLflow wants it): the same tests as with the newest."""

from __future__ import annotations

import pyarrow as pa
import pytest

from tests.unit.assets.real import domain, domain_template, real  # noqa: F401 - fixtures
from tests.unit.integrations.test_parquet_keys import *  # noqa: F403


@pytest.fixture(autouse=True, scope="session")
def it_is_the_old_one():
    assert pa.__version__.startswith("25.")
