"""Capability KM7: keys are administered with a fresh second factor only, by code or by touch, once custody is apart."""

from __future__ import annotations

import pytest

from hermetic.errors import ApprovalNeeded, Denied
from hermetic.formats.messages.keys import ListKeys, RotateKey
from hermetic.formats.messages.second_factors import ConfirmTotp
from hermetic.ids import Enforcement
from tests import world as w
from tests.authenticator import Authenticator
from tests.unit.custody.test_second_factors import OTHER, Phone, invited, tick, touch, with_key


def test_KM7_keys_are_rotated_with_a_fresh_second_factor_only(world):
    """tests/unit/server/test_second_factors_apart.py has the same with people of the machine, tests/interop/browser in a browser."""
    port = world.port()
    w.seal(port)
    w.enrol(port, "nobody", ("security-engineer",))
    code = invited(port, port.ask)
    port._custodian.enforcement = Enforcement.SEPARATED
    ask = lambda request: port.ask_for(OTHER, request)  # noqa: E731
    rotate = RotateKey(ask(ListKeys()).keys[0].kek, "quarterly")
    with pytest.raises(ApprovalNeeded, match="identity confirm"):
        ask(rotate)
    phone, key = Phone(ask, world, code), Authenticator()
    with pytest.raises(ApprovalNeeded):
        ask(rotate)  # having one is not showing it
    tick(world)
    ask(ConfirmTotp(phone.code()))
    ask(rotate)
    with_key(ask, key)
    tick(world, 15 * 60 + 1)
    with pytest.raises(ApprovalNeeded):
        ask(rotate)
    with pytest.raises(Denied):
        ask(ConfirmTotp(phone.code(-31)))
    touch(ask, key)
    ask(rotate)
