import dataclasses
import hashlib

import pytest

from hermetic.crypto.kdf import Argon2Parameters
from hermetic.crypto.secret import Secret
from hermetic.errors import FormatError, IntegrityError, Unsupported, UsageError, WrongKey
from hermetic.formats import canonical
from hermetic.keys.passphrase_wrap import PassphraseWrap, WrapSubject, passphrase_wrap, recovery_unwrap, recovery_wrap
from tests.unit.keys.values import CHEAP, DOMAIN, ROOTS, an_id, passphrase

SUBJECT = WrapSubject(DOMAIN, ROOTS[0])
SECRET = Secret(hashlib.sha256(b"the secret").digest())


@pytest.fixture(scope="module")
def document():
    return recovery_wrap(SECRET, passphrase(), SUBJECT, CHEAP)


def changed(document, **fields):
    return canonical.encode({**canonical.decode(document, limit=4096), **fields})


def test_round_trip(document):
    subject, secret = recovery_unwrap(document, passphrase())
    assert subject == SUBJECT
    assert secret.same_as(SECRET)
    assert PassphraseWrap.parse(document).parameters == CHEAP
    assert bytes(SECRET.view()).hex() not in document.hex()


def test_a_wrong_passphrase_is_said_clearly(document):
    with pytest.raises(WrongKey, match="the recovery passphrase does not open root") as caught:
        recovery_unwrap(document, passphrase(b"incorrect horse battery"))
    assert "not that of the root" in caught.value.hint
    assert caught.value.exit_code == 4


@pytest.mark.parametrize(
    "fields",
    [
        {"domain": an_id(70)},
        {"root": an_id(70)},
        {"holds": "domain-secret"},
        {"salt": "A" * 22},
        {"argon2id": {"iterations": 3, "lanes": 1, "memory_kib": 65_536}},
        {"argon2id": {"iterations": 2, "lanes": 2, "memory_kib": 65_536}},
    ],
    ids=str,
)
def test_every_changed_field_refuses(document, fields):
    with pytest.raises(WrongKey):
        recovery_unwrap(changed(document, **fields), passphrase())


@pytest.mark.parametrize(
    "costs",
    [
        {"iterations": 1, "lanes": 1, "memory_kib": 65_536},
        {"iterations": 2, "lanes": 1, "memory_kib": 65_535},
        {"iterations": 2, "lanes": 0, "memory_kib": 65_536},
        {"iterations": 17, "lanes": 1, "memory_kib": 65_536},
        {"iterations": 2, "lanes": 17, "memory_kib": 65_536},
        {"iterations": 2, "lanes": 1, "memory_kib": 4_194_305},
        {"iterations": 2, "lanes": 1, "memory_kib": 2**53 - 1},
        {"iterations": True, "lanes": 1, "memory_kib": 65_536},
        {"iterations": "2", "lanes": 1, "memory_kib": 65_536},
        {"iterations": 2, "lanes": 1},
    ],
    ids=str,
)
def test_costs_below_the_floor_or_above_the_ceiling_cost_nothing(document, costs):
    with pytest.raises(FormatError):
        recovery_unwrap(changed(document, argon2id=costs), passphrase())


def test_floor_on_writing():
    with pytest.raises(FormatError):
        Argon2Parameters(memory_kib=1024)


@pytest.mark.parametrize(
    "fields", [{"use": "other"}, {"holds": "kek"}, {"more": 1}, {"salt": "AAAA"}, {"wrapped": "AAAA"}, {"wrapped": "A==="}], ids=str
)
def test_documents_that_are_refused(document, fields):
    with pytest.raises(FormatError):
        PassphraseWrap.parse(changed(document, **fields))


def test_newer_and_truncated(document):
    with pytest.raises(Unsupported):
        PassphraseWrap.parse(changed(document, format="hermetic/passphrase-wrap/v2"))
    for length in range(len(document)):
        with pytest.raises(FormatError):
            PassphraseWrap.parse(document[:length])


def test_flipped_bits_in_the_wrap(document):
    parsed = PassphraseWrap.parse(document)
    for at in (0, 12, len(parsed.wrapped) - 1):
        raw = bytearray(parsed.wrapped)
        raw[at] ^= 1
        with pytest.raises(IntegrityError):
            dataclasses.replace(parsed, wrapped=bytes(raw)).open(passphrase())


def test_a_root_file_is_no_recovery_wrap_and_the_other_way_round():
    local = dataclasses.replace(SUBJECT, use="local-root")
    document = passphrase_wrap(SECRET, passphrase(), local, CHEAP)
    with pytest.raises(FormatError, match="not a recovery wrap"):
        recovery_unwrap(document, passphrase())
    with pytest.raises(WrongKey):
        recovery_unwrap(changed(document, use="recovery"), passphrase())
    with pytest.raises(UsageError):
        recovery_wrap(SECRET, passphrase(), local, CHEAP)


def test_short_and_endless_passphrases():
    with pytest.raises(UsageError, match="at least 12 bytes"):
        recovery_wrap(SECRET, passphrase(b"elevenchars"), SUBJECT, CHEAP)
    with pytest.raises(UsageError):
        recovery_wrap(SECRET, passphrase(b"a" * 1025), SUBJECT, CHEAP)
    with pytest.raises(UsageError):
        recovery_wrap(Secret(bytes(31)), passphrase(), SUBJECT, CHEAP)
