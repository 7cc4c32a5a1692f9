"""`azurekv:` against a server that speaks its REST protocol over TLS, through azure-keyvault-keys and azure-identity as they are."""

from __future__ import annotations

import base64
import logging
import time
from dataclasses import replace

import pytest

from hermetic.crypto.secret import Secret
from hermetic.errors import FormatError, IntegrityError, KeyServiceUnavailable, UsageError, WrongKey
from hermetic.keys.provider import ProviderState
from hermetic.providers import conformance, registry
from scripts.providers_table import record
from tests.interop import front as faults
from tests.interop.azure.service import Service
from tests.interop.front import Answer, Front
from tests.interop.rooted import together
from tests.unit.providers.contract import CONTEXT, ProviderContract


class Contract(ProviderContract):
    kty = "RSA-HSM"

    @pytest.fixture
    def provider(self, service, places):
        return registry.create_root(service.new_key(kty=self.kty), places())

    @pytest.fixture
    def again(self, provider):
        return registry.open_provider(provider.uri, provider.place)

    @pytest.fixture
    def other(self, provider, places):
        """Another root with the same key of the service."""
        return registry.create_root(provider.uri, places())


class TestRsa(Contract):
    pass


class TestAes(Contract):
    """The bytes of such a key are never shown: what is wrapped in this process could be opened by nobody."""

    kty = "oct-HSM"


@pytest.fixture
def root(service, places, front):
    made = registry.create_root(service.new_key(), places())
    front.asked.clear()
    return made


def codes(provider):
    """Which findings there are, besides the one that all have."""
    found = {finding.code for finding in provider.status().findings}
    assert "protocol-tested" in found
    return found - {"protocol-tested"}


def sent(front, operation):
    return [asked.json() for asked in front.asked if asked.path.partition("?")[0].endswith(f"/{operation}") and asked.body]


def refused(status, code, inner=None, **headers):
    body = {"error": {"code": code, "message": "words of the service"} | ({"innererror": {"code": inner}} if inner else {})}
    return lambda front, asked: Answer.of(status, body, **headers)


@pytest.mark.parametrize("kty", ["RSA", "RSA-HSM", "oct-HSM"])
def test_the_service_wraps_and_not_the_sdk(service, places, front, kty):
    root = registry.create_root(service.new_key(kty=kty), places())
    front.asked.clear()
    secret = Secret(b"\xaa\x55" * 16)
    root.unwrap(root.wrap(secret, CONTEXT), CONTEXT)
    (wrap,), (unwrap,) = sent(front, "wrapkey"), sent(front, "unwrapkey")
    assert wrap["alg"] == unwrap["alg"] == ("A256KW" if kty == "oct-HSM" else "RSA-OAEP-256")
    key = base64.urlsafe_b64decode(wrap["value"] + "=")
    assert len(key) == 32
    assert key != bytes(secret.view())


def test_nothing_of_a_call_is_logged(root, front, caplog):
    for name in ("", "azure", *root.loggers):
        caplog.set_level(logging.DEBUG, logger=name)
    root.unwrap(root.wrap(Secret.random(32), CONTEXT), CONTEXT)
    (wrap,) = sent(front, "wrapkey")
    key = base64.urlsafe_b64decode(wrap["value"] + "=")
    logged = "\n".join(str(vars(record)) for record in caplog.records)
    assert logged
    for shape in (wrap["value"], key.hex(), repr(key)[2:-1], *front.answer.tokens):
        assert shape not in logged


def test_rotation_in_the_service(root, service):
    secret = Secret.random(32)
    wrapped = root.wrap(secret, CONTEXT)
    old = next(iter(service.key(root).versions))
    service.key(root).rotate()
    assert root.unwrap(wrapped, CONTEXT).same_as(secret)
    renewed = root.rewrap(wrapped, CONTEXT)
    service.key(root).versions[old].attributes["enabled"] = False
    assert root.unwrap(renewed, CONTEXT).same_as(secret)
    with pytest.raises(KeyServiceUnavailable, match="KeyDisabled"):
        root.unwrap(wrapped, CONTEXT)


def test_a_wrap_of_another_key(root, service):
    """Its version is not one of this key."""
    other = registry.create_root(service.new_key("other", kty="oct-HSM"), root.place)
    with pytest.raises(WrongKey):
        root.unwrap(other.wrap(Secret.random(32), CONTEXT), CONTEXT)


def test_an_algorithm_that_is_not_known(root):
    wrapped = root.wrap(Secret.random(32), CONTEXT)
    with pytest.raises(FormatError, match="unknown algorithm"):
        root.unwrap(wrapped[:6] + b"\x07" + wrapped[7:], CONTEXT)


def test_a_key_that_is_disabled_behind_our_back(root, service):
    """Nothing is wrapped any more, though the public key would still do it."""
    wrapped = root.wrap(Secret.random(32), CONTEXT)
    service.key(root).newest.attributes["enabled"] = False
    with pytest.raises(KeyServiceUnavailable, match="the key is disabled") as caught:
        root.wrap(Secret.random(32), CONTEXT)
    assert "az keyvault key show" in caught.value.hint
    with pytest.raises(KeyServiceUnavailable, match="KeyDisabled") as caught:
        root.unwrap(wrapped, CONTEXT)
    assert caught.value.exit_code == 6
    status = root.status()
    assert status.state is ProviderState.UNREACHABLE
    assert "the key is disabled" in status.detail
    with pytest.raises(KeyServiceUnavailable, match="the key is disabled"):
        registry.create_root(root.uri, root.place)
    service.key(root).newest.attributes["enabled"] = True
    assert len(root.unwrap(wrapped, CONTEXT)) == 32


def test_a_key_that_is_deleted_behind_our_back(root, service):
    wrapped = root.wrap(Secret.random(32), CONTEXT)
    service.key(root).deleted = True
    for attempt in (lambda: root.unwrap(wrapped, CONTEXT), lambda: root.wrap(Secret.random(32), CONTEXT)):
        with pytest.raises(KeyServiceUnavailable, match="KeyNotFound") as caught:
            attempt()
        assert "az keyvault key recover" in caught.value.hint
    assert root.status().state is ProviderState.UNREACHABLE
    service.key(root).deleted = False
    assert len(root.unwrap(wrapped, CONTEXT)) == 32


@pytest.mark.parametrize(("name", "shift", "why"), [("nbf", 3600, "begins on"), ("exp", -3600, "ended on")])
def test_a_key_outside_its_time_wraps_nothing(root, service, name, shift, why):
    wrapped = root.wrap(Secret.random(32), CONTEXT)
    service.key(root).newest.attributes[name] = int(time.time()) + shift
    with pytest.raises(KeyServiceUnavailable, match=f"the key {why}"):
        root.wrap(Secret.random(32), CONTEXT)
    assert len(root.unwrap(wrapped, CONTEXT)) == 32


def test_a_key_that_is_not_there(places, service):
    with pytest.raises(KeyServiceUnavailable, match="KeyNotFound"):
        registry.create_root(f"azurekv:{service.host}/keys/none", places())


@pytest.mark.parametrize(
    ("kty", "ops", "why"),
    [
        ("EC-HSM", ("sign",), "a key EC-HSM"),
        ("oct", ("wrapKey", "unwrapKey"), "a key oct"),
        ("RSA", ("wrapKey", "sign"), "a key RSA without unwrapKey"),
    ],
)
def test_keys_of_other_kinds_are_refused(service, places, kty, ops, why):
    with pytest.raises(UsageError, match=f"{why}.* cannot be a root"):
        registry.create_root(service.new_key(kty=kty, ops=ops), places())


@pytest.mark.parametrize("operation", ["get", "wrapkey", "unwrapkey"])
def test_a_root_that_we_may_not_use_is_not_made(service, places, operation):
    service.denied.add(operation)
    with pytest.raises(KeyServiceUnavailable, match="ForbiddenByRbac") as caught:
        registry.create_root(service.new_key(), places())
    assert "Key Vault Crypto Service Encryption User" in caught.value.hint


def test_what_status_finds(service, places):
    root = registry.create_root(service.new_key(kty="oct-HSM", rotates=True), places())
    status = root.status()
    assert status.detail.startswith("protocol-tested; version ")
    assert status.detail.endswith("oct-HSM, recovery Recoverable, rotation on")
    assert not status.root_in_process
    assert codes(root) == set()
    key = service.key(root)
    key.rotates, key.kty = False, "RSA"
    key.newest.attributes |= {"recoveryLevel": "Recoverable+Purgeable", "exportable": True, "exp": 4_000_000_000}
    assert codes(root) == {
        "root-not-rotated",
        "root-short-deletion-wait",
        "root-exportable",
        "root-material-expires",
        "root-in-software",
        "root-wrap-not-quantum-safe",
    }
    service.denied.add("rotationpolicy")
    assert root.status().detail.endswith("rotation not shown")


@pytest.mark.parametrize(
    ("status", "code", "inner", "hint"),
    [
        (403, "Forbidden", "ForbiddenByRbac", "Key Vault Crypto Service Encryption User"),
        (403, "Forbidden", "ForbiddenByFirewall", "firewall"),
        (401, "Unauthorized", None, "azure-identity looks for credentials"),
        (409, "SomethingNew", None, "try again later"),
    ],
)
def test_refusals_have_hints(root, front, status, code, inner, hint):
    wrapped = root.wrap(Secret.random(32), CONTEXT)
    front.faults.always = refused(status, code, inner)
    with pytest.raises(KeyServiceUnavailable, match=f"Key Vault refuses .{inner or code}") as caught:
        root.unwrap(wrapped, CONTEXT)
    assert hint in caught.value.hint
    assert "words of the service" not in str(caught.value)


@pytest.mark.parametrize(
    "fault",
    [faults.unavailable, refused(500, "InternalError"), refused(429, "Throttled", **{"Retry-After": "0"})],
    ids=["503", "internal", "throttled"],
)
def test_a_passing_failure_is_repeated(root, front, quick, fault):
    again = registry.open_provider(root.uri, root.place)
    secret = Secret.random(32)
    wrapped = again.wrap(secret, CONTEXT)
    front.faults.append(fault)
    assert again.unwrap(wrapped, CONTEXT).same_as(secret)
    front.faults.append(fault)
    assert len(again.wrap(secret, CONTEXT)) == len(wrapped)


LASTING = {
    "503": faults.unavailable,
    "dropped": faults.dropped,
    "torn": faults.torn,
    "throttled": refused(429, "Throttled", **{"Retry-After": "3600"}),
    "cut": faults.cut,
    "nothing": faults.nothing,
    "page": faults.page,
    "list": faults.listed,
    "error list": lambda front, asked: Answer.of(403, []),
    "redirect": lambda front, asked: Answer(302, b"", {"Location": "https://127.0.0.1:9/"}),
    "silent": faults.silent,
}


@pytest.mark.parametrize("fault", LASTING.values(), ids=LASTING)
def test_a_lasting_failure_is_ours(root, front, quick, fault):
    """And none makes us wait as long as a server says."""
    wrapped = root.wrap(Secret.random(32), CONTEXT)
    again = registry.open_provider(root.uri, root.place)
    front.faults.always = fault
    for attempt in (lambda: again.unwrap(wrapped, CONTEXT), lambda: again.wrap(Secret.random(32), CONTEXT)):
        with pytest.raises(KeyServiceUnavailable) as caught:
            attempt()
        assert caught.value.hint
    assert again.status().state is ProviderState.UNREACHABLE
    front.faults.always = None
    assert again.status().state is ProviderState.READY
    assert len(again.unwrap(wrapped, CONTEXT)) == 32


def test_many_threads(root):
    together(registry.open_provider(root.uri, root.place))


def test_nobody_there(root, quick):
    gone = registry.open_provider(root.uri, replace(root.place, settings={"endpoint": "https://127.0.0.1:9"}))
    with pytest.raises(KeyServiceUnavailable, match="cannot be reached"):
        gone.wrap(Secret.random(32), CONTEXT)


def test_a_server_that_nobody_vouches_for(root, front, quick):
    strange = registry.open_provider(root.uri, replace(root.place, settings={"endpoint": front.url}))
    front.asked.clear()
    with pytest.raises(KeyServiceUnavailable, match="cannot be reached"):
        strange.wrap(Secret.random(32), CONTEXT)
    assert front.asked == []


@pytest.mark.parametrize("content", [None, b"no certificate"])
def test_certificates_that_cannot_be_read(root, front, quick, tmp_path, content):
    if content is not None:
        (tmp_path / "ca.pem").write_bytes(content)
    settings = {"endpoint": front.url, "ca": str(tmp_path / "ca.pem")}
    strange = registry.open_provider(root.uri, replace(root.place, settings=settings))
    with pytest.raises(KeyServiceUnavailable, match="cannot be reached"):
        strange.wrap(Secret.random(32), CONTEXT)
    assert strange.status().state is ProviderState.UNREACHABLE


def test_plain_http_gets_no_token(root, service, quick):
    with Front(service) as plain:
        open_air = registry.open_provider(root.uri, replace(root.place, settings={"endpoint": plain.url}))
        with pytest.raises(KeyServiceUnavailable, match="cannot be reached"):
            open_air.wrap(Secret.random(32), CONTEXT)
        assert plain.asked == []


@pytest.mark.parametrize(
    "resource",
    [
        "https://management.azure.com",
        "https://azure.net",
        "https://net",
        "https://vault.azure.net.example.org",
        "http://vault.azure.net",
    ],
)
def test_a_challenge_for_another_service_gets_no_token(root, front, service, resource):
    """Whoever answers in place of the vault could else have a token with which to administer everything."""
    front.identity.asked.clear()
    service.resource = resource
    service.tokens.clear()
    again = registry.open_provider(root.uri, root.place)
    with pytest.raises(KeyServiceUnavailable):
        again.wrap(Secret.random(32), CONTEXT)
    assert set(service.tokens.values()) <= {"https://vault.azure.net"}
    assert all(asked.path.endswith("resource=https://vault.azure.net") for asked in front.identity.asked)


def test_no_credentials(root, monkeypatch, service):
    monkeypatch.delenv("IDENTITY_HEADER")
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "EnvironmentCredential")
    with pytest.raises(KeyServiceUnavailable, match="no credentials") as caught:
        registry.open_provider(root.uri, root.place).wrap(Secret.random(32), CONTEXT)
    assert "az login" in caught.value.hint


def test_a_managed_hsm(front, places, certificate):
    service = Service("pool.managedhsm.azure.net")
    front.answer = service
    front.identity.answer = service.identity
    root = registry.create_root(service.new_key(kty="oct-HSM"), places())
    secret = Secret.random(32)
    assert root.unwrap(root.wrap(secret, CONTEXT), CONTEXT).same_as(secret)


def test_the_conformance_report(root):
    report = conformance.measure(root, seconds=0.2)
    record(report, against="a server of the tests that speaks the protocol: protocol-tested")
    found = {probe.name: probe.outcome for probe in report.probes}
    assert {found[name] for name in conformance.CORE} == {"enforced"}
    assert found[conformance.CONTEXT_IN_PROVIDER] == "not enforced"
    assert found[conformance.KEK] == "enforced"
    assert not [probe for probe in report.probes if probe.contradicts]
    assert {one.part: one.lasts for one in report.protections} == {"wrap": False, "path": None}


def test_another_context_is_refused_here(root):
    wrapped = root.wrap(Secret.random(32), CONTEXT)
    with pytest.raises(IntegrityError):
        root.unwrap(wrapped, b"elsewhere")
