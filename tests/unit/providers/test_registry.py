import subprocess
import sys

import pytest

from hermetic.errors import Unsupported, UsageError
from hermetic.providers import registry
from hermetic.providers.place import Asked, Place
from hermetic.testing.fake_provider import FakeProvider


def test_unknown_scheme_lists_the_known(place):
    with pytest.raises(UsageError, match="unknown provider 'vault'") as caught:
        registry.open_provider("vault:x", place)
    assert "local" in caught.value.hint


def test_unknown_kind_lists_the_known(place):
    with pytest.raises(UsageError, match="unknown local root 'disk'") as caught:
        registry.open_provider("local:disk", place)
    assert "local:passphrase" in caught.value.hint


def test_uris_with_secrets_are_refused(place):
    with pytest.raises(UsageError, match="without user information"):
        registry.open_provider("openbao:https://token@host", place)


def test_a_missing_extra_is_named():
    with pytest.raises(Unsupported, match="no_such_library is not installed") as caught:
        registry.load_extra("no_such_library.part", "keyring")
    assert caught.value.hint == "pip install '.[keyring]'"


def test_a_missing_extra_at_use(place, monkeypatch):
    monkeypatch.setitem(sys.modules, "keyring", None)
    monkeypatch.setitem(sys.modules, "keyring.errors", None)
    with pytest.raises(Unsupported, match="keyring is not installed"):
        registry.create_root("local:keyring", place)


def test_backends_of_others(place):
    class Backend:
        def open_(self, uri, place):
            return FakeProvider(place.root_id, uri=uri)

        def create(self, uri, place, asked):
            assert asked.root is None
            return self.open_(uri, place)

    built_in = registry.known()
    registry.register("mine", Backend())
    try:
        assert registry.known() == tuple(sorted((*built_in, "mine")))
        assert registry.open_provider("mine:x", place).root_id == place.root_id
        assert registry.create_root("mine:x", place).uri == "mine:x"
    finally:
        registry.register("mine", None)
    assert registry.known() == built_in
    with pytest.raises(UsageError, match="built in"):
        registry.register("local", Backend())


def test_nothing_optional_is_imported_early():
    """Opening a provider loads neither keyring nor ctypes nor the backends of other schemes."""
    code = (
        "import sys, pathlib\n"
        "from hermetic.providers import registry, place, unlock\n"
        "early = {n for n in sys.modules if n.startswith('hermetic.providers.local_') or n in ('keyring',)}\n"
        "assert early <= {'hermetic.providers.local_root'}, early\n"
        "registry.open_provider('local:insecure-file', place.Place(pathlib.Path('.'), 'a'*26, 'a'*26))\n"
        "assert 'keyring' not in sys.modules and 'hermetic.providers.keyctl' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_places_take_ids_only(tmp_path):
    with pytest.raises(UsageError):
        Place(tmp_path, "../x", "a" * 26)
    with pytest.raises(UsageError):
        Place(tmp_path, "a" * 26, "../../etc/passwd")


def test_nobody_to_ask():
    with pytest.raises(UsageError, match="nobody can be asked"):
        Asked().passphrase()
