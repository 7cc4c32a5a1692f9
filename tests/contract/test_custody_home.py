"""The examples of spec/custody-home.md are read by the code, open with the keys that the page names, and are written the same way."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hermetic.crypto.hpke import PrivateKey
from hermetic.crypto.secret import Secret
from hermetic.domain.pins import Pins
from hermetic.errors import FormatError, IntegrityError, Locked, Unsupported, WrongKey
from hermetic.formats import canonical
from hermetic.ids import AssetId, DataClass, DataKeyId, DomainId, Environment, KekId, VersionId
from hermetic.keys import recipient_key, recovery_vouching, slots
from hermetic.keys.derived import DomainKeys
from hermetic.keys.domain_file import DomainFile
from hermetic.keys.passphrase_wrap import PassphraseWrap
from hermetic.keys.provider import RootId
from hermetic.keys.recovery_root import RecoveryRootFile
from hermetic.keys.wrap import DataKeyContext, KekContext, unwrap_data_key
from hermetic.providers import kernel_keyring, local_insecure_file
from hermetic.providers.local_memory import MemoryRoot
from hermetic.providers.place import Place
from hermetic.providers.recovery import RecoveryRoot

PAGE = (Path(__file__).resolve().parents[2] / "spec" / "custody-home.md").read_text()
EXAMPLES = {
    name: "".join(line.strip() for line in text.splitlines())
    for name, text in re.findall(r"^Example ([a-z-]+)[^\n]*:\n\n((?:    [^\n]+\n)+)", PAGE, re.MULTILINE)
}


def _named(word):
    return re.search(rf"{word} `([a-z2-7]{{26}})`", PAGE)[1]


DOMAIN, ROOT = DomainId(_named("domain")), RootId(_named("root"))
KEK, DATA_KEY = KekId(_named("KEK")), DataKeyId(_named("data key"))
VERSION, ASSET = VersionId(_named("of version")), AssetId(_named("of asset"))
SECRETS = [Secret(bytes(range(start, start + 32))) for start in (0, 32, 64, 96)]
PLACE = Place(Path("/"), DOMAIN, ROOT)
KEK_CONTEXT = KekContext(KEK, 1, Environment.DEVELOPMENT, data_class=DataClass.RESTRICTED, project="risk")
DATA_CONTEXT = DataKeyContext(DOMAIN, Environment.DEVELOPMENT, ASSET, VERSION, DATA_KEY)


@pytest.fixture
def root():
    return MemoryRoot("local:memory", PLACE, SECRETS[0])


def _raw(name):
    return EXAMPLES[name].encode("utf-8")


def _bytes(name):
    return bytes.fromhex(EXAMPLES[name])


def test_every_example_is_tried_here():
    tried = set(re.findall(r"_(?:raw|bytes)\(\"([a-z-]+)\"\)", Path(__file__).read_text()))
    assert tried == set(EXAMPLES)


def test_wraps_of_a_root(root):
    context = slots.kek_context(DOMAIN, ROOT, KEK_CONTEXT)
    assert context == _raw("kek-context")
    assert root.unwrap(_bytes("kek-wrap"), context).same_as(SECRETS[2])
    with pytest.raises(WrongKey):
        root.unwrap(_bytes("kek-wrap"), slots.domain_secret_context(DOMAIN, ROOT))
    with pytest.raises(FormatError):
        root.unwrap(b"HRW\x02" + _bytes("kek-wrap")[4:], context)


def test_slots(root):
    found = slots.decode(_raw("slots"))
    key = re.search(r"key `([a-z2-7]{26})`, purpose", PAGE)[1]
    seed = slots.open_first(found, {ROOT: root}, lambda at: slots.secret_key_context(DOMAIN, at, key, "log-signing"))
    assert seed.same_as(Secret(bytes(32)))
    assert slots.encode(found) == _raw("slots")


def test_domain_json(root):
    file = DomainFile.decode(_raw("domain-json"))
    secret = file.open({ROOT: root})
    assert secret.same_as(SECRETS[1])
    assert DomainKeys.from_secret(secret).check.hex() in PAGE
    assert file.encode() == _raw("domain-json")
    with pytest.raises(Unsupported):
        DomainFile.decode(_raw("domain-json").replace(b"domain/v1", b"domain/v2"))


def test_a_root_under_a_passphrase():
    parsed = PassphraseWrap.parse(_raw("passphrase-root"))
    assert parsed.open(Secret(re.search(r"passphrase is `([^`]+)`", PAGE)[1].encode())).same_as(SECRETS[0])
    with pytest.raises(FormatError, match="out of range"):
        PassphraseWrap.parse(_raw("passphrase-root").replace(b"65536", b"65535"))


def test_a_root_in_a_plain_file(tmp_path):
    place = Place(tmp_path, DOMAIN, ROOT)
    path = tmp_path / f"root-{ROOT}.json"
    path.touch(mode=0o600)
    path.write_bytes(_raw("insecure-root"))
    assert local_insecure_file.open_("local:insecure-file", place).load_root().same_as(SECRETS[0])


def test_wraps_of_data_keys():
    assert DATA_CONTEXT.encode() == _raw("data-key-context")
    key = unwrap_data_key(SECRETS[2], _bytes("data-key-wrap"), KEK_CONTEXT, DATA_CONTEXT)
    assert bytes(key.view()).hex() in PAGE
    other = DataKeyContext(DOMAIN, Environment.DEVELOPMENT, ASSET, VersionId(VERSION.replace("v", "w")), DATA_KEY)
    with pytest.raises(IntegrityError):
        unwrap_data_key(SECRETS[2], _bytes("data-key-wrap"), KEK_CONTEXT, other)


def test_pins():
    found = Pins.from_bytes(_raw("pins"))
    assert (found.domain, found.versions) == (DOMAIN, {ASSET: 3})
    assert found.to_bytes() == _raw("pins")
    with pytest.raises(FormatError):
        Pins.from_bytes(_raw("pins").replace(b'"size"', b'"sizes":0,"size"'))
    with pytest.raises(FormatError, match="does not know"):
        Pins.from_bytes(_raw("pins").replace(b'"versions"', b'"verse":0,"versions"'))
    named = set(
        re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`.+?) \|", PAGE[PAGE.index("## 8 ") : PAGE.index("## 9 ")], re.MULTILINE)))
    )
    assert named == set(canonical.decode(_raw("pins"), limit=4096))


def test_a_root_in_the_kernel():
    boot, wall, root = kernel_keyring._parse(bytearray(_bytes("kernel-key")))
    assert (boot, wall) == (60_000, 1_800_000_000_000)
    assert root.same_as(SECRETS[0])


def test_recovery_roots():
    file = RecoveryRootFile.decode(_raw("recovery-root"))
    assert file.encode() == _raw("recovery-root")
    assert f"`{file.uri}`" in PAGE
    private = PrivateKey(Secret(bytes(range(0x80, 0xA0))))
    assert private.public == file.public
    check = DomainKeys.from_secret(SECRETS[1]).check
    vouched = RecoveryRootFile.decode(_raw("recovery-root-vouched"))
    assert vouched.encode() == _raw("recovery-root-vouched")
    assert vouched == recovery_vouching.vouched(file, private, check)
    assert f"`{vouched.uri}`" in PAGE
    assert f"`{recovery_vouching.fingerprint(DOMAIN, check)}`" in PAGE
    opener = RecoveryRoot(file.uri, PLACE, private)
    assert opener.unwrap(_bytes("recovery-wrap"), slots.domain_secret_context(DOMAIN, ROOT)).same_as(SECRETS[1])
    with pytest.raises(WrongKey):
        opener.unwrap(_bytes("recovery-wrap"), slots.kek_context(DOMAIN, ROOT, KEK_CONTEXT))
    with pytest.raises(Locked):
        RecoveryRoot(file.uri, PLACE).unwrap(_bytes("recovery-wrap"), slots.domain_secret_context(DOMAIN, ROOT))


def test_recipients_keys():
    passphrase = Secret(re.search(r"passphrase is `([^`]+)`", PAGE)[1].encode())
    private = recipient_key.open_file(_raw("recipient-key"), passphrase)
    assert private.seed().same_as(Secret(bytes(range(0x80, 0xA0))))
    recipient = recipient_key.Recipient.decode(_raw("recipient"))
    assert (recipient.public, recipient.encode()) == (private.public, _raw("recipient"))
