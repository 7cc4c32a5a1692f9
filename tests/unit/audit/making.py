"""What the tests of the log make logs from."""

from __future__ import annotations

from hermetic import ids
from hermetic.audit.leaf import Entry, Hidden
from hermetic.audit.log import Log
from hermetic.audit.note import Origin
from hermetic.audit.openings import LogKeys
from hermetic.crypto.secret import Secret
from hermetic.crypto.sign import SigningKey

DOMAIN = ids.DomainId(ids.id_from_bytes(bytes(range(16))))
START_MS = 1_767_225_600_000


def signing_key(number: int = 1) -> SigningKey:
    return SigningKey(Secret(bytes([number]) * 32))


def make_log(*, generation: int = 1, key: int = 1) -> Log:
    return Log(Origin(DOMAIN, generation), signing_key(key), LogKeys(Secret(bytes([200]) * 32)))


def intent(request: str = "r1", **facts: str) -> Entry:
    hidden = {"principal": Hidden("ana@example.org", "principal:1"), "asset": Hidden("dataset/patients", "asset:1")}
    return Entry("release.intent", {"request": request, **facts}, hidden)


def outcome(request: str = "r1") -> Entry:
    return Entry("release.outcome", {"request": request})


def denial(request: str, who: str = "eve") -> Entry:
    return Entry("access.denied", {"request": request, "purpose": "debug"}, {"principal": Hidden(who, f"principal:{who}")})
