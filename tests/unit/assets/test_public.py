"""What `import hermetic` offers."""

from __future__ import annotations

import subprocess
import sys

import pytest

import hermetic
from hermetic import errors


def test_every_public_name_is_there_and_has_one_home():
    assert sorted(hermetic.__all__) == hermetic.__all__
    assert set(hermetic.__all__) == set(hermetic._HOME_OF)
    for name in hermetic.__all__:
        value = getattr(hermetic, name)
        assert value.__name__ == name
        assert value.__module__ == hermetic._HOME_OF[name]
        assert value.__doc__
    assert set(hermetic.__all__) <= set(dir(hermetic))


def test_every_error_is_public():
    tree = {name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, errors.HermeticError)}
    assert tree <= set(hermetic.__all__)


def test_unknown_names():
    with pytest.raises(AttributeError, match="no attribute"):
        hermetic.nothing  # noqa: B018


def test_importing_loads_no_room():
    code = "import sys, hermetic; print([name for name in sys.modules if name.startswith('hermetic.')])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
