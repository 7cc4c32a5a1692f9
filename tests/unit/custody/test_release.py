"""The release path, step by step (spec/port.md section 3)."""

from __future__ import annotations

import pytest

from hermetic import steps
from hermetic.errors import LeaseEnded
from tests import world as w


def test_a_key_comes_back(port):
    draft, published = w.seal(port)
    opened = w.open_(port)
    (released,) = opened.released
    assert (released.ref, released.version, released.number) == ("dataset/patients@1", draft.version, 1)
    assert published.ref == released.ref
    assert w.key_of(port, released.lease) == w.key_of(port, draft.lease)
    with pytest.raises(LeaseEnded):
        port.redeem(released.lease.key)
