"""A copy is the same bytes, or nothing."""

from __future__ import annotations

import os

import pytest

from hermetic.errors import IntegrityError, UsageError
from hermetic.formats.suites import SUITES
from hermetic.sealed.copying import copy_verified
from hermetic.stores.output import DescriptorOutput
from tests.unit.sealed.objects import BytesSource, make_header, seal_bytes

MIB = 1024 * 1024


@pytest.mark.parametrize("suite", list(SUITES))
@pytest.mark.parametrize("length", [0, 5, 65_536, 3 * MIB + 1])
@pytest.mark.parametrize("request_size", [MIB, 8 * MIB])
def test_a_copy_is_the_same_bytes(tmp_path, fd, suite, length, request_size):
    data, sealed = seal_bytes(tmp_path, os.urandom(length), header=make_header(suite=suite))
    source = BytesSource(data, step=700_001)
    source.request_size = request_size
    assert copy_verified(source, sealed.record, DescriptorOutput(fd)) == len(data)
    assert os.pread(fd, len(data) + 1, 0) == data


def test_every_part_is_checked_before_it_is_written(tmp_path, fd):
    data, sealed = seal_bytes(tmp_path, os.urandom(2 * MIB))
    for offset in (3, 200, len(data) // 3, len(data) - 3000, len(data) - 100, len(data) - 1):
        damaged = bytearray(data)
        damaged[offset] ^= 1
        with pytest.raises(IntegrityError):
            copy_verified(BytesSource(bytes(damaged)), sealed.record, DescriptorOutput(fd))
        assert os.fstat(fd).st_size == 0


def test_an_output_that_holds_something_is_left_alone(tmp_path, fd):
    data, sealed = seal_bytes(tmp_path, b"content")
    os.write(fd, b"mine")
    with pytest.raises(UsageError, match="empty"):
        copy_verified(BytesSource(data), sealed.record, DescriptorOutput(fd))
    assert os.pread(fd, 10, 0) == b"mine"
