"""What config.yaml may say of a root in OpenBao, the URI, and the bytes of a wrap."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import replace

import pytest

from hermetic.crypto.secret import Secret
from hermetic.errors import ConfigError, FormatError, UsageError, WrongKey
from hermetic.providers import openbao_wrap, registry
from hermetic.providers.openbao_settings import login, server

URI = "openbao:transit/hermetic"
ADDRESS = {"address": "https://bao.example.org:8200"}
TOKEN = {**ADDRESS, "token_file": "/run/token"}


def with_settings(place, **settings):
    return replace(place, settings=settings)


@pytest.mark.parametrize(
    ("address", "wanted"),
    [
        ("https://bao.example.org", ("https", "bao.example.org", 8200)),
        ("https://bao.example.org:443/", ("https", "bao.example.org", 443)),
        ("https://[::1]:8300", ("https", "::1", 8300)),
        ("http://127.0.0.1:8200", ("http", "127.0.0.1", 8200)),
        ("http://127.7.7.7", ("http", "127.7.7.7", 8200)),
        ("http://localhost:8200", ("http", "localhost", 8200)),
        ("http://[::1]", ("http", "::1", 8200)),
    ],
)
def test_addresses(place, address, wanted):
    found = server(URI, with_settings(place, address=address))
    assert (found.scheme, found.host, found.port) == wanted


@pytest.mark.parametrize(
    "address",
    [
        "bao.example.org:8200",
        "ftp://bao.example.org",
        "https://",
        "https://me:secret@bao.example.org",
        "https://bao.example.org/vault",
        "https://bao.example.org?x=1",
        "https://bao.example.org#x",
        "https://bao.example.org:99999",
        "https://[::1",
    ],
)
def test_strange_addresses(place, address):
    with pytest.raises(ConfigError, match="address is not https://HOST:PORT") as caught:
        server(URI, with_settings(place, address=address))
    assert "secret" not in caught.value.diagnostics()


@pytest.mark.parametrize("host", ["bao.example.org", "10.0.0.1", "0.0.0.0", "[::]", "localhost.example.org", "128.0.0.1"])
def test_plain_http_is_for_this_machine(place, host):
    with pytest.raises(ConfigError, match="plain http is for this machine only"):
        server(URI, with_settings(place, address=f"http://{host}:8200"))


def test_the_address_may_be_in_the_environment(place, monkeypatch):
    with pytest.raises(ConfigError, match="address is missing"):
        server(URI, place)
    monkeypatch.setenv("VAULT_ADDR", "https://two.example.org:8200")
    assert server(URI, place).host == "two.example.org"
    monkeypatch.setenv("BAO_ADDR", "https://one.example.org:8200")
    assert server(URI, place).host == "one.example.org"
    assert server(URI, with_settings(place, **ADDRESS)).host == "bao.example.org"


def test_no_token_from_the_environment(place, monkeypatch):
    monkeypatch.setenv("BAO_TOKEN", "s.secret")
    monkeypatch.setenv("VAULT_TOKEN", "s.secret")
    with pytest.raises(ConfigError, match="token_file is missing"):
        registry.open_provider(URI, with_settings(place, **ADDRESS))


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({**TOKEN, "tokenfile": "/x"}, "unknown setting 'tokenfile'"),
        ({**TOKEN, "token": "s.secret"}, "unknown setting 'token'"),
        ({**ADDRESS, "token_file": "run/token"}, "token_file is an absolute path"),
        ({**TOKEN, "ca": "ca.crt"}, "ca is an absolute path"),
        ({**TOKEN, "auth": "ldap"}, "unknown auth 'ldap'"),
        ({**TOKEN, "auth": "approle"}, "role_id is missing"),
        ({**TOKEN, "auth": "approle", "role_id": "r"}, "token_file does not go with auth approle"),
        ({**TOKEN, "auth_mount": "x"}, "auth_mount does not go with auth token"),
        ({**ADDRESS, "auth": "jwt", "jwt_file": "/j"}, "role is missing"),
        ({**ADDRESS, "auth": "jwt", "jwt_file": "/j", "role": "r", "auth_mount": "../sys"}, "auth_mount is the path"),
        ({**ADDRESS, "auth": "cert", "cert": "/c"}, "key is missing"),
        ({**TOKEN, "namespace": "a//b"}, "namespace is a path of names"),
        ({**TOKEN, "namespace": "a\r\nX-Vault-Token: b"}, "namespace is a path of names"),
        ({"address": "http://127.0.0.1", "auth": "cert", "cert": "/c", "key": "/k"}, "cert does not go with plain http"),
    ],
)
def test_settings_that_make_no_sense(place, settings, why):
    with pytest.raises(ConfigError, match=why) as caught:
        registry.open_provider(URI, with_settings(place, **settings))
    assert "s.secret" not in caught.value.diagnostics()


def test_logins(place):
    approle = {"auth": "approle", "role_id": "r", "secret_id_file": "/s", "auth_mount": "team/approle"}
    found = login(URI, with_settings(place, **ADDRESS, **approle))
    assert (found.mount, found.fields, {name: str(path) for name, path in found.files.items()}) == (
        "team/approle",
        {"role_id": "r"},
        {"secret_id": "/s"},
    )
    cert = login(URI, with_settings(place, **ADDRESS, auth="cert", cert="/c", key="/k", role="r"))
    assert (cert.mount, cert.fields, cert.files) == ("cert", {"name": "r"}, {})
    jwt = login(URI, with_settings(place, **ADDRESS, auth="jwt", jwt_file="/j", role="r"))
    assert (jwt.fields, list(jwt.files)) == ({"role": "r"}, ["jwt"])


@pytest.mark.parametrize(
    "uri",
    [
        "openbao:hermetic",
        "openbao:/hermetic",
        "openbao:transit/",
        "openbao:transit//x",
        "openbao:../x",
        "openbao:transit/..",
        "openbao:a/%2e",
        "openbao:a/x-",
    ],
)
def test_uris(place, uri):
    with pytest.raises(UsageError, match="names no transit key"):
        registry.open_provider(uri, with_settings(place, **TOKEN))


def test_a_uri_with_slashes(place):
    key = registry.open_provider("openbao:team/a/transit/hermetic.v1", with_settings(place, **TOKEN)).key
    assert (key.mount, key.name) == ("team/a/transit", "hermetic.v1")


def test_opening_asks_nobody(place):
    assert registry.open_provider(URI, with_settings(place, **TOKEN)).root_id == place.root_id


CIPHERTEXT = "vault:v7:" + "QUJD" * 20


def test_the_bytes_of_a_wrap(place):
    wrap = openbao_wrap.joined(CIPHERTEXT, b"s" * 60)
    raw = wrap.encode()
    assert raw == b"HBW\x01" + b"\0\0\0\x07" + b"ABC" * 20 + b"s" * 60
    assert openbao_wrap.decode(raw) == wrap


@pytest.mark.parametrize(
    "text",
    [
        "",
        "vault:v0:" + "QUJD" * 20,
        "vault:v07:" + "QUJD" * 20,
        "vault:v1:" + "QUJD" * 19,
        "vault:v1:" + "QUJD" * 21,
        "vault:v1:" + "!" * 80,
        CIPHERTEXT + "\n",
    ],
)
def test_ciphertexts_of_another_form(text):
    with pytest.raises(FormatError, match="unknown form"):
        openbao_wrap.joined(text, b"s" * 60)


def test_context_root_and_bytes_are_bound_here_too(place, places):
    key, secret = Secret(b"k" * 32), Secret(b"s" * 32)
    plain = b64encode(b"k" * 32).decode()
    sealed = openbao_wrap.seal(key, secret, place.root_id, b"here")
    assert openbao_wrap.open_(plain, sealed, place.root_id, b"here").same_as(secret)
    other = places().root_id
    for root_id, context, given in (
        (place.root_id, b"", sealed),
        (other, b"here", sealed),
        (place.root_id, b"here", sealed[:-1] + b"\0"),
    ):
        with pytest.raises(WrongKey):
            openbao_wrap.open_(plain, given, root_id, context)
    assert openbao_wrap.derivation(place.root_id, b"here") != openbao_wrap.derivation(other, b"here")
    for strange in ("", "AAAA", "not base64!", plain[:-4]):
        with pytest.raises(FormatError):
            openbao_wrap.open_(strange, sealed, place.root_id, b"here")
