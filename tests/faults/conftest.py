"""What the crash tests share: one template and one warm process for each worker."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.faults.places import Zygote, make_template

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("template")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HERMETIC_HOME", str(root / "home"))
        make_template(root)
    return root


@pytest.fixture(scope="session")
def zygote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zygote]:
    with Zygote(tmp_path_factory.mktemp("zygote")) as process:
        yield process
