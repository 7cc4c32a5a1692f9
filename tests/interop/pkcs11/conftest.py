"""A SoftHSM token for each test, and a custody home beside it."""

from __future__ import annotations

import pytest

from hermetic.providers.registry import create_root
from tests.interop.pkcs11 import softhsm


@pytest.fixture
def home(tmp_path):
    place = tmp_path / "home"
    place.mkdir(mode=0o700)
    return place


@pytest.fixture
def mechanisms():
    """What the token offers; tests override it."""
    return "ALL"


@pytest.fixture
def hsm(tmp_path, monkeypatch, mechanisms):
    return softhsm.make(tmp_path / "hsm", monkeypatch, mechanisms)


@pytest.fixture
def provider(hsm, home):
    return create_root(hsm.uri(), hsm.place(home))


@pytest.fixture
def logins(monkeypatch):
    """Count the PINs that reach the token."""
    import PyKCS11

    tried = []
    real = PyKCS11.Session.login

    def login(self, pin, *rest):
        tried.append(bytes(pin))
        return real(self, pin, *rest)

    monkeypatch.setattr(PyKCS11.Session, "login", login)
    return tried
