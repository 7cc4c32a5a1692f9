"""Which providers keep a key to themselves: what they say of themselves, and what the policy may name."""

from __future__ import annotations

import importlib
import inspect
import pkgutil

import pytest

from hermetic import providers
from hermetic.crypto.secret import Secret
from hermetic.errors import FormatError, IntegrityError, KeyServiceUnavailable, WrongKey
from hermetic.keys import in_provider, provider_wraps
from hermetic.policy.model import KEK_PROVIDERS
from hermetic.providers.key_service import KeyServiceRoot
from hermetic.testing.fake_provider import FakeProvider, FakeService, Fault


def test_the_policy_names_those_that_say_so():
    found = set()
    for module in pkgutil.iter_modules(providers.__path__):
        for name, kind in inspect.getmembers(importlib.import_module(f"hermetic.providers.{module.name}"), inspect.isclass):
            if name.endswith("Root") and kind is not KeyServiceRoot and getattr(kind, "in_provider", False):
                found.add(kind.__module__.rpartition(".")[2])
    assert found == set(KEK_PROVIDERS)


@pytest.mark.parametrize(("provider", "can"), [(FakeService(), True), (FakeProvider(), False), (None, False), (object(), False)])
def test_only_one_that_says_so_is_taken(provider, can):
    assert in_provider.capable(provider) is can


class OneByOne(FakeProvider):
    """A service that takes one item a call."""

    in_provider = True
    at_once = 4


def test_one_item_a_call():
    provider = OneByOne()
    secrets = [Secret.random(64) for _ in range(9)]
    wraps = provider_wraps.wrap_all(provider, secrets, b"here")
    assert all(provider_wraps.is_wrap(one) for one in wraps)
    found = provider_wraps.unwrap_all(provider, [(one, b"here") for one in wraps])
    assert all(one.same_as(other) for one, other in zip(found, secrets, strict=True))
    assert provider_wraps.rewrap_all(provider, wraps, b"here") is None, "it cannot by itself"
    with pytest.raises(WrongKey):
        provider_wraps.unwrap_all(provider, [(wraps[0], b"here"), (wraps[1], b"elsewhere")])


def test_a_service_that_is_gone_is_not_asked_for_the_rest():
    provider = OneByOne()
    provider.at_once = 1
    wraps = provider_wraps.wrap_all(provider, [Secret.random(64) for _ in range(9)], b"here")
    provider.calls.clear()
    provider.fail_next(Fault.THROTTLES)
    with pytest.raises(KeyServiceUnavailable):
        provider_wraps.unwrap_all(provider, [(one, b"here") for one in wraps])
    assert len(provider.calls) == 1


def test_wraps_of_another_kind_are_refused():
    service = FakeService()
    bare = service.wrap(Secret.random(64), b"here")
    for attempt in (
        lambda: provider_wraps.unwrap_all(service, [(bare, b"here")]),
        lambda: provider_wraps.rewrap_all(service, [bare], b"here"),
    ):
        with pytest.raises(FormatError):
            attempt()
    service.fail_next(Fault.ANSWERS_FEWER)
    with pytest.raises(IntegrityError, match="answered 1 of 2"):
        provider_wraps.wrap_all(service, [Secret.random(64), Secret.random(64)], b"here")


def test_nothing_stays_open_where_one_item_failed():
    service, given = FakeService(), []
    wraps = provider_wraps.wrap_all(service, [Secret.random(64), Secret.random(64)], b"here")

    def unwrap_many(items, real=service.unwrap_many):
        given.extend(real(items))
        return given

    service.unwrap_many = unwrap_many
    service.fault_at = 1
    service.fail_next(Fault.REFUSES)
    with pytest.raises(WrongKey):
        provider_wraps.unwrap_all(service, [(one, b"here") for one in wraps])
    from hermetic.errors import UsageError

    with pytest.raises(UsageError, match="wiped"):
        given[0].view()
