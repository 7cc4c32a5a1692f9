import json
import os
import stat

import pytest

from hermetic import steps
from hermetic.crypto.kdf import Argon2Parameters
from hermetic.crypto.secret import Secret
from hermetic.errors import (
    Conflict,
    FormatError,
    IntegrityError,
    KeyServiceUnavailable,
    Locked,
    StorageError,
    Unsupported,
    UsageError,
    WrongKey,
)
from hermetic.formats import canonical
from hermetic.keys.provider import ProviderState
from hermetic.providers import keyctl, unlock
from hermetic.providers.local_root import root_path
from hermetic.providers.place import Asked
from hermetic.providers.registry import create_root, open_provider
from hermetic.testing.fake_provider import FakeProvider
from tests.stretching import SHIPPED
from tests.unit.providers.conftest import CHEAP, PASSPHRASE, ask, asked
from tests.unit.providers.contract import CONTEXT, ProviderContract

URI = "local:passphrase"
NEW = b"a fresh passphrase of words"


@pytest.fixture
def locked(place):
    return create_root(URI, place, asked())


class TestUnlockedForTheUser(ProviderContract):
    @pytest.fixture
    def provider(self, locked):
        unlock.unlock(locked, ask(), 60)
        return locked

    @pytest.fixture
    def again(self, provider):
        return open_provider(URI, provider.place)

    @pytest.fixture
    def other(self, places):
        made = create_root(URI, places(), asked())
        unlock.unlock_here(made, ask())
        return made


class TestUnlockedForThisProcess(ProviderContract):
    @pytest.fixture
    def provider(self, locked):
        unlock.unlock_here(locked, ask())
        return locked

    @pytest.fixture
    def again(self, provider):
        second = open_provider(URI, provider.place)
        unlock.unlock_here(second, ask())
        return second

    @pytest.fixture
    def other(self, places):
        made = create_root(URI, places(), asked())
        unlock.unlock_here(made, ask())
        return made

    def test_other_processes_see_nothing(self, provider):
        with pytest.raises(Locked):
            open_provider(URI, provider.place).load_root()


def test_it_is_made_locked(locked):
    for use in (lambda: locked.wrap(Secret(bytes(32)), CONTEXT), locked.load_root):
        with pytest.raises(Locked) as caught:
            use()
        assert caught.value.hint == "hermetic unlock"
    assert locked.status().state is ProviderState.LOCKED


def test_file(locked):
    path = root_path(locked.place)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    document = json.loads(path.read_bytes())
    assert document["format"] == "hermetic/passphrase-wrap/v1"
    assert (document["use"], document["holds"], document["root"]) == ("local-root", "root", locked.root_id)
    assert locked.costs() == CHEAP


def test_default_costs_are_dear(monkeypatch):
    monkeypatch.setattr(Argon2Parameters.__init__, "__defaults__", SHIPPED)
    assert Asked().parameters == Argon2Parameters(262_144, 3, 2)


def test_unlock_lock_status(locked, clock):
    unlocked = unlock.unlock(locked, ask(), 3600)
    assert unlocked.expires_ms == clock.wall_ms + 3_600_000
    assert (locked.status().state, locked.status().expires_ms) == (ProviderState.READY, unlocked.expires_ms)
    assert unlock.lock(open_provider(URI, locked.place))
    with pytest.raises(Locked):
        locked.load_root()
    assert not unlock.lock(locked)


def test_lock_ends_what_runs(locked):
    unlock.unlock(locked, ask(), 60)
    running = open_provider(URI, locked.place)
    wrapped = running.wrap(Secret(bytes(32)), CONTEXT)
    unlock.lock(locked)
    with pytest.raises(Locked):
        running.unwrap(wrapped, CONTEXT)


def test_time_is_over(locked, clock):
    unlock.unlock(locked, ask(), 60)
    clock.advance(60_000)
    with pytest.raises(Locked):
        locked.load_root()
    assert locked.status().state is ProviderState.LOCKED


def test_wrong_passphrase(locked):
    with pytest.raises(WrongKey, match="the passphrase does not open root") as caught:
        unlock.unlock(locked, ask(b"incorrect horse battery"), 60)
    assert "try again" in caught.value.hint
    assert locked.status().state is ProviderState.LOCKED


def test_nothing_is_asked_when_the_file_is_missing_or_changed(locked):
    def never():
        raise AssertionError("asked")

    path = root_path(locked.place)
    raw = path.read_bytes()
    path.write_bytes(raw.replace(b'"lanes":1', b'"lanes":0'))
    with pytest.raises(FormatError):
        unlock.unlock(locked, never, 60)
    path.unlink()
    with pytest.raises(KeyServiceUnavailable, match="does not exist") as caught:
        unlock.unlock(locked, never, 60)
    assert "backup" in caught.value.hint
    assert locked.status().state is ProviderState.UNREACHABLE


def test_tampered_root_file(locked):
    """Every flipped bit of structure is refused before Argon2id runs; every other byte of content, by the tag."""
    path = root_path(locked.place)
    raw = path.read_bytes()
    document = canonical.decode(raw, limit=4096)
    expensive = 0
    for at in range(len(raw)):
        changed = bytearray(raw)
        changed[at] ^= 1
        path.write_bytes(changed)
        try:
            locked._file()
        except (IntegrityError, Unsupported):
            continue
        expensive += 1
    assert expensive < len(document["salt"]) + len(document["wrapped"]) + 8
    for field in ("salt", "wrapped"):
        value = document[field]
        swapped = ("B" if value[0] == "A" else "A") + value[1:]
        path.write_bytes(canonical.encode({**document, field: swapped}))
        with pytest.raises(WrongKey):
            unlock.unlock(locked, ask(), 60)


def test_file_of_another_root(locked, places):
    other = create_root(URI, places(), asked())
    root_path(locked.place).write_bytes(root_path(other.place).read_bytes())
    with pytest.raises(FormatError, match="another root"):
        unlock.unlock(locked, ask(), 60)


def test_change_passphrase(locked):
    unlock.unlock_here(locked, ask())
    wrapped = locked.wrap(Secret(bytes(32)), CONTEXT)
    before = root_path(locked.place).read_bytes()
    locked.change_passphrase(ask(), asked(NEW))
    assert root_path(locked.place).read_bytes() != before
    fresh = open_provider(URI, locked.place)
    with pytest.raises(WrongKey):
        unlock.unlock_here(fresh, ask())
    unlock.unlock_here(fresh, ask(NEW))
    assert len(fresh.unwrap(wrapped, CONTEXT)) == 32
    assert stat.S_IMODE(root_path(locked.place).stat().st_mode) == 0o600


def test_change_passphrase_needs_the_old_one(locked):
    before = root_path(locked.place).read_bytes()
    with pytest.raises(WrongKey):
        locked.change_passphrase(ask(NEW), asked(NEW))
    with pytest.raises(UsageError, match="at least 12 bytes"):
        locked.change_passphrase(ask(), asked(b"short"))
    assert root_path(locked.place).read_bytes() == before


def test_a_crash_while_changing_leaves_one_passphrase_that_works(locked):
    def fail(name):
        raise OSError(28, "No space left on device")

    steps.install(fail)
    try:
        with pytest.raises(StorageError):
            locked.change_passphrase(ask(), asked(NEW))
    finally:
        steps.install(None)
    unlock.unlock_here(locked, ask())


def test_never_made_twice_and_never_without_a_passphrase(locked, places):
    with pytest.raises(Conflict):
        create_root(URI, locked.place, asked())
    fresh = places()
    with pytest.raises(UsageError, match="nobody can be asked"):
        create_root(URI, fresh)
    with pytest.raises(UsageError, match="at least 12 bytes"):
        create_root(URI, fresh, asked(b"short"))
    assert not root_path(fresh).exists()


def test_without_a_kernel_keyring_one_process_can_still_work(locked, monkeypatch):
    def none():
        raise Unsupported("no kernel keyring here", hint="ask")

    monkeypatch.setattr(keyctl, "_system", none)
    with pytest.raises(Unsupported):
        unlock.unlock(locked, ask(), 60)
    with pytest.raises(Locked, match="no kernel keyring"):
        locked.load_root()
    assert locked.status().state is ProviderState.LOCKED
    unlock.unlock_here(locked, ask())
    assert locked.status().state is ProviderState.READY
    assert unlock.lock(locked)
    assert not unlock.lock(locked)


def test_recovery_wrap_of_a_root(locked):
    from hermetic.keys.passphrase_wrap import recovery_unwrap

    with pytest.raises(Locked):
        unlock.export_root(locked, Secret(NEW), CHEAP)
    unlock.unlock_here(locked, ask())
    wrapped = locked.wrap(Secret(bytes(32)), CONTEXT)
    _, root = recovery_unwrap(unlock.export_root(locked, Secret(NEW), CHEAP), Secret(NEW))
    root_path(locked.place).unlink()
    restored = create_root(URI, locked.place, asked(NEW, root=root))
    unlock.unlock_here(restored, ask(NEW))
    assert len(restored.unwrap(wrapped, CONTEXT)) == 32
    with pytest.raises(Unsupported, match="cannot leave"):
        unlock.export_root(FakeProvider(), Secret(NEW), CHEAP)


def test_nothing_reads_the_environment_or_the_argument_vector(locked, monkeypatch):
    for name in ("HERMETIC_PASSPHRASE", "PASSPHRASE", "HERMETIC_ROOT"):
        monkeypatch.setenv(name, PASSPHRASE.decode())
    monkeypatch.setattr("sys.argv", ["hermetic", "--passphrase", PASSPHRASE.decode()])
    with pytest.raises(Locked):
        open_provider(URI, locked.place).load_root()
    assert PASSPHRASE.decode() in os.environ["HERMETIC_PASSPHRASE"]
