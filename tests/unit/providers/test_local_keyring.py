import os
import shutil
import subprocess
import sys
import textwrap

import pytest

pytest.importorskip("keyring")
import keyring
import keyring.backend
import keyring.backends.fail
import keyring.backends.null
import keyring.errors

from hermetic.crypto.secret import Secret
from hermetic.errors import Conflict, FormatError, KeyServiceUnavailable, Locked, Unsupported
from hermetic.keys.provider import ProviderState
from hermetic.providers import unlock
from hermetic.providers.local_keyring import check_backend
from hermetic.providers.registry import create_root, open_provider
from tests.unit.providers.contract import CONTEXT, ProviderContract

URI = "local:keyring"


class MemoryKeyring(keyring.backend.KeyringBackend):
    """A real backend of the keyring library, in memory."""

    priority = 5

    def __init__(self):
        super().__init__()
        self.entries, self.error, self.lossy = {}, None, False

    def get_password(self, service, username):
        if self.error:
            raise self.error
        return self.entries.get((service, username))

    def set_password(self, service, username, password):
        if self.error:
            raise self.error
        self.entries[service, username] = "A" * 43 if self.lossy else password

    def delete_password(self, service, username):
        del self.entries[service, username]


@pytest.fixture(autouse=True)
def desktop():
    before = keyring.get_keyring()
    backend = MemoryKeyring()
    keyring.set_keyring(backend)
    yield backend
    keyring.set_keyring(before)


class TestKeyring(ProviderContract):
    @pytest.fixture
    def provider(self, place):
        return create_root(URI, place)

    @pytest.fixture
    def again(self, provider):
        return open_provider(URI, provider.place)

    @pytest.fixture
    def other(self, places):
        return create_root(URI, places())


def test_what_lies_in_the_keyring(place, desktop):
    provider = create_root(URI, place)
    ((service, username),) = desktop.entries
    assert (service, username) == ("hermetic", f"{place.domain}:{place.root_id}")
    assert len(desktop.entries[service, username]) == 43
    assert list(place.home.iterdir()) == []
    assert provider.status().state is ProviderState.READY


def test_never_made_twice(place):
    create_root(URI, place)
    with pytest.raises(Conflict):
        create_root(URI, place)


def test_a_locked_keyring(place, desktop):
    create_root(URI, place)
    desktop.error = keyring.errors.KeyringLocked("secret detail")
    provider = open_provider(URI, place)
    with pytest.raises(Locked, match="desktop keyring is locked"):
        provider.load_root()
    assert provider.status().state is ProviderState.LOCKED


@pytest.mark.parametrize(
    "error",
    [
        keyring.errors.InitError("x"),
        keyring.errors.NoKeyringError("x"),
        OSError("bus"),
        RuntimeError("x"),
        keyring.errors.PasswordSetError("x"),
    ],
    ids=repr,
)
def test_no_foreign_exception_crosses(place, desktop, error):
    create_root(URI, place)
    desktop.error = error
    provider = open_provider(URI, place)
    with pytest.raises(KeyServiceUnavailable, match="cannot be reached"):
        provider.load_root()
    assert provider.status().state is ProviderState.UNREACHABLE


def test_an_entry_that_is_missing_or_not_ours(place, desktop):
    create_root(URI, place)
    (key,) = desktop.entries
    desktop.entries[key] = "not base64url!"
    with pytest.raises(FormatError):
        open_provider(URI, place).load_root()
    desktop.entries.clear()
    with pytest.raises(KeyServiceUnavailable, match="has no root"):
        open_provider(URI, place).load_root()


def test_a_keyring_that_loses_what_it_is_given(place, desktop):
    desktop.lossy = True
    with pytest.raises(KeyServiceUnavailable, match="does not give back"):
        create_root(URI, place)


def test_lock_forgets_the_copy(place, desktop):
    provider = create_root(URI, place)
    wrapped = provider.wrap(Secret(bytes(32)), CONTEXT)
    desktop.error = keyring.errors.KeyringLocked()
    assert len(provider.unwrap(wrapped, CONTEXT)) == 32
    assert unlock.lock(provider)
    with pytest.raises(Locked):
        provider.unwrap(wrapped, CONTEXT)
    assert not unlock.lock(provider)


def plaintext():
    class PlaintextKeyring(MemoryKeyring):
        pass

    return PlaintextKeyring()


def weak():
    class File(MemoryKeyring):
        priority = 0.5

    return File()


def alternative():
    class EncryptedKeyring(MemoryKeyring):
        __module__ = "keyrings.alt.file"

    return EncryptedKeyring()


def chain(*members):
    class Chain(MemoryKeyring):
        priority = -1
        backends = members

    return Chain()


@pytest.mark.parametrize(
    "make",
    [
        keyring.backends.fail.Keyring,
        keyring.backends.null.Keyring,
        plaintext,
        weak,
        alternative,
        lambda: chain(MemoryKeyring(), plaintext()),
        lambda: chain(keyring.backends.fail.Keyring()),
    ],
)
def test_backends_that_do_not_protect_are_refused(place, make):
    keyring.set_keyring(make())
    with pytest.raises(Unsupported, match="does not protect") as caught:
        create_root(URI, place)
    assert "local:passphrase" in caught.value.hint


def test_a_chain_of_good_ones():
    good = chain(MemoryKeyring(), MemoryKeyring())
    assert check_backend(good) is good


SECRET_SERVICE = textwrap.dedent(
    """
    import pathlib, subprocess, sys
    daemon = subprocess.Popen(["gnome-keyring-daemon", "--unlock", "--foreground", "--components=secrets"],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    daemon.stdin.write(b"login")
    daemon.stdin.close()
    daemon.stdout.readline()
    try:
        import keyring
        from hermetic.crypto.secret import Secret
        from hermetic.providers.place import Place
        from hermetic.providers.registry import create_root, open_provider
        assert type(keyring.get_keyring()).__module__.rpartition(".")[2] in ("SecretService", "libsecret", "chainer")
        place = Place(pathlib.Path(sys.argv[1]), "a" * 26, "a" * 26)
        secret = Secret.random(32)
        wrapped = create_root("local:keyring", place).wrap(secret, b"here")
        assert open_provider("local:keyring", place).unwrap(wrapped, b"here").same_as(secret)
        print("kept")
    finally:
        daemon.terminate()
        daemon.wait()
    """
)


@pytest.mark.skipif(
    not (shutil.which("gnome-keyring-daemon") and shutil.which("dbus-run-session")), reason="needs gnome-keyring and dbus"
)
def test_a_real_secret_service(tmp_path):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DBUS_")}
    for name in ("HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR", "XDG_CACHE_HOME"):
        (tmp_path / name).mkdir(mode=0o700)
        environment[name] = str(tmp_path / name)
    done = subprocess.run(
        ["dbus-run-session", "--", sys.executable, "-c", SECRET_SERVICE, str(tmp_path)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.strip() == "kept", done.stderr
