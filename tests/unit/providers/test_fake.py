import doctest

import pytest

from hermetic.crypto.secret import Secret
from hermetic.errors import KeyServiceUnavailable, Locked, WrongKey
from hermetic.keys.provider import ProviderState
from hermetic.testing import fake_provider
from hermetic.testing.fake_provider import FakeProvider, Fault
from tests.unit.providers.contract import CONTEXT, ProviderContract


class TestFakeProvider(ProviderContract):
    @pytest.fixture
    def provider(self):
        return FakeProvider(root=Secret(bytes(32)))

    @pytest.fixture
    def again(self, provider):
        return FakeProvider(provider.root_id, root=Secret(bytes(32)))

    @pytest.fixture
    def other(self):
        return FakeProvider()


def test_the_example_in_the_docstring():
    assert doctest.testmod(fake_provider).failed == 0


@pytest.mark.parametrize(
    ("fault", "error"), [(Fault.UNREACHABLE, KeyServiceUnavailable), (Fault.LOCKED, Locked), (Fault.REFUSES, WrongKey)]
)
def test_faults_that_raise(fault, error):
    provider = FakeProvider()
    wrapped = provider.wrap(Secret(bytes(32)), CONTEXT)
    provider.fail_next(fault, times=2)
    for _ in range(2):
        with pytest.raises(error):
            provider.unwrap(wrapped, CONTEXT)
    assert len(provider.unwrap(wrapped, CONTEXT)) == 32


def test_faults_that_answer():
    provider, secret = FakeProvider(), Secret.random(32)
    wrapped = provider.wrap(secret, CONTEXT)
    provider.fail_next(Fault.WRONG_SECRET)
    wrong = provider.unwrap(wrapped, CONTEXT)
    assert len(wrong) == 32
    assert not wrong.same_as(secret)
    provider.fail_next(Fault.SHORT_SECRET)
    assert len(provider.unwrap(wrapped, CONTEXT)) == 31
    provider.fail_next(Fault.FORGETS_CONTEXT)
    assert provider.unwrap(wrapped, b"elsewhere").same_as(secret)


def test_slow_by_a_clock_of_the_test():
    waited = []
    provider = FakeProvider(pause=waited.append)
    provider.delay_ms = 300
    provider.wrap(Secret(bytes(32)), b"")
    assert waited == [300]


def test_standing_fault_shows_in_status():
    provider = FakeProvider()
    provider.fault = Fault.LOCKED
    assert provider.status().state is ProviderState.LOCKED
    provider.fault = Fault.UNREACHABLE
    assert provider.status().state is ProviderState.UNREACHABLE
