"""URIs of keys in tokens, and what can be said without a token; the rest is in tests/interop/pkcs11."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermetic.errors import ConfigError, KeyServiceUnavailable, Locked, Unsupported, UsageError
from hermetic.providers import pkcs11_errors
from hermetic.providers.pkcs11_uri import Pkcs11Uri, parse
from hermetic.providers.place import Place
from hermetic.providers.registry import open_provider

URI = "pkcs11:token=team;object=hermetic"


@pytest.mark.parametrize(
    ("uri", "found"),
    [
        (URI, Pkcs11Uri("team", "hermetic")),
        ("pkcs11:object=hermetic;token=team", Pkcs11Uri("team", "hermetic")),
        ("pkcs11:token=t%C3%AB%20m;object=a%3Bb%3D%25;serial=0a1b", Pkcs11Uri("të m", "a;b=%", "0a1b")),
        ("pkcs11:token=a=b;object=c:d", Pkcs11Uri("a=b", "c:d")),
    ],
)
def test_what_is_read(uri, found):
    assert parse(uri) == found


@pytest.mark.parametrize(
    "rest",
    [
        "", "token=team", "object=hermetic", "token=team;object=", "token=;object=a", "token=a;token=a;object=b",
        "token=a;object=b;", "token=a;object=b;id=%01", "token=a;object=b;slot-id=1", "token=a;object=b;pin-value=1234",
        "Token=a;object=b", "token;object=b", "token=%zz;object=b", "token=%;object=b", "token=%ff;object=b",
        "token=%00;object=b", "token=a%0ab;object=b", "token=%20a;object=b", "token=" + "a" * 33 + ";object=b",
        "token=a;object=" + "b" * 65, "token=a;object=b;serial=" + "1" * 17,
    ],
)  # fmt: skip
def test_what_is_refused(rest):
    with pytest.raises(UsageError):
        parse(f"pkcs11:{rest}")


@given(st.text(max_size=80))
def test_anything_is_read_or_refused(text):
    try:
        found = parse(f"pkcs11:token=a;object={text}")
    except UsageError:
        return
    assert found.label.isprintable()
    assert found.label


@pytest.fixture
def place(place):
    return Place(place.home, place.domain, place.root_id, settings={"module": "/usr/lib/none.so", "pin_file": "/pin"})


def test_a_pin_in_the_uri_is_refused(place):
    with pytest.raises(UsageError, match="query"):
        open_provider(f"{URI}?pin-value=1234", place)


def test_a_missing_library_is_named_when_it_is_used(place, monkeypatch):
    monkeypatch.setitem(sys.modules, "PyKCS11", None)
    provider = open_provider(URI, place)
    with pytest.raises(Unsupported, match="PyKCS11 is not installed") as caught:
        provider.unwrap(b"HRP\x01\x01" + bytes(60), b"")
    assert caught.value.hint == "pip install '.[pkcs11]'"
    assert provider.status().state == "unreachable"


@pytest.mark.parametrize(("name", "value"), [("module", "none.so"), ("pin_file", "pin")])
def test_paths_are_absolute(place, name, value):
    with pytest.raises(ConfigError, match="absolute path"):
        open_provider(URI, Place(place.home, place.domain, place.root_id, settings={**place.settings, name: value}))


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (0xA0, Locked),
        (0xA4, Locked),
        (0x70, Unsupported),
        (0x68, Unsupported),
        (0x60, KeyServiceUnavailable),
        (0x05, KeyServiceUnavailable),
    ],
)
def test_what_return_values_mean(value, kind):
    error = pkcs11_errors.meaning(value, "CKR_X", "'team'")
    assert type(error) is kind
    assert "'team'" in error.message
    assert error.hint
