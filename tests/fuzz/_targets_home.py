"""Fuzz targets: the files of the custody home and of a user's settings, and what people type."""

from __future__ import annotations

import contextlib
import json

from hermetic.assets import pending
from hermetic.cli import words
from hermetic.crypto.secret import Secret
from hermetic.domain import backup, config, pins
from hermetic.ids import AssetName, Ref, check_id, check_member
from hermetic.integrations import places
from hermetic.keys import domain_file, passphrase_wrap, slots, wrap
from hermetic.providers import kernel_keyring, local_insecure_file, pkcs11_uri, private_file, tpm, tpm_pcrs
from hermetic.providers.local_root import LocalRoot
from hermetic.providers.place import Place
from hermetic.stores.base import check_key, check_prefix
from hermetic.stores.memory import MemoryStore
from tests.fuzz._target import DOMAIN, ID, NAMED, NOTE, ROOT, Target, may_refuse, same
from tests.fuzz._targets_policy import CONFIG

PLACE = Place(ROOT, DOMAIN, slots.RootId(ID))
KEK = wrap.KekContext(wrap.KekId(ID), 1, wrap.Environment.DEVELOPMENT, wrap.DataClass.INTERNAL, "p")
DATA = wrap.DataKeyContext(DOMAIN, wrap.Environment.DEVELOPMENT, wrap.AssetId(ID), wrap.VersionId(ID), wrap.DataKeyId(ID))
OTHER = "b" * 25 + "a"


class _Root(LocalRoot):
    """A provider whose root everybody knows."""

    def __init__(self) -> None:
        super().__init__("local:memory", PLACE)

    def load_root(self) -> Secret:
        return Secret(bytes(32))


def _domain_file(raw: bytes) -> None:
    with may_refuse():
        same(raw, slots.encode(slots.decode(raw)))
    found = domain_file.DomainFile.decode(raw)
    same(raw, found.encode())
    found.open({root.root_id: _Root() for root in found.roots})


def _passphrase_wrap(raw: bytes) -> None:
    parsed = passphrase_wrap.PassphraseWrap.parse(raw)
    if not 65_536 <= parsed.parameters.memory_kib <= 2**22:
        raise AssertionError(parsed.parameters)


@contextlib.contextmanager
def _file_holds(raw: bytes):
    kept, private_file.read = private_file.read, lambda path, limit: raw
    try:
        yield
    finally:
        private_file.read = kept


def _insecure_root(raw: bytes) -> None:
    with _file_holds(raw):
        if len(local_insecure_file.open_("local:insecure-file", PLACE).load_root()) != 32:
            raise AssertionError


def _tpm_root(raw: bytes) -> None:
    with _file_holds(raw):
        found = tpm.open_("tpm:sha256:2,7", PLACE).sealed()
    if set(found.registers) != {2, 7} or {len(value) for value in found.registers.values()} != {32}:
        raise AssertionError(found)


def _provider_uris(raw: bytes) -> None:
    text = raw.decode("utf-8", "replace")
    with may_refuse():
        registers = tpm_pcrs.selection(text)
        if f"tpm:{registers}" != text:
            raise AssertionError(text)
    found = pkcs11_uri.parse(text)
    if not found.token or not found.label or len(found.token.encode()) > 32:
        raise AssertionError(found)


def _config(raw: bytes) -> None:
    with _file_holds(raw):
        config.load(ROOT).to_text()


def _pins(raw: bytes) -> None:
    found = pins.Pins.from_bytes(raw)
    if pins.Pins.from_bytes(found.to_bytes()) != found:
        raise AssertionError(raw[:200])
    for call in (
        lambda: found.trusting((str(NAMED),), {"k": "x"}),
        lambda: pins.root_of(found.checkpoint),
        lambda: found.merged(found.with_checkpoint(2, 7, "x")),
    ):
        with may_refuse():
            call()


def _index(raw: bytes) -> None:
    index = backup.Index.from_bytes(raw)
    same(raw, index.to_bytes())
    store = MemoryStore()
    store.put_bytes("pack-000000000001", bytes(100))
    backup.Copies(store, Secret(bytes(32))).fetch(index)


def _sealed_values(raw: bytes) -> None:
    for call in (
        lambda: wrap.unwrap_data_key(Secret(bytes(32)), raw, KEK, DATA),
        lambda: wrap.open_payload(Secret(raw or b"x"), DATA),
        lambda: _Root().unwrap(raw, b"context"),
        lambda: kernel_keyring._parse(bytearray(raw)),
    ):
        with may_refuse():
            call()


def _names(raw: bytes) -> None:
    text = raw.decode("utf-8", "surrogateescape")
    for parse in (Ref.parse, AssetName.parse):
        with may_refuse():
            found = parse(text)
            if parse(str(found)) != found:
                raise AssertionError(text)
    for check in (check_id, check_member, check_key, check_prefix, domain_file.check_uri):
        with may_refuse():
            check(text)
    for name, member in places.parse(places.strip(text)).candidates():
        if AssetName.parse(str(name)) != name or not text.strip("/").endswith(member):
            raise AssertionError(text)


def _claim(raw: bytes) -> None:
    claim = pending.Claim.decode(raw)
    if pending.Claim.decode(claim.encode()) != claim:
        raise AssertionError(claim)


def _words(raw: bytes) -> None:
    text = raw.decode("utf-8", "surrogateescape")
    shown = words.one_line(text)
    if any(ord(char) < 32 or 127 <= ord(char) < 160 for char in shown):
        raise AssertionError(shown)
    words.moment(int.from_bytes(raw[:8], "big", signed=True))
    words.size(int.from_bytes(raw[:8], "big"))
    if words.seconds(text) <= 0:
        raise AssertionError(text)


def _indexes() -> list[bytes]:
    index = backup.Index(1, 1, 5, bytes(32), 7, (backup.Placed(bytes(16), 1, 0, 28), backup.Placed(bytes(16), 1, 28, 28)))
    return [index.to_bytes(), index.to_bytes()[:-36], b"\0\0\0\2{}"]


WRAP = {
    "argon2id": {"iterations": 2, "lanes": 1, "memory_kib": 65_536},
    "domain": ID,
    "format": "hermetic/passphrase-wrap/v1",
    "holds": "root",
    "root": ID,
    "salt": "A" * 22,
    "use": "recovery",
    "wrapped": "A" * 80,
}
DOMAIN_FILE = {
    "domain": ID,
    "format": "hermetic/domain/v1",
    "roots": [{"provider": "local:insecure-file", "root": ID, "wrapped": "A" * 100}],
}
CLAIM = {"name": "dataset/a", "store": "sealed", "version": ID}
SETTINGS = {
    "anchor": {"command": ["logger", "-t", "x"]},
    "backup": {"objects": True, "place": "/media/usb"},
    "stores": {"lake": {"folder": "/data"}},
}
BUCKET = {"kind": "s3", "bucket": "data", "prefix": "a/b", "endpoint": "http://[::1]:9000", "region": "eu-1", "profile": "x"}
BUCKETS = {
    "stores": {
        "a": BUCKET,
        "b": {**BUCKET, "prefix": "c", "endpoint": "http://minio", "insecure_http": True},
        "c": {"kind": "s3", "bucket": "data", "prefix": "a", "endpoint": "https://host:1/"},
    }
}
SLOTS = {"format": "hermetic/slots/v1", "slots": [{"root": ID, "wrapped": "AAAA"}, {"root": OTHER, "wrapped": "AAAA"}]}
INSECURE = {"domain": ID, "format": "hermetic/insecure-root/v1", "root": ID, "secret": "A" * 43}
REGISTERS = [{"pcr": pcr, "value": "A" * 43} for pcr in (2, 7)]
TPM = {
    "bank": "sha256",
    "domain": ID,
    "format": "hermetic/tpm-root/v1",
    "pcrs": REGISTERS,
    "private": "AAAA",
    "public": "AAAA",
    "root": ID,
}
PINS = json.loads(pins.Pins(ID, 1, (str(NAMED),), {"k": "A" * 43}, 5, NOTE.decode(), "00", {ID: 3}, (NOTE.decode(),)).to_bytes())

TARGETS = {
    "domain-json": Target(_domain_file, 30_000, documents=[DOMAIN_FILE, SLOTS]),
    "passphrase-wrap": Target(_passphrase_wrap, 30_000, documents=[WRAP]),
    "insecure-root": Target(_insecure_root, 30_000, documents=[INSECURE]),
    "tpm-root": Target(_tpm_root, 30_000, documents=[TPM]),
    "provider-uris": Target(
        *(_provider_uris, 30_000),
        lambda: [
            b"tpm:sha256:0,2,7",
            b"tpm:sha384:22",
            b"pkcs11:token=team;object=a",
            b"pkcs11:object=%C3%AB%25;token=a%20b;serial=0a",
        ],
    ),
    "run-claim": Target(_claim, 30_000, documents=[CLAIM]),
    "user-config": Target(
        _config, 2_000, lambda: CONFIG, [SETTINGS, BUCKETS], (b"backup:", b"anchor:", b"stores:", b"command:", b"folder:", b"!!")
    ),
    "pins": Target(_pins, 16_000, documents=[PINS]),
    "backup-index": Target(_index, 60_000, _indexes),
    "sealed-values": Target(
        _sealed_values, 50_000, lambda: [b"HDK\1" + bytes(92), b"HRW\1" + bytes(60), b"HKR\1" + bytes(48), bytes(64)]
    ),
    "names": Target(
        *(_names, 25_000),
        lambda: [b"dataset/patients@3/a.csv", b"hermetic://model/risk@latest", ID.encode(), b"local:passphrase", b"a/b.csv"],
    ),
    "durations-and-text": Target(_words, 60_000, lambda: [b"30m", b"8h", b"7d", b"2w", b"999999999w", "\u00e9\u202e".encode()]),
}

PARSERS = (
    *("keys/domain_file", "keys/documents", "keys/passphrase_wrap", "keys/slots", "keys/wrap", "domain/pins", "domain/config"),
    "domain/store_places",
    *("providers/pkcs11_uri", "providers/tpm_pcrs"),
    *("cli/words", "ids"),
)
