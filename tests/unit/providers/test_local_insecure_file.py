import stat

import pytest

from hermetic.crypto.secret import Secret
from hermetic.errors import Conflict, FormatError, IntegrityError, KeyServiceUnavailable, Unsupported, UsageError
from hermetic.keys.provider import ProviderState
from hermetic.providers import unlock
from hermetic.providers.local_root import root_path
from hermetic.providers.place import Asked
from hermetic.providers.registry import create_root, open_provider
from tests.unit.providers.conftest import CHEAP, ask
from tests.unit.providers.contract import CONTEXT, ProviderContract

URI = "local:insecure-file"


class TestInsecureFile(ProviderContract):
    @pytest.fixture
    def provider(self, place):
        return create_root(URI, place)

    @pytest.fixture
    def again(self, provider):
        return open_provider(URI, provider.place)

    @pytest.fixture
    def other(self, places):
        return create_root(URI, places())

    def test_mode(self, provider):
        assert stat.S_IMODE(root_path(provider.place).stat().st_mode) == 0o600

    def test_status_is_a_finding(self, provider):
        (finding,) = provider.status().findings
        assert (finding.code, finding.severity, finding.subject) == ("insecure-root", "medium", provider.root_id)

    def test_never_made_twice(self, provider):
        with pytest.raises(Conflict):
            create_root(URI, provider.place)

    def test_others_could_read_it(self, provider):
        root_path(provider.place).chmod(0o644)
        with pytest.raises(IntegrityError, match="open to other users"):
            provider.wrap(Secret(bytes(32)), CONTEXT)
        assert provider.status().state is ProviderState.UNREACHABLE

    def test_missing_file(self, provider):
        root_path(provider.place).unlink()
        with pytest.raises(KeyServiceUnavailable, match="does not exist"):
            provider.wrap(Secret(bytes(32)), CONTEXT)

    def test_file_of_another_root(self, provider, other):
        root_path(provider.place).write_bytes(root_path(other.place).read_bytes())
        with pytest.raises(FormatError, match="another root"):
            provider.load_root()

    def test_tampered_file(self, provider):
        path = root_path(provider.place)
        raw = path.read_bytes()
        wrapped = provider.wrap(Secret(bytes(32)), CONTEXT)
        for at in range(len(raw)):
            changed = bytearray(raw)
            changed[at] ^= 1
            path.write_bytes(changed)
            with pytest.raises((IntegrityError, Unsupported)):
                provider.unwrap(wrapped, CONTEXT)

    def test_it_is_not_unlocked(self, provider):
        with pytest.raises(UsageError, match="not unlocked with a passphrase"):
            unlock.unlock(provider, ask(), 60)
        assert not unlock.lock(provider)

    def test_a_backup_brings_the_root_to_another_machine(self, provider, places):
        from hermetic.keys.passphrase_wrap import recovery_unwrap

        wrapped = provider.wrap(Secret(bytes(32)), CONTEXT)
        document = unlock.export_root(provider, ask()(), CHEAP)
        subject, root = recovery_unwrap(document, ask()())
        assert (subject.domain, subject.root, subject.holds) == (provider.place.domain, provider.root_id, "root")
        root_path(provider.place).unlink()
        restored = create_root(URI, provider.place, Asked(root=root))
        assert len(restored.unwrap(wrapped, CONTEXT)) == 32

    def test_a_root_that_is_brought_has_32_bytes(self, place):
        for root in (Secret(b""), Secret(bytes(31))):
            with pytest.raises(UsageError):
                create_root(URI, place, Asked(root=root))
