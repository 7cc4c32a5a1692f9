"""What every provider must hold. A backend's tests subclass ProviderContract and give the fixtures `provider` and `again`.

`provider` is a usable provider with a root; `again` opens the same root once more, as another process would.
"""

import pickle

import pytest

from hermetic.crypto.secret import Secret
from hermetic.errors import FormatError, HermeticError, IntegrityError, UsageError, WrongKey
from hermetic.ids import check_id
from hermetic.keys.domain_file import check_uri
from hermetic.keys.provider import CONTEXT_LIMIT, SECRET_LIMIT, WRAPPED_LIMIT, ProviderState, ProviderStatus

CONTEXT = b'{"for":"kek"}'


class ProviderContract:
    """Inherit, and add the fixtures."""

    @pytest.fixture
    def provider(self):
        raise NotImplementedError

    @pytest.fixture
    def again(self, provider):
        raise NotImplementedError

    @pytest.fixture
    def other(self):
        """A provider of the same kind with another root."""
        raise NotImplementedError

    def test_it_says_who_it_is(self, provider):
        assert check_uri(provider.uri) == provider.uri
        assert check_id(provider.root_id) == provider.root_id

    @pytest.mark.parametrize("length", [1, 16, 32, 64, SECRET_LIMIT])
    @pytest.mark.parametrize("context", [b"", CONTEXT, bytes(range(256)), b"x" * CONTEXT_LIMIT], ids=len)
    def test_round_trip(self, provider, length, context):
        secret = Secret.random(length)
        wrapped = provider.wrap(secret, context)
        assert type(wrapped) is bytes
        assert len(wrapped) <= WRAPPED_LIMIT
        assert provider.unwrap(wrapped, context).same_as(secret)

    def test_roots_differ_even_under_one_name(self, provider, other):
        """A root that is not random would open the wraps of another."""
        if not hasattr(provider, "load_root"):
            return
        assert not provider.load_root().same_as(other.load_root())
        assert not provider.load_root().same_as(Secret(bytes(32)))

    def test_another_process_opens_it(self, provider, again):
        secret = Secret.random(32)
        assert again.unwrap(provider.wrap(secret, CONTEXT), CONTEXT).same_as(secret)
        assert again.root_id == provider.root_id

    def test_the_secret_does_not_show(self, provider):
        secret = Secret(b"\xaa\x55" * 16)
        assert bytes(secret.view()) not in provider.wrap(secret, CONTEXT)

    def test_the_same_secret_gives_another_wrap_each_time(self, provider):
        secret = Secret.random(32)
        assert provider.wrap(secret, CONTEXT) != provider.wrap(secret, CONTEXT)

    @pytest.mark.parametrize("context", [b"", b'{"for":"kek"} ', b'{"for":"keK"}', b'{"for":"kek"', b"\0"])
    def test_another_context_refuses(self, provider, context):
        wrapped = provider.wrap(Secret.random(32), CONTEXT)
        with pytest.raises(WrongKey):
            provider.unwrap(wrapped, context)

    def test_another_root_refuses(self, provider, other):
        assert other.root_id != provider.root_id
        wrapped = provider.wrap(Secret.random(32), CONTEXT)
        with pytest.raises(IntegrityError):
            other.unwrap(wrapped, CONTEXT)

    def test_flipped_bits_refuse(self, provider):
        wrapped = provider.wrap(Secret.random(32), CONTEXT)
        for at in range(len(wrapped)):
            changed = bytearray(wrapped)
            changed[at] ^= 1 << at % 8
            with pytest.raises(IntegrityError) as caught:
                provider.unwrap(bytes(changed), CONTEXT)
            assert caught.value.exit_code == 4

    def test_other_lengths_refuse(self, provider):
        wrapped = provider.wrap(Secret.random(32), CONTEXT)
        for length in range(len(wrapped)):
            with pytest.raises(IntegrityError):
                provider.unwrap(wrapped[:length], CONTEXT)
        for tail in (b"\0", wrapped, bytes(WRAPPED_LIMIT)):
            with pytest.raises(IntegrityError):
                provider.unwrap(wrapped + tail, CONTEXT)

    @pytest.mark.parametrize("raw", [b"", b"\0" * 96, b"hello"])
    def test_foreign_bytes_refuse(self, provider, raw):
        with pytest.raises((FormatError, WrongKey)):
            provider.unwrap(raw, CONTEXT)

    def test_limits(self, provider):
        with pytest.raises(UsageError):
            provider.wrap(Secret.random(SECRET_LIMIT + 1), b"")
        with pytest.raises(UsageError):
            provider.wrap(Secret(b""), b"")
        with pytest.raises(UsageError):
            provider.wrap(Secret.random(32), bytes(CONTEXT_LIMIT + 1))

    def test_status(self, provider):
        status = provider.status()
        assert isinstance(status, ProviderStatus)
        assert (status.uri, status.root_id, status.state) == (provider.uri, provider.root_id, ProviderState.READY)

    def test_it_stays_quiet(self, provider):
        provider.wrap(Secret.random(32), CONTEXT)
        assert "withheld" in repr(provider) or "object at" in repr(provider)
        with pytest.raises((HermeticError, TypeError, AttributeError)):
            pickle.dumps(provider)
