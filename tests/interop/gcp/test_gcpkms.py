"""`gcpkms:` against a server that speaks its REST protocol, through google-cloud-kms as it is."""

from __future__ import annotations

import base64
import json
import logging
from dataclasses import replace

import pytest

from hermetic.crypto.secret import Secret
from hermetic.errors import IntegrityError, KeyServiceUnavailable, UsageError, WrongKey
from hermetic.keys.provider import ProviderState
from hermetic.providers import conformance, gcpkms, registry
from scripts.providers_table import record
from tests.interop import front as faults
from tests.interop.front import Answer
from tests.interop.gcp.service import RING, Key, Version
from tests.interop.rooted import together
from tests.unit.providers.contract import CONTEXT, ProviderContract


class TestContract(ProviderContract):
    @pytest.fixture
    def provider(self, root):
        return root

    @pytest.fixture
    def again(self, provider):
        return registry.open_provider(provider.uri, provider.place)

    @pytest.fixture
    def other(self, provider, places):
        """Another root with the same key of the service."""
        return registry.create_root(provider.uri, places())


@pytest.fixture
def root(service, places, front):
    made = registry.create_root(service.new_key("root"), places())
    front.asked.clear()
    return made


def codes(provider):
    """Which findings there are, besides the one that all have."""
    found = {finding.code for finding in provider.status().findings}
    assert "protocol-tested" in found
    return found - {"protocol-tested"}


def sent(front, operation):
    return [asked.json() for asked in front.asked if asked.path.partition("?")[0].endswith(f":{operation}")]


def edited(change):
    """A fault: the service's answer with some fields changed."""

    def fault(front, asked):
        answer = front.answer(asked)
        body = json.loads(answer.body)
        return replace(answer, body=json.dumps(body | change(body)).encode())

    return fault


def refused(code, status):
    return lambda front, asked: Answer.of(code, {"error": {"code": code, "message": "words of the service", "status": status}})


def test_what_the_service_is_given(root, front):
    secret = Secret(b"\xaa\x55" * 16)
    root.unwrap(root.wrap(secret, CONTEXT), CONTEXT)
    (encrypt,), (decrypt,) = sent(front, "encrypt"), sent(front, "decrypt")
    aad = base64.b64decode(encrypt["additionalAuthenticatedData"])
    assert len(aad) == 48
    assert encrypt["additionalAuthenticatedData"] == decrypt["additionalAuthenticatedData"]
    assert len(base64.b64decode(encrypt["plaintext"])) == 32
    assert base64.b64decode(encrypt["plaintext"]) != bytes(secret.view())
    for asked in (encrypt, decrypt):
        assert {name for name in asked if name.endswith("Crc32c")} >= {"additionalAuthenticatedDataCrc32c"}
    assert "plaintextCrc32c" in encrypt
    assert "ciphertextCrc32c" in decrypt


def test_crc32c_is_the_one_of_the_protocol():
    assert gcpkms._crc32c(b"123456789") == 0xE3069283


def test_nothing_of_a_call_is_logged(root, front, caplog):
    names = ["", "google", *root.loggers]
    for name in names:
        caplog.set_level(logging.DEBUG, logger=name)
    before, logging.getLogger("google").propagate = logging.getLogger("google").propagate, True
    try:
        root.unwrap(root.wrap(Secret.random(32), CONTEXT), CONTEXT)
        own = {"name": root.name, "plaintext": b"the application's own"}
        root.client().encrypt(request=own)
    finally:
        logging.getLogger("google").propagate = before
    logged = "\n".join(str(vars(record)) for record in caplog.records)
    assert base64.b64encode(own["plaintext"]).decode() in logged  # which shows that the search finds
    encrypt, _ = sent(front, "encrypt")
    key = base64.b64decode(encrypt["plaintext"])
    for shape in (encrypt["plaintext"], key.hex(), repr(key)[2:-1]):
        assert shape not in logged


def test_rotation_in_the_service(root, service):
    secret = Secret.random(32)
    wrapped = root.wrap(secret, CONTEXT)
    service.key(root).versions.append(Version())
    assert root.unwrap(wrapped, CONTEXT).same_as(secret)
    renewed = root.rewrap(wrapped, CONTEXT)
    service.key(root).versions[0].state = "DESTROYED"
    assert root.unwrap(renewed, CONTEXT).same_as(secret)
    with pytest.raises(KeyServiceUnavailable, match="FAILED_PRECONDITION"):
        root.unwrap(wrapped, CONTEXT)


def test_a_ciphertext_of_another_key(root, service, places):
    other = registry.create_root(service.new_key("other"), replace(root.place))
    with pytest.raises(WrongKey):
        root.unwrap(other.wrap(Secret.random(32), CONTEXT), CONTEXT)


@pytest.mark.parametrize("state", ["DISABLED", "DESTROY_SCHEDULED", "DESTROYED"])
def test_a_version_that_is_taken_away_behind_our_back(root, service, state):
    wrapped = root.wrap(Secret.random(32), CONTEXT)
    version = service.key(root).primary
    version.state = state
    version.destroy_time = "2026-12-24T00:00:00Z" if state == "DESTROY_SCHEDULED" else None
    for attempt in (lambda: root.unwrap(wrapped, CONTEXT), lambda: root.wrap(Secret.random(32), CONTEXT)):
        with pytest.raises(KeyServiceUnavailable, match="FAILED_PRECONDITION") as caught:
            attempt()
        assert "enable or restore" in caught.value.hint
        assert caught.value.exit_code == 6
    status = root.status()
    assert status.state is ProviderState.UNREACHABLE
    assert f"the version that encrypts is {state}" in status.detail
    assert ("root-deletion-pending" in codes(root)) == (state == "DESTROY_SCHEDULED")
    assert state != "DESTROY_SCHEDULED" or "2026-12-24" in status.findings[0].message
    with pytest.raises(KeyServiceUnavailable, match=f"is {state}"):
        registry.create_root(root.uri, root.place)
    version.state = "ENABLED"
    assert len(root.unwrap(wrapped, CONTEXT)) == 32


def test_a_key_that_is_not_there(places):
    with pytest.raises(KeyServiceUnavailable, match="NOT_FOUND") as caught:
        registry.create_root(f"gcpkms:{RING}/cryptoKeys/none", places())
    assert "key ring" in caught.value.hint


@pytest.mark.parametrize("purpose", ["ASYMMETRIC_SIGN", "ASYMMETRIC_DECRYPT", "RAW_ENCRYPT_DECRYPT", "MAC"])
def test_keys_of_other_kinds_are_refused(service, places, purpose):
    with pytest.raises(UsageError, match=f"a key for {purpose} cannot be a root"):
        registry.create_root(service.new_key("k", purpose=purpose), places())


def test_a_kind_that_is_not_known_yet(service, places):
    with pytest.warns(UserWarning, match="enum value"), pytest.raises(UsageError, match="a key for unknown cannot be a root"):
        registry.create_root(service.new_key("k", purpose=77), places())


@pytest.mark.parametrize("operation", ["get", "encrypt", "decrypt"])
def test_a_root_that_we_may_not_use_is_not_made(service, places, operation):
    service.denied.add(operation)
    with pytest.raises(KeyServiceUnavailable, match="PERMISSION_DENIED") as caught:
        registry.create_root(service.new_key("k"), places())
    assert "roles/cloudkms.cryptoKeyEncrypterDecrypter" in caught.value.hint


def test_what_status_finds(root, service):
    status = root.status()
    assert status.detail == "protocol-tested; version 1 ENABLED, protection HSM, rotation off"
    assert not status.root_in_process
    assert codes(root) == {"root-not-rotated"}
    key = service.key(root)
    key.more = {"rotationPeriod": "7776000s", "nextRotationTime": "2027-01-01T00:00:00Z"}
    assert codes(root) == set()
    key.more["destroyScheduledDuration"], key.level = "86400s", "SOFTWARE"
    assert codes(root) == {"root-short-deletion-wait", "root-in-software"}
    key.versions.clear()
    service.keys[root.uri.partition(":")[2]] = NoPrimary()
    assert "the version that encrypts is" in root.status().detail


class NoPrimary(Key):
    """A key that was made without a version."""

    @property
    def primary(self):
        return Version(state="CRYPTO_KEY_VERSION_STATE_UNSPECIFIED")


WRONG_SUMS = {
    "ciphertext": edited(lambda body: {"ciphertextCrc32c": "1"} if "ciphertext" in body else {"plaintextCrc32c": "1"}),
    "missing": edited(lambda body: {"ciphertextCrc32c": None, "plaintextCrc32c": None}),
    "not verified": edited(lambda body: {"verifiedPlaintextCrc32c": False} if "ciphertext" in body else {"plaintextCrc32c": "2"}),
    "aad not verified": edited(
        lambda body: {"verifiedAdditionalAuthenticatedDataCrc32c": False} if "ciphertext" in body else {"plaintextCrc32c": "2"}
    ),
    "changed bytes": edited(
        lambda body: {name: base64.b64encode(bytes(60)).decode() for name in ("ciphertext", "plaintext") if name in body}
    ),
}


@pytest.mark.parametrize("fault", WRONG_SUMS.values(), ids=WRONG_SUMS)
def test_wrong_crc32c(root, front, fault):
    """Once: asked for again. Always: an integrity error, and nothing is returned."""
    secret = Secret.random(32)
    front.faults.append(fault)
    wrapped = root.wrap(secret, CONTEXT)
    front.faults.append(fault)
    assert root.unwrap(wrapped, CONTEXT).same_as(secret)
    front.faults.always = fault
    for attempt in (lambda: root.unwrap(wrapped, CONTEXT), lambda: root.wrap(secret, CONTEXT)):
        front.asked.clear()
        with pytest.raises(IntegrityError, match="damaged on the way, 3 times") as caught:
            attempt()
        assert not isinstance(caught.value, WrongKey)
        assert len(front.asked) == 3


@pytest.mark.parametrize(
    ("code", "status", "hint"),
    [
        (403, "PERMISSION_DENIED", "roles/cloudkms.viewer"),
        (401, "UNAUTHENTICATED", "application-default login"),
        (404, "NOT_FOUND", "key ring"),
        (400, "FAILED_PRECONDITION", "versions list"),
        (409, "SOMETHING_NEW", "try again later"),
    ],
)
def test_refusals_have_hints(root, front, code, status, hint):
    wrapped = root.wrap(Secret.random(32), CONTEXT)
    front.faults.always = refused(code, status)
    with pytest.raises(KeyServiceUnavailable, match=f"Cloud KMS refuses .{status}") as caught:
        root.unwrap(wrapped, CONTEXT)
    assert hint in caught.value.hint
    assert "words of the service" not in str(caught.value)


def test_a_refused_argument_is_a_wrong_key_only_when_opening(root, front):
    wrapped = root.wrap(Secret.random(32), CONTEXT)
    front.faults += [refused(400, "INVALID_ARGUMENT")] * 2
    with pytest.raises(WrongKey):
        root.unwrap(wrapped, CONTEXT)
    with pytest.raises(KeyServiceUnavailable, match="INVALID_ARGUMENT"):
        root.wrap(Secret.random(32), CONTEXT)


@pytest.mark.parametrize(
    "fault",
    [faults.unavailable, faults.dropped, refused(429, "RESOURCE_EXHAUSTED"), refused(500, "INTERNAL")],
    ids=["503", "dropped", "throttled", "internal"],
)
def test_a_passing_failure_is_repeated(root, front, fault):
    secret = Secret.random(32)
    front.faults.append(fault)
    wrapped = root.wrap(secret, CONTEXT)
    front.faults.append(fault)
    assert root.unwrap(wrapped, CONTEXT).same_as(secret)


LASTING = {
    "503": faults.unavailable,
    "dropped": faults.dropped,
    "torn": faults.torn,
    "throttled": refused(429, "RESOURCE_EXHAUSTED"),
    "cut": faults.cut,
    "page": faults.page,
    "list": faults.listed,
    "nothing": faults.nothing,
    "error list": lambda front, asked: Answer.of(400, []),
    "error page": lambda front, asked: Answer(404, b"<html>"),
    "silent": faults.silent,
}


@pytest.mark.parametrize("fault", LASTING.values(), ids=LASTING)
def test_a_lasting_failure_is_ours(root, front, quick, fault):
    wrapped = root.wrap(Secret.random(32), CONTEXT)
    front.faults.always = fault
    for attempt in (lambda: root.unwrap(wrapped, CONTEXT), lambda: root.wrap(Secret.random(32), CONTEXT)):
        with pytest.raises(KeyServiceUnavailable) as caught:
            attempt()
        assert caught.value.hint
    assert root.status().state is ProviderState.UNREACHABLE
    front.faults.always = None
    assert root.status().state is ProviderState.READY
    assert len(root.unwrap(wrapped, CONTEXT)) == 32


def test_many_threads(root):
    together(registry.open_provider(root.uri, root.place))


def test_nobody_there(root, quick):
    gone = registry.open_provider(root.uri, replace(root.place, settings={"endpoint": "http://127.0.0.1:9"}))
    with pytest.raises(KeyServiceUnavailable, match="cannot be reached"):
        gone.wrap(Secret.random(32), CONTEXT)


def test_no_credentials(root, monkeypatch, quick):
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS")
    with pytest.raises(KeyServiceUnavailable, match="no credentials") as caught:
        registry.open_provider(root.uri, root.place).wrap(Secret.random(32), CONTEXT)
    assert "gcloud auth" in caught.value.hint


def test_certificates_that_cannot_be_read(root, monkeypatch, tmp_path, quick):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "ca.pem"))
    strange = registry.open_provider(root.uri, replace(root.place, settings={"endpoint": "https://127.0.0.1:9"}))
    with pytest.raises(KeyServiceUnavailable, match="cannot be reached"):
        strange.wrap(Secret.random(32), CONTEXT)


def test_credentials_of_somebody_else(root, monkeypatch, tmp_path):
    from tests.interop.gcp.service import Service

    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(Service().account_file(tmp_path / "other.json")))
    with pytest.raises(KeyServiceUnavailable, match=r"UNAUTHENTICATED|not accepted"):
        registry.open_provider(root.uri, root.place).wrap(Secret.random(32), CONTEXT)


def test_the_conformance_report(root):
    report = conformance.measure(root, seconds=0.2)
    record(report, against="a server of the tests that speaks the protocol: protocol-tested")
    found = {probe.name: probe.outcome for probe in report.probes}
    assert {found[name] for name in conformance.CORE} == {"enforced"}
    assert found[conformance.CONTEXT_IN_PROVIDER] == "enforced"
    assert found[conformance.KEK] == "enforced"
    assert not [probe for probe in report.probes if probe.contradicts]
    assert report.detail.startswith("protocol-tested")


def test_a_service_that_does_not_bind_the_context_contradicts(root, front):
    def careless(front, asked):
        body = {name: value for name, value in asked.json().items() if not name.startswith("additional")} if asked.body else None
        answer = front.answer(asked if body is None else replace(asked, body=json.dumps(body).encode()))
        found = json.loads(answer.body)
        return replace(
            answer,
            body=json.dumps(found | {"verifiedAdditionalAuthenticatedDataCrc32c": True} if "ciphertext" in found else found).encode(),
        )

    front.faults.always = careless
    wrapped = root.wrap(Secret.random(32), CONTEXT)
    with pytest.raises(IntegrityError):
        root.unwrap(wrapped, b"elsewhere")
    (probe,) = [one for one in conformance.measure(root, seconds=0.1).probes if one.name == conformance.CONTEXT_IN_PROVIDER]
    assert probe.outcome == "not enforced"
    assert probe.contradicts
