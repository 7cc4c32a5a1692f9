"""Fuzz targets: what people hand in to recover, and public keys that others made."""

from __future__ import annotations

from hermetic.crypto import hpke, slip39
from hermetic.crypto.hpke import PrivateKey
from hermetic.crypto.secret import Secret
from hermetic.keys.recipient_key import Recipient
from hermetic.keys.recovery_root import RecoveryRootFile, ShareSet
from hermetic.providers.place import Place
from hermetic.providers.recovery import RecoveryRoot
from tests.fuzz._target import DOMAIN, ID, ROOT, Target, may_refuse, same

PRIVATE = PrivateKey(Secret(bytes(32)))
FILE = RecoveryRootFile(DOMAIN, "shares", "x", PRIVATE.public, bytes(16), 7, ShareSet(5, 3, 1))
OPENER = RecoveryRoot(FILE.uri, Place(ROOT, DOMAIN, ID), PRIVATE)
SHARE = (  # of a seed of zeros
    b"dynamic spend academic acid alto decision smith facility describe champion capacity warmth costume "
    b"thorn toxic race canyon reaction estate airport fluff leaves spine animal enforce entrance destroy "
    b"expect diploma helpful quarter peanut justice"
)


def _public_halves(raw: bytes) -> None:
    with may_refuse():
        found = RecoveryRootFile.decode(raw)
        same(raw, found.encode())
        if RecoveryRootFile.decode(found.encode()).uri != found.uri:
            raise AssertionError(found.uri)
    same(raw, Recipient.decode(raw).encode())


def _share(raw: bytes) -> None:
    share = slip39.parse(Secret(raw or b" "), "here")
    if slip39.parse(Secret(share.text().encode()), "here").number != share.number:
        raise AssertionError(share)


def _sealed(raw: bytes) -> None:
    for call in (lambda: OPENER.unwrap(raw, b"context"), lambda: PRIVATE.open(raw, b""), lambda: hpke.check_public(raw)):
        with may_refuse():
            call()


def _messages() -> list[bytes]:
    return [b"HRS\1" + bytes(1136 + 32), bytes(1136), PRIVATE.public, PRIVATE.public[:1184] + bytes(32), b"\xff" * 1216]


TARGETS = {
    "recovery-public": Target(_public_halves, 4_000, lambda: [FILE.encode(), Recipient("Ada", PRIVATE.public).encode()]),
    "recovery-share": Target(_share, 4_000, lambda: [SHARE, SHARE.upper(), SHARE + b" academic", SHARE[:-5]]),
    "hybrid-messages": Target(_sealed, 3_000, _messages),
}
