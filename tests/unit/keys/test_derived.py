import dataclasses
import pickle
import re

import pytest

from hermetic.crypto.kdf import derive
from hermetic.crypto.secret import Secret
from hermetic.errors import IntegrityError, UsageError
from hermetic.keys import derived
from hermetic.keys.derived import LABELS, DomainKeys
from tests.unit.keys.values import raw


def test_every_key_has_a_label_of_its_own():
    secret = Secret(bytes(range(32)))
    keys = DomainKeys.from_secret(secret)
    fields = {field.name for field in dataclasses.fields(keys)}
    assert fields == {*LABELS, "check"}
    values = [raw(getattr(keys, field)) for field in LABELS] + [keys.check, raw(secret)]
    assert len(set(values)) == len(values)
    for field, label in LABELS.items():
        assert getattr(keys, field).same_as(derive(secret, label))


def test_the_table_in_the_docstring_is_the_code():
    rows = re.findall(r"^    (\w+) +(domain/[\w-]+) ", derived.__doc__, re.MULTILINE)
    assert dict(rows) == {**LABELS, "check": "domain/check"}


def test_check_tells_another_secret():
    keys = DomainKeys.from_secret(Secret(bytes(32)))
    assert keys.require_check(keys.check) is keys
    with pytest.raises(IntegrityError, match="not the one pinned"):
        keys.require_check(DomainKeys.from_secret(Secret(bytes([1] * 32))).check)


def test_they_stay_quiet():
    keys = DomainKeys.from_secret(Secret(bytes(32)))
    assert raw(keys.row_mac).hex() not in repr(keys)
    assert "withheld" in repr(keys)
    with pytest.raises(UsageError):
        pickle.dumps(keys)


def test_length():
    with pytest.raises(UsageError):
        DomainKeys.from_secret(Secret(bytes(31)))
