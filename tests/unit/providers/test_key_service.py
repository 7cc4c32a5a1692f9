"""What all roots in key services share, against a service in memory; each service's own protocol is in tests/interop."""

import base64
import copy
import hashlib
import logging
import os
import sys

import pytest

from hermetic.crypto import aead
from hermetic.crypto.secret import Secret
from hermetic.errors import ConfigError, FormatError, IntegrityError, KeyServiceUnavailable, Unsupported, UsageError, WrongKey
from hermetic.formats.findings import Finding
from hermetic.keys.provider import ProviderState
from hermetic.providers import endpoints, key_service, registry
from hermetic.providers.key_service import Described, KeyServiceRoot
from hermetic.providers.place import Asked, Place
from tests.unit.providers.contract import CONTEXT, ProviderContract

LOG = logging.getLogger("service.sdk.wire")


class Service:
    """Keeps what it wraps under AES-GCM of its own; can be told to misbehave."""

    def __init__(self):
        self.key, self.described, self.answer, self.seen = Secret(bytes(range(32))), Described("well"), None, []

    def encrypt(self, key, binding):
        LOG.debug("sending %s", base64.b64encode(key).decode())
        self.seen.append((key, binding))
        return aead.seal(self.key, key, binding)

    def decrypt(self, blob, binding):
        key = self.answer or aead.open_(self.key, blob, binding)
        LOG.debug("got %s", base64.b64encode(key).decode())
        return key


class MemoryRoot(KeyServiceRoot):
    scheme = "memory"
    loggers = (LOG.name,)

    def __init__(self, uri, place, service):
        super().__init__(uri, place)
        self.service, self.connected = service, 0

    def connect(self):
        self.connected += 1
        return self.service

    def protect(self, key, binding):
        return self.client().encrypt(bytes(key.view()), binding)

    def recover(self, blob, binding):
        try:
            return Secret(self.client().decrypt(blob, binding))
        except WrongKey:
            raise self.wrong() from None

    def describe(self):
        if isinstance(self.service.described, Exception):
            raise self.service.described
        return self.service.described


@pytest.fixture
def service():
    return Service()


@pytest.fixture
def root(place, service):
    return MemoryRoot("memory:x", place, service)


class TestContract(ProviderContract):
    @pytest.fixture
    def provider(self, root):
        return root

    @pytest.fixture
    def again(self, provider, service):
        return MemoryRoot(provider.uri, provider.place, service)

    @pytest.fixture
    def other(self, places, service):
        """The same key of the service, and another root."""
        return MemoryRoot("memory:x", places(), service)


def test_written_by_version_1(tmp_path):
    """Bytes as the module says, put together by hand."""
    root = MemoryRoot("memory:x", Place(tmp_path, "d" + "a" * 25, "r" + "a" * 25), Service())
    key, nonce = bytes(range(64, 96)), bytes(12)
    place = b"HKS\x01memory\nr" + b"a" * 25 + b"\n" + CONTEXT
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    binding = hashlib.sha384(b"hermetic/v1/key-service\n" + place).digest()
    blob = nonce + AESGCM(bytes(range(32))).encrypt(nonce, key, binding)
    wrapped = (
        b"HKS\x01"
        + len(blob).to_bytes(2, "big")
        + blob
        + nonce
        + AESGCM(key).encrypt(nonce, b"secret", place + hashlib.sha384(blob).digest())
    )
    assert hashlib.sha256(wrapped).hexdigest() == "6629e87ae1c265336cd9f5cd1eedbada5d55dc5974b7573c0896387c86b811de"
    assert bytes(root.unwrap(wrapped, CONTEXT).view()) == b"secret"


def test_the_service_sees_no_secret_and_no_context(root, service):
    secret = Secret(b"\xaa\x55" * 16)
    root.wrap(secret, CONTEXT)
    ((key, binding),) = service.seen
    assert len(key) == 32
    assert key != bytes(secret.view())
    assert CONTEXT not in binding
    assert len(binding) == 48


def moved(root, service, answer=None):
    """As a service does that moves what it wrapped to a newer key by itself."""

    def move(blob, binding):
        return answer or service.encrypt(service.decrypt(blob, binding), binding)

    return lambda wrapped, context: root.moved(wrapped, context, move)


@pytest.mark.parametrize("how", ["rewrap", "moved"])
def test_rewrap_keeps_the_secret(root, service, how):
    secret = Secret.random(32)
    wrapped = root.wrap(secret, CONTEXT)
    rewrap = root.rewrap if how == "rewrap" else moved(root, service)
    renewed = rewrap(wrapped, CONTEXT)
    assert renewed != wrapped
    assert root.unwrap(renewed, CONTEXT).same_as(secret)
    assert root.unwrap(wrapped, CONTEXT).same_as(secret)
    with pytest.raises(WrongKey):
        rewrap(wrapped, b"elsewhere")
    with pytest.raises(FormatError):
        rewrap(b"HKS\x01", CONTEXT)


def test_a_move_to_another_key_is_found_before_it_is_kept(root, service):
    wrapped = root.wrap(Secret.random(32), CONTEXT)
    root.wrap(Secret.random(32), CONTEXT)
    binding = service.seen[0][1]
    with pytest.raises(WrongKey):
        moved(root, service, service.encrypt(bytes(32), binding))(wrapped, CONTEXT)


def test_what_the_service_wrapped_is_bound_here_too(root, service):
    """A service may open more than one spelling of what it wrapped."""
    wrapped = root.wrap(Secret.random(32), CONTEXT)
    ((key, _),) = service.seen
    service.answer = key
    changed = bytearray(wrapped)
    changed[10] ^= 1
    with pytest.raises(WrongKey):
        root.unwrap(bytes(changed), CONTEXT)


def test_a_service_that_answers_with_another_key(root, service):
    wrapped = root.wrap(Secret.random(32), CONTEXT)
    service.answer = bytes(32)
    with pytest.raises(WrongKey):
        root.unwrap(wrapped, CONTEXT)
    service.answer = bytes(31)
    with pytest.raises(IntegrityError, match="31 bytes"):
        root.unwrap(wrapped, CONTEXT)


@pytest.mark.parametrize("blob", [b"", bytes(8193)], ids=len)
def test_a_service_that_makes_wraps_of_no_size(root, monkeypatch, blob):
    monkeypatch.setattr(root, "protect", lambda key, binding: blob)
    with pytest.raises(IntegrityError, match="expected 1 to 8192"):
        root.wrap(Secret.random(32), CONTEXT)


def test_what_an_sdk_logs_of_calls_is_dropped(root, service, caplog):
    caplog.set_level(logging.DEBUG)
    wrapped = root.wrap(Secret.random(32), CONTEXT)
    root.unwrap(wrapped, CONTEXT)
    root.rewrap(wrapped, CONTEXT)
    assert caplog.text == ""
    service.encrypt(b"the application's own", b"")
    assert "sending" in caplog.text
    LOG.warning("shown")
    assert "shown" in caplog.text


def test_status(root, service):
    finding = root.finding("root-not-rotated", "low", "it does not rotate", "rotate it")
    service.described = Described("well", findings=(finding,))
    status = root.status()
    assert (status.state, status.detail, status.findings[0]) == (ProviderState.READY, "protocol-tested; well", finding)
    assert [one.code for one in status.findings[1:]] == ["protocol-tested"]
    assert isinstance(finding, Finding)
    assert finding.subject == root.root_id
    assert not status.root_in_process
    service.described = Described("key 1", down="the key is Disabled")
    assert root.status().state is ProviderState.UNREACHABLE
    assert root.status().detail == "protocol-tested; the key is Disabled; key 1"
    service.described = KeyServiceUnavailable("nobody there", hint="go and look")
    assert root.status().detail == "protocol-tested; nobody there"
    service.described = Unsupported("it is not installed")
    assert root.status().state is ProviderState.UNREACHABLE


def test_a_root_is_tried_when_it_is_taken(root, service):
    key_service.create(root, Asked())
    assert len(service.seen) == 1
    service.described = Described("", unfit="a key for signing cannot be a root", hint="make another")
    with pytest.raises(UsageError, match="for signing") as caught:
        key_service.create(root, Asked())
    assert caught.value.hint == "make another"
    service.described = Described("", down="the key is Disabled", hint="enable it")
    with pytest.raises(KeyServiceUnavailable, match="Disabled"):
        key_service.create(root, Asked())
    service.described, service.answer = Described("well"), bytes(32)
    with pytest.raises(WrongKey):
        key_service.create(root, Asked())
    with pytest.raises(UsageError, match="cannot be brought into memory"):
        key_service.create(root, Asked(root=Secret.random(32)))


def test_a_forked_child_connects_anew(root):
    root.wrap(Secret.random(32), CONTEXT)
    assert root.connected == 1
    child = os.fork()
    if child == 0:
        root.client()
        os._exit(root.connected)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 2
    root.client()
    assert root.connected == 1


def test_it_is_not_copied(root):
    root.wrap(Secret.random(32), CONTEXT)
    with pytest.raises(TypeError):
        copy.deepcopy(root)


@pytest.mark.parametrize(
    "value",
    [
        "https://kms.example.org",
        "https://kms.example.org:8443/",
        "http://127.0.0.1:4566",
        "http://localhost",
        "http://[::1]:80",
        "https://[2001:db8::1]",
    ],
)
def test_addresses(value):
    assert endpoints.endpoint("awskms:x", value) == value.rstrip("/")


@pytest.mark.parametrize(
    "value",
    [
        "kms.example.org",
        "http://kms.example.org",
        "http://127.0.0.1.example.org",
        "https://user:pass@kms.example.org",
        "https://kms.example.org/path",
        "https://kms.example.org?x=1",
        "https://kms.example.org#x",
        "ftp://127.0.0.1",
        "https://",
        "https://h:0",
        "https://h:65536",
        "http://10.0.0.1",
        "https://a b",
        "https://h\n",
        "",
    ],
)
def test_addresses_that_are_refused(value):
    with pytest.raises(ConfigError, match="endpoint is the address of a server"):
        endpoints.endpoint("awskms:x", value)


@pytest.mark.parametrize("value", [None, 7, "", "a", "two words", "x" * 61, "key=AKIA", "line\nend"])
def test_only_plain_words_of_a_service_are_shown(value):
    assert endpoints.word(value, "status 400") == "status 400"
    assert endpoints.word("DisabledException", "") == "DisabledException"


AWS = "1234abcd-12ab-34cd-56ef-1234567890ab"
GCP = "projects/p-123/locations/europe-west1/keyRings/r/cryptoKeys/k"


@pytest.mark.parametrize(
    "uri",
    [
        f"awskms:eu-west-1/{AWS}",
        "awskms:us-gov-east-1/alias/hermetic/root",
        "awskms:eu-west-1/mrk-" + "0" * 32,
        f"awskms:arn:aws:kms:eu-west-1:111122223333:key/{AWS}",
        "awskms:arn:aws-cn:kms:cn-north-1:111122223333:alias/x",
        f"gcpkms:{GCP}",
        "gcpkms:projects/example.com:p/locations/global/keyRings/r/cryptoKeys/k",
        "azurekv:team.vault.azure.net/keys/hermetic",
        "azurekv:pool.managedhsm.azure.net/keys/hermetic",
    ],
)
def test_uris(place, uri):
    """Nothing is imported and nothing called to open one."""
    before = set(sys.modules)
    assert registry.open_provider(uri, place).uri == uri
    assert not {name for name in set(sys.modules) - before if name.startswith(("boto", "google", "azure"))}


@pytest.mark.parametrize(
    "uri",
    [
        "awskms:alias/x",
        f"awskms:{AWS}",
        "awskms:eu-west-1/alias/aws/s3",
        "awskms:EU/alias/x",
        "awskms:eu-west-1/not-an-id",
        "awskms:eu-west-1/alias/",
        "awskms:x/alias/x",
        f"awskms:arn:aws:s3:eu-west-1:111122223333:key/{AWS}",
        f"awskms:arn:aws:kms:eu-west-1:1:key/{AWS}",
        f"awskms:arn:aws:kms:eu-west-1:111122223333:{AWS}",
        f"gcpkms:{GCP}/cryptoKeyVersions/1",
        "gcpkms:k",
        f"gcpkms:/{GCP}",
        "azurekv:team/keys/x",
        "azurekv:team.vault.azure.net/keys/",
        "azurekv:team.vault.azure.net/secrets/x",
        "azurekv:https://team.vault.azure.net/keys/x",
        "azurekv:team.vault.azure.net/keys/x/0123456789abcdef0123456789abcdef",
    ],
)
def test_uris_that_are_refused(place, uri):
    with pytest.raises(UsageError, match="names no key") as caught:
        registry.open_provider(uri, place)
    assert caught.value.hint.startswith(uri.partition(":")[0])


def settings_for(place, **settings):
    return Place(place.home, place.domain, place.root_id, settings=settings)


@pytest.mark.parametrize(
    ("uri", "settings", "why"),
    [
        ("awskms:eu-west-1/alias/x", {"endpoint": "http://kms.example.org"}, "endpoint is the address"),
        ("awskms:eu-west-1/alias/x", {"secret_key": "x"}, "unknown setting 'secret_key'"),
        ("awskms:eu-west-1/alias/x", {"ca": "ca.pem"}, "ca is an absolute path"),
        ("awskms:eu-west-1/alias/x", {"replicas": "eu-west-2"}, "replicas are for multi-Region keys"),
        ("awskms:eu-west-1/alias/mrk-x", {"replicas": "eu-west-2"}, "replicas are for multi-Region keys"),
        ("awskms:eu-west-1/mrk-" + "0" * 32, {"replicas": "eu-west-1"}, "replicas are other Regions"),
        ("awskms:eu-west-1/mrk-" + "0" * 32, {"replicas": "eu-west-2,"}, "replicas are other Regions"),
        (f"gcpkms:{GCP}", {"endpoint": "https://x/y"}, "endpoint is the address"),
        (f"gcpkms:{GCP}", {"credentials": "x"}, "unknown setting"),
        ("azurekv:team.vault.azure.net/keys/x", {"endpoint": "http://team.example.org"}, "endpoint is the address"),
        ("azurekv:team.vault.azure.net/keys/x", {"client_secret": "x"}, "unknown setting"),
    ],
)
def test_settings_that_are_refused(place, uri, settings, why):
    with pytest.raises(ConfigError, match=why):
        registry.open_provider(uri, settings_for(place, **settings))


@pytest.mark.parametrize(
    ("uri", "module", "extra"),
    [
        ("awskms:eu-west-1/alias/x", "botocore.exceptions", "aws"),
        (f"gcpkms:{GCP}", "google.api_core.exceptions", "gcp"),
        ("azurekv:team.vault.azure.net/keys/x", "azure.core.exceptions", "azure"),
    ],
)
def test_an_extra_that_is_not_installed(place, monkeypatch, uri, module, extra):
    monkeypatch.setitem(sys.modules, module, None)
    root = registry.open_provider(uri, place)
    with pytest.raises(Unsupported, match="is not installed") as caught:
        root.wrap(Secret.random(32), CONTEXT)
    assert caught.value.hint == f"pip install '.[{extra}]'"
    assert root.status().state is ProviderState.UNREACHABLE
