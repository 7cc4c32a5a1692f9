"""`awskms:` against servers that speak its protocol, through boto3 as it is."""

from __future__ import annotations

import base64
import json
import logging
import re
from dataclasses import replace

import pytest

from hermetic.crypto.secret import Secret
from hermetic.errors import IntegrityError, KeyServiceUnavailable, UsageError, WrongKey
from hermetic.keys.provider import ProviderState
from hermetic.providers import awskms, conformance, registry
from scripts.providers_table import record
from tests.interop import front as faults
from tests.interop.aws.conftest import REGION, client
from tests.interop.front import Answer, Front, forward
from tests.interop.rooted import together
from tests.unit.providers.contract import CONTEXT, ProviderContract


def new_key(endpoint, **more):
    """Make a key and return its URI."""
    given = {"KeyUsage": "ENCRYPT_DECRYPT", "KeySpec": "SYMMETRIC_DEFAULT"} | more
    return f"awskms:{REGION}/{client(endpoint).create_key(**given)['KeyMetadata']['KeyId']}"


def id_of(root):
    return root.uri.rpartition("/")[2]


def codes(provider):
    """Which findings there are, besides the one that all have."""
    found = {finding.code for finding in provider.status().findings}
    assert "protocol-tested" in found
    return found - {"protocol-tested"}


class Contract(ProviderContract):
    @pytest.fixture
    def provider(self, endpoint, places):
        return registry.create_root(new_key(endpoint), places(endpoint=endpoint))

    @pytest.fixture
    def again(self, provider):
        return registry.open_provider(provider.uri, provider.place)

    @pytest.fixture
    def other(self, provider, places, endpoint):
        """Another root with the same key of the service."""
        return registry.create_root(provider.uri, places(endpoint=endpoint))


class TestMoto(Contract):
    @pytest.fixture
    def endpoint(self, moto):
        return moto

    def test_flipped_bits_refuse(self, provider):
        """As for all, save that moto looks up its key by the first 36 bytes of the blob, and may say "denied" when there is none."""
        wrapped = provider.wrap(Secret.random(32), CONTEXT)
        for at in range(len(wrapped)):
            changed = bytearray(wrapped)
            changed[at] ^= 1 << at % 8
            with pytest.raises((IntegrityError, KeyServiceUnavailable) if 6 <= at < 42 else IntegrityError):
                provider.unwrap(bytes(changed), CONTEXT)


class TestMinistack(Contract):
    @pytest.fixture
    def endpoint(self, ministack):
        return ministack


@pytest.fixture
def root(front, places):
    """A root in moto, reached through the front."""
    made = registry.create_root(new_key(front.url), places(endpoint=front.url))
    front.asked.clear()
    return made


@pytest.fixture
def stated(ministack, places):
    """A root in ministack, which keeps the states of keys."""
    return registry.create_root(new_key(ministack), places(endpoint=ministack))


def sent(front, operation):
    return [asked.json() for asked in front.asked if asked.headers["X-Amz-Target"] == f"TrentService.{operation}"]


def test_what_the_service_is_given(root, front):
    secret = Secret(b"\xaa\x55" * 16)
    root.unwrap(root.wrap(secret, CONTEXT), CONTEXT)
    (encrypt,), (decrypt,) = sent(front, "Encrypt"), sent(front, "Decrypt")
    assert encrypt["EncryptionContext"] == decrypt["EncryptionContext"]
    assert encrypt["EncryptionContext"]["root"] == root.root_id
    assert len(base64.b64decode(encrypt["EncryptionContext"]["hermetic"])) == 48
    assert decrypt["KeyId"] == id_of(root)
    assert len(base64.b64decode(encrypt["Plaintext"])) == 32
    assert base64.b64encode(bytes(secret.view())).decode() not in encrypt["Plaintext"]
    assert "kek" not in json.dumps(encrypt["EncryptionContext"])


def test_nothing_of_a_call_is_logged(root, front, caplog):
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, logger="botocore")
    wrapped = root.wrap(Secret.random(32), CONTEXT)
    root.unwrap(wrapped, CONTEXT)
    root.rewrap(wrapped, CONTEXT)
    (encrypt, *_) = sent(front, "Encrypt")
    key = base64.b64decode(encrypt["Plaintext"])
    assert len(key) == 32
    logged = "\n".join(str(vars(record)) for record in caplog.records)
    for shape in (encrypt["Plaintext"], key.hex(), repr(key)[2:-1]):
        assert shape not in logged
    client(front.url).encrypt(KeyId=id_of(root), Plaintext=b"the application's own")
    assert base64.b64encode(b"the application's own").decode() in caplog.text  # which shows that the search finds


def test_rewrap_is_re_encrypt(root, front):
    secret = Secret.random(32)
    wrapped = root.wrap(secret, CONTEXT)
    client(front.url).rotate_key_on_demand(KeyId=id_of(root))
    front.asked.clear()
    renewed = root.rewrap(wrapped, CONTEXT)
    (asked,) = sent(front, "ReEncrypt")
    assert asked["SourceKeyId"] == asked["DestinationKeyId"] == id_of(root)
    assert asked["SourceEncryptionContext"] == asked["DestinationEncryptionContext"]
    assert renewed != wrapped
    assert root.unwrap(renewed, CONTEXT).same_as(secret)
    assert root.unwrap(wrapped, CONTEXT).same_as(secret)


@pytest.mark.parametrize("form", ["alias", "arn", "alias arn"])
def test_names_of_a_key(moto, places, form):
    meta = client(moto).describe_key(KeyId=new_key(moto).rpartition("/")[2])["KeyMetadata"]
    alias = f"alias/hermetic-{meta['KeyId'][:8]}"
    client(moto).create_alias(AliasName=alias, TargetKeyId=meta["KeyId"])
    before, account = f"awskms:arn:aws:kms:{REGION}:", meta["AWSAccountId"]
    uri = {"alias": f"awskms:{REGION}/{alias}", "arn": f"awskms:{meta['Arn']}", "alias arn": f"{before}{account}:{alias}"}[form]
    root = registry.create_root(uri, places(endpoint=moto))
    assert root.unwrap(root.wrap(Secret.random(32), CONTEXT), CONTEXT)
    assert ("root-by-alias" in codes(root)) == ("alias" in uri)


def test_a_blob_of_another_key_is_refused(stated, ministack, places):
    """Of a key that the same credentials may use: the key that is named decides, not what the credentials may."""
    other = registry.create_root(new_key(ministack), places(endpoint=ministack))
    object.__setattr__(other, "place", stated.place)
    assert other.root_id == stated.root_id
    wrapped = other.wrap(Secret.random(32), CONTEXT)
    with pytest.raises(WrongKey) as caught:
        stated.unwrap(wrapped, CONTEXT)
    assert caught.value.exit_code == 4


@pytest.mark.parametrize(
    ("change", "state", "hint"),
    [("disable_key", "Disabled", "aws kms enable-key"), ("schedule_key_deletion", "PendingDeletion", "aws kms cancel-key-deletion")],
)
def test_a_key_that_is_taken_away_behind_our_back(stated, ministack, change, state, hint):
    wrapped = stated.wrap(Secret.random(32), CONTEXT)
    getattr(client(ministack), change)(KeyId=id_of(stated))
    for attempt in (lambda: stated.unwrap(wrapped, CONTEXT), lambda: stated.wrap(Secret.random(32), CONTEXT)):
        with pytest.raises(KeyServiceUnavailable, match="AWS KMS refuses") as caught:
            attempt()
        assert hint in caught.value.hint
        assert caught.value.exit_code == 6
    status = stated.status()
    assert status.state is ProviderState.UNREACHABLE
    assert f"the key is {state}" in status.detail
    assert ("root-deletion-pending" in codes(stated)) == (state == "PendingDeletion")
    with pytest.raises(KeyServiceUnavailable, match=f"the key is {state}") as caught:
        registry.create_root(stated.uri, stated.place)
    assert hint in caught.value.hint
    if state == "PendingDeletion":
        client(ministack).cancel_key_deletion(KeyId=id_of(stated))
    client(ministack).enable_key(KeyId=id_of(stated))
    assert len(stated.unwrap(wrapped, CONTEXT)) == 32
    assert stated.status().state is ProviderState.READY


def test_a_key_that_is_not_there(moto, places):
    with pytest.raises(KeyServiceUnavailable, match="NotFoundException") as caught:
        registry.create_root(f"awskms:{REGION}/00000000-0000-0000-0000-000000000000", places(endpoint=moto))
    assert "Region and key" in caught.value.hint


@pytest.mark.parametrize(
    ("usage", "spec"), [("SIGN_VERIFY", "RSA_2048"), ("ENCRYPT_DECRYPT", "RSA_2048"), ("GENERATE_VERIFY_MAC", "HMAC_256")]
)
def test_keys_of_other_kinds_are_refused(moto, places, usage, spec):
    uri = new_key(moto, KeyUsage=usage, KeySpec=spec)
    with pytest.raises(UsageError, match=f"a key {spec} for {usage} cannot be a root"):
        registry.create_root(uri, places(endpoint=moto))


def test_what_status_finds(ministack, places):
    uri = new_key(ministack)
    root = registry.create_root(uri, places(endpoint=ministack))
    status = root.status()
    assert status.state is ProviderState.READY
    assert status.detail == "protocol-tested; key Enabled, origin AWS_KMS, rotation off"
    assert not status.root_in_process
    assert codes(root) == {"root-not-rotated"}
    client(ministack).enable_key_rotation(KeyId=id_of(root))
    assert codes(root) == set()


META = {"KeyId": "x", "KeySpec": "SYMMETRIC_DEFAULT", "KeyUsage": "ENCRYPT_DECRYPT", "KeyState": "Enabled", "Origin": "AWS_KMS"}


def refused(code, status=400):
    return lambda front, asked: Answer.of(status, {"__type": code, "message": "words of the service"})


def described(**more):
    return lambda front, asked: Answer.of(200, {"KeyMetadata": META | more})


def test_imported_key_material_that_ends(root, front):
    front.faults.append(described(Origin="EXTERNAL", ExpirationModel="KEY_MATERIAL_EXPIRES", ValidTo=1_900_000_000))
    finding, _ = root.status().findings
    assert (finding.code, finding.severity) == ("root-material-expires", "high")
    assert "ends on 2030-03-17" in finding.message


def test_rotation_that_is_not_shown(root, front):
    front.faults += [described(MultiRegion=True), refused("AccessDeniedException")]
    status = root.status()
    assert (status.state, len(status.findings)) == (ProviderState.READY, 1)
    assert status.detail.endswith("rotation not shown, multi-Region")


@pytest.mark.parametrize(
    ("code", "hint"),
    [
        ("AccessDeniedException", "kms:DescribeKey, kms:Encrypt, kms:Decrypt"),
        ("DisabledException", "enable-key"),
        ("KMSInvalidStateException", "cancel-key-deletion"),
        ("NotFoundException", "account of the credentials"),
        ("ExpiredTokenException", "boto3 looks for credentials"),
        ("UnrecognizedClientException", "boto3 looks for credentials"),
        ("SomethingNew", "try again later"),
    ],
)
def test_refusals_have_hints(root, front, code, hint):
    wrapped = root.wrap(Secret.random(32), CONTEXT)
    front.faults.append(refused(code))
    with pytest.raises(KeyServiceUnavailable, match=re.escape(f"AWS KMS refuses ({code})")) as caught:
        root.unwrap(wrapped, CONTEXT)
    assert hint in caught.value.hint
    assert "words of the service" not in str(caught.value)
    assert len(root.unwrap(wrapped, CONTEXT)) == 32


def test_a_denied_root_is_not_made(front, places):
    uri = new_key(front.url)
    front.faults.append(refused("AccessDeniedException"))
    with pytest.raises(KeyServiceUnavailable, match="AccessDenied") as caught:
        registry.create_root(uri, places(endpoint=front.url))
    assert "kms:Encrypt" in caught.value.hint


def test_one_that_may_encrypt_and_not_decrypt_is_not_made(front, places):
    uri = new_key(front.url)
    front.faults.always = lambda front, asked: (
        refused("AccessDeniedException")(front, asked) if asked.headers["X-Amz-Target"].endswith("Decrypt") else front.answer(asked)
    )
    with pytest.raises(KeyServiceUnavailable, match="AccessDenied"):
        registry.create_root(uri, places(endpoint=front.url))


@pytest.mark.parametrize(
    "fault",
    [faults.unavailable, faults.dropped, faults.torn, refused("ThrottlingException"), refused("KMSInternalException", 500)],
    ids=["503", "dropped", "torn", "throttled", "internal"],
)
def test_a_passing_failure_is_repeated(root, front, quick, fault):
    secret = Secret.random(32)
    front.faults.append(fault)
    wrapped = root.wrap(secret, CONTEXT)
    front.faults.append(fault)
    assert root.unwrap(wrapped, CONTEXT).same_as(secret)


@pytest.mark.parametrize(
    "fault",
    [
        faults.unavailable,
        faults.dropped,
        faults.torn,
        refused("ThrottlingException"),
        faults.cut,
        faults.nothing,
        faults.page,
        faults.listed,
        faults.silent,
    ],
    ids=["503", "dropped", "torn", "throttled", "cut", "nothing", "page", "list", "silent"],
)
def test_a_lasting_failure_is_ours(front, places, quick, fault):
    root = registry.create_root(new_key(front.url), places(endpoint=front.url))
    wrapped = root.wrap(Secret.random(32), CONTEXT)
    front.faults.always = fault
    for attempt in (
        lambda: root.unwrap(wrapped, CONTEXT),
        lambda: root.wrap(Secret.random(32), CONTEXT),
        lambda: root.rewrap(wrapped, CONTEXT),
    ):
        front.asked.clear()
        with pytest.raises(KeyServiceUnavailable) as caught:
            attempt()
        assert caught.value.hint
        assert len(front.asked) <= awskms.ATTEMPTS
    assert root.status().state is ProviderState.UNREACHABLE
    front.faults.always = None
    assert root.status().state is ProviderState.READY
    assert len(root.unwrap(wrapped, CONTEXT)) == 32


def test_many_threads(root):
    together(registry.open_provider(root.uri, root.place))


def test_nobody_there(root, front, quick):
    wrapped = root.wrap(Secret.random(32), CONTEXT)
    gone = registry.open_provider(root.uri, replace(root.place, settings={"endpoint": "http://127.0.0.1:9"}))
    with pytest.raises(KeyServiceUnavailable, match="cannot be reached in eu-west-1"):
        gone.unwrap(wrapped, CONTEXT)


@pytest.mark.parametrize("content", [None, b"no certificate"])
def test_certificates_that_cannot_be_read(root, quick, tmp_path, content):
    if content is not None:
        (tmp_path / "ca.pem").write_bytes(content)
    settings = {"endpoint": "https://127.0.0.1:9", "ca": str(tmp_path / "ca.pem")}
    strange = registry.open_provider(root.uri, replace(root.place, settings=settings))
    with pytest.raises(KeyServiceUnavailable, match="cannot be reached"):
        strange.wrap(Secret.random(32), CONTEXT)
    assert strange.status().state is ProviderState.UNREACHABLE


def test_no_credentials(root, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    with pytest.raises(KeyServiceUnavailable, match="no credentials") as caught:
        registry.open_provider(root.uri, root.place).wrap(Secret.random(32), CONTEXT)
    assert "profile" in caught.value.hint


def test_a_profile_that_is_not_there(front, places):
    root = registry.open_provider(new_key(front.url), places(endpoint=front.url, profile="nobody"))
    with pytest.raises(KeyServiceUnavailable, match="ProfileNotFound"):
        root.wrap(Secret.random(32), CONTEXT)


def test_the_environment_does_not_move_the_endpoint(root, front, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL_KMS", "http://127.0.0.1:9")
    assert registry.open_provider(root.uri, root.place).wrap(Secret.random(32), CONTEXT)


def region_of(asked):
    return re.search(r"Credential=[^/]+/[0-9]+/([a-z0-9-]+)/kms/", asked.headers["Authorization"])[1]


@pytest.fixture
def between(ministack):
    with Front(forward(ministack)) as front:
        yield front


@pytest.fixture
def replicated(ministack, between, places):
    """A root whose key is in two Regions."""
    uri = new_key(ministack, MultiRegion=True)
    client(ministack).replicate_key(KeyId=uri.rpartition("/")[2], ReplicaRegion="us-east-1")
    return registry.create_root(uri, places(endpoint=between.url, replicas="us-east-1"))


def test_a_replica_takes_over_when_a_region_is_out_of_reach(replicated, between, quick):
    assert id_of(replicated).startswith("mrk-")
    secret = Secret.random(32)
    wrapped = replicated.wrap(secret, CONTEXT)
    assert {region_of(asked) for asked in between.asked} == {REGION}
    between.faults.always = lambda front, asked: Answer(503) if region_of(asked) == REGION else front.answer(asked)
    again = registry.open_provider(replicated.uri, replicated.place)
    assert again.unwrap(wrapped, CONTEXT).same_as(secret)
    elsewhere = again.wrap(secret, CONTEXT)
    assert region_of(between.asked[-1]) == "us-east-1"
    assert again.status().state is ProviderState.READY
    between.faults.always = None
    assert replicated.unwrap(elsewhere, CONTEXT).same_as(secret)
    between.faults.always = faults.unavailable
    with pytest.raises(KeyServiceUnavailable, match=f"refuses|cannot be reached in {REGION}"):
        again.unwrap(wrapped, CONTEXT)


def test_a_region_that_says_no_is_not_gone_around(replicated, between, ministack):
    wrapped = replicated.wrap(Secret.random(32), CONTEXT)
    client(ministack).disable_key(KeyId=id_of(replicated))
    between.asked.clear()
    with pytest.raises(KeyServiceUnavailable, match="refuses"):
        replicated.unwrap(wrapped, CONTEXT)
    assert {region_of(asked) for asked in between.asked} == {REGION}


def test_the_conformance_report(stated):
    report = conformance.measure(stated, seconds=0.2)
    record(report, against="ministack 1.5.33: protocol-tested")
    found = {probe.name: probe.outcome for probe in report.probes}
    assert {found[name] for name in conformance.CORE} == {"enforced"}
    assert found[conformance.CONTEXT_IN_PROVIDER] == "enforced"
    assert found[conformance.KEK] == "enforced"
    assert not [probe for probe in report.probes if probe.contradicts]
    assert report.unwraps_per_s > 0
    assert {one.part: one.lasts for one in report.protections} == {"wrap": True, "path": None}


def test_a_service_that_does_not_bind_the_context_contradicts(front, places):
    """As one does that throws the encryption context away: our own binding still holds, and the report tells."""

    def careless(front, asked):
        body = asked.json()
        for name in ("EncryptionContext", "SourceEncryptionContext", "DestinationEncryptionContext"):
            body.pop(name, None)
        text = json.dumps(body).encode()
        return front.answer(faults.Asked(asked.method, asked.path, asked.headers | {"Content-Length": str(len(text))}, text))

    front.faults.always = careless
    root = registry.create_root(new_key(front.url), places(endpoint=front.url))
    wrapped = root.wrap(Secret.random(32), CONTEXT)
    with pytest.raises(IntegrityError):
        root.unwrap(wrapped, b"elsewhere")
    (probe,) = [one for one in conformance.measure(root, seconds=0.1).probes if one.name == conformance.CONTEXT_IN_PROVIDER]
    assert probe.outcome == "not enforced"
    assert probe.contradicts
