"""Wrong PINs, tokens and keys that go away, modules that others could exchange, forks, threads, and several processes at once."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import PyKCS11
import pytest

from hermetic.crypto.secret import Secret
from hermetic.errors import ConfigError, IntegrityError, KeyServiceUnavailable, Locked, WrongKey
from hermetic.keys.provider import ProviderState
from hermetic.providers import pkcs11_token
from hermetic.providers.pkcs11_pin import mark_name
from hermetic.providers.registry import create_root, open_provider
from tests.interop.pkcs11 import softhsm
from tests.unit.providers.contract import CONTEXT

CHILD = """
import sys
from pathlib import Path
from hermetic.crypto.secret import Secret
from hermetic.errors import HermeticError
from hermetic.providers.place import Place
from hermetic.providers.pkcs11_pin import mark_name
from hermetic.providers.registry import create_root, open_provider
what, uri, home, domain, root, module, pin_file, wrapped = sys.argv[1:]
place = Place(Path(home), domain, root, settings={"module": module, "pin_file": pin_file})
try:
    if what == "create":
        create_root(uri, place)
    else:
        provider = open_provider(uri, place)
        for _ in range(100):
            secret = Secret.random(32)
            assert provider.unwrap(provider.wrap(secret, b"mine"), b"mine").same_as(secret)
            assert len(provider.unwrap(bytes.fromhex(wrapped), b'{"for":"kek"}')) == 32
except HermeticError as error:
    print(type(error).__name__, error)
else:
    print("done")
"""


def child(what, hsm, place, wrapped=b"", label="hermetic"):
    words = [hsm.uri(label), place.home, place.domain, place.root_id, softhsm.MODULE, hsm.pin_file, wrapped.hex()]
    return subprocess.Popen([sys.executable, "-c", CHILD, what, *map(str, words)], stdout=subprocess.PIPE, text=True)


def said(process):
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    return out.strip()


@pytest.fixture
def wrapped(provider):
    return provider.wrap(Secret(b"k" * 32), CONTEXT)


@pytest.fixture
def fresh(provider, hsm):
    """The same root as a process sees it that has not logged in yet."""

    def make():
        softhsm.turn()
        return open_provider(hsm.uri(), provider.place)

    return make


class TestPin:
    def test_a_wrong_pin_is_tried_once(self, fresh, hsm, wrapped, logins):
        hsm.write_pin("wrong-wrong")
        provider = fresh()
        with pytest.raises(Locked, match=r"refuses the PIN .* counts wrong tries") as caught:
            provider.unwrap(wrapped, CONTEXT)
        assert str(hsm.pin_file) in caught.value.hint
        for _ in range(3):
            with pytest.raises(Locked, match="it is not tried again"):
                provider.unwrap(wrapped, CONTEXT)
            with pytest.raises(Locked, match="it is not tried again"):
                provider.wrap(Secret(bytes(32)), CONTEXT)
            assert provider.status().state is ProviderState.LOCKED
        with pytest.raises(Locked):
            fresh().unwrap(wrapped, CONTEXT)
        assert logins == [b"wrong-wrong"]

    def test_other_processes_do_not_try_it_either(self, fresh, hsm, wrapped, logins):
        hsm.write_pin("wrong-wrong")
        provider = fresh()
        with pytest.raises(Locked):
            provider.unwrap(wrapped, CONTEXT)
        for _ in range(3):
            assert said(child("use", hsm, provider.place, wrapped)).startswith("Locked the token refused the PIN")
        assert len(logins) == 1

    def test_processes_that_start_at_once_try_it_once(self, fresh, hsm, wrapped):
        hsm.write_pin("wrong-wrong")
        place = fresh().place
        told = [said(one) for one in [child("use", hsm, place, wrapped) for _ in range(5)]]
        assert sorted("refuses the PIN" in text for text in told) == [False] * 4 + [True]
        assert sorted("the token refused the PIN" in text for text in told) == [False] + [True] * 4

    def test_several_roots_in_one_token_try_it_once(self, fresh, hsm, home, wrapped, logins):
        second = create_root(hsm.uri("second"), hsm.place(home))
        logins.clear()
        hsm.write_pin("wrong-wrong")
        softhsm.turn()
        providers = [fresh(), *(open_provider(fresh().uri, fresh().place) for _ in range(3))]
        with ThreadPoolExecutor(4) as pool:
            failures = [task.exception() for task in [pool.submit(one.unwrap, wrapped, CONTEXT) for one in providers]]
        assert {type(failure) for failure in failures} == {Locked}
        assert second.status().state is ProviderState.LOCKED
        assert len(logins) == 1

    def test_three_wrong_pins_and_the_right_one(self, fresh, hsm, wrapped, logins):
        for pin in ("wrong-one", "wrong-two", "wrong-three"):
            hsm.write_pin(pin)
            with pytest.raises(Locked):
                fresh().unwrap(wrapped, CONTEXT)
        hsm.write_pin(hsm.pin)
        provider = fresh()
        assert len(provider.unwrap(wrapped, CONTEXT)) == 32
        assert len(logins) == 4
        assert list(provider.place.home.iterdir()) == []

    def test_threads_do_not_try_it_each(self, fresh, hsm, wrapped, logins):
        hsm.write_pin("wrong-wrong")
        provider = fresh()
        with ThreadPoolExecutor(8) as pool:
            failures = [task.exception() for task in [pool.submit(provider.unwrap, wrapped, CONTEXT) for _ in range(16)]]
        assert {type(failure) for failure in failures} == {Locked}
        assert len(logins) == 1

    @pytest.mark.parametrize(
        ("flag", "told"),
        [
            (PyKCS11.CKF_USER_PIN_FINAL_TRY, "one try of its PIN is left"),
            (PyKCS11.CKF_USER_PIN_LOCKED, "is locked"),
            (PyKCS11.CKF_USER_PIN_TO_BE_CHANGED, "has to be changed"),
        ],
    )
    def test_nobody_takes_the_last_try(self, fresh, wrapped, logins, monkeypatch, flag, told):
        provider, real = fresh(), PyKCS11.PyKCS11Lib.getTokenInfo

        def info(self, slot):
            found = real(self, slot)
            found.flags |= flag
            return found

        monkeypatch.setattr(PyKCS11.PyKCS11Lib, "getTokenInfo", info)
        with pytest.raises(Locked, match=told):
            provider.unwrap(wrapped, CONTEXT)
        assert provider.status().state is ProviderState.LOCKED
        assert logins == []

    @pytest.mark.parametrize(
        ("flag", "told"), [(PyKCS11.CKF_USER_PIN_FINAL_TRY, "one try is left"), (PyKCS11.CKF_USER_PIN_LOCKED, "it is locked now")]
    )
    def test_how_many_are_left_is_said(self, flag, told):
        assert pkcs11_token._tries(flag | PyKCS11.CKF_USER_PIN_COUNT_LOW) == told
        assert "does not say" in pkcs11_token._tries(0)

    @pytest.mark.parametrize("body", ["", "\n", "two\nlines\n"])
    def test_a_file_without_a_pin(self, fresh, hsm, wrapped, logins, body):
        hsm.pin_file.write_text(body)
        with pytest.raises(Locked, match="passphrase of one line"):
            fresh().unwrap(wrapped, CONTEXT)
        assert logins == []

    def test_a_pin_that_others_can_read(self, fresh, hsm, wrapped, logins):
        hsm.pin_file.chmod(0o640)
        with pytest.raises(IntegrityError, match="open to other users"):
            fresh().unwrap(wrapped, CONTEXT)
        assert logins == []

    def test_no_pin_file(self, fresh, hsm, wrapped):
        hsm.pin_file.unlink()
        provider = fresh()
        with pytest.raises(KeyServiceUnavailable, match=r"PIN file .* cannot be read"):
            provider.unwrap(wrapped, CONTEXT)
        assert provider.status().state is ProviderState.UNREACHABLE

    def test_a_damaged_mark_is_no_permission(self, fresh, hsm, wrapped, logins):
        provider = fresh()
        mark = provider.place.home / mark_name(hsm.pin_file)
        mark.touch(mode=0o600)
        mark.write_text("{}")
        with pytest.raises(KeyServiceUnavailable, match="is damaged"):
            provider.unwrap(wrapped, CONTEXT)
        assert logins == []

    def test_the_pin_is_nowhere(self, fresh, hsm, wrapped, caplog, capfd):
        provider = fresh()
        assert len(provider.unwrap(wrapped, CONTEXT)) == 32
        hsm.write_pin("wrong-" + hsm.pin)
        with pytest.raises(Locked) as caught:
            fresh().unwrap(wrapped, CONTEXT)
        shown = [
            repr(provider),
            repr(provider.token),
            repr(provider.place),
            str(caught.value),
            str(caught.value.hint),
            caplog.text,
            *capfd.readouterr(),
        ]
        assert not [text for text in shown if hsm.pin in text]
        assert not [path for path in provider.place.home.rglob("*") if hsm.pin.encode() in path.read_bytes()]


class TestGone:
    def test_a_token_that_goes_and_comes_back(self, provider, hsm, wrapped):
        (token,) = hsm.tokens.iterdir()
        away = hsm.folder / "away"
        token.rename(away)
        for _ in range(2):
            with pytest.raises(KeyServiceUnavailable):
                provider.unwrap(wrapped, CONTEXT)
        assert provider.status().state is ProviderState.UNREACHABLE
        with pytest.raises(KeyServiceUnavailable, match="no token"):
            provider.wrap(Secret(bytes(32)), CONTEXT)
        away.rename(token)
        assert provider.unwrap(wrapped, CONTEXT).same_as(Secret(b"k" * 32))
        assert provider.status().state is ProviderState.READY

    def test_sessions_that_were_closed(self, provider, wrapped):
        """As a module does when its connection broke: every session is invalid, and nobody is logged in."""
        module = provider.token.module
        with module.entered() as lib:
            lib.closeAllSessions(provider.token.slot(lib))
        assert provider.unwrap(wrapped, CONTEXT).same_as(Secret(b"k" * 32))

    def test_a_module_that_was_finalised_by_somebody_else(self, provider, wrapped):
        with provider.token.module.entered() as lib:
            lib.lib.C_Finalize()
        assert provider.unwrap(wrapped, CONTEXT).same_as(Secret(b"k" * 32))

    @pytest.mark.parametrize("value", [PyKCS11.CKR_DEVICE_REMOVED, PyKCS11.CKR_SESSION_HANDLE_INVALID, PyKCS11.CKR_DEVICE_ERROR])
    def test_some_errors_are_not_the_end_lasting_ones_are(self, provider, wrapped, monkeypatch, value):
        real, left = PyKCS11.Session.findObjects, [2]

        def find(self, template=()):
            if left[0]:
                left[0] -= 1
                raise PyKCS11.PyKCS11Error(value)
            return real(self, template)

        monkeypatch.setattr(PyKCS11.Session, "findObjects", find)
        assert provider.unwrap(wrapped, CONTEXT).same_as(Secret(b"k" * 32))
        left[0] = 100
        with pytest.raises(KeyServiceUnavailable, match="CKR_"):
            provider.unwrap(wrapped, CONTEXT)

    def test_a_key_deleted_behind_our_back(self, provider, hsm, wrapped):
        for file in hsm.tokens.rglob("*.object"):
            if file.name != "token.object":
                file.unlink()
        with pytest.raises(KeyServiceUnavailable, match=r"has no key 'hermetic'.*"):
            provider.unwrap(wrapped, CONTEXT)
        assert "has no key" in provider.status().detail

    def test_a_token_that_only_breaks_is_not_taken_for_a_wrong_key(self, provider, wrapped, monkeypatch):
        def broken(self, *rest):
            raise PyKCS11.PyKCS11Error(PyKCS11.CKR_GENERAL_ERROR)

        monkeypatch.setattr(PyKCS11.Session, "decrypt", broken)
        with pytest.raises(KeyServiceUnavailable, match="does not work: CKR_GENERAL_ERROR"):
            provider.unwrap(wrapped, CONTEXT)

    def test_a_token_that_takes_its_own_nonces_is_refused(self, provider, monkeypatch):
        real = PyKCS11.Session.encrypt
        monkeypatch.setattr(
            PyKCS11.Session,
            "encrypt",
            lambda self, key, data, mechanism: real(self, key, data, PyKCS11.AES_GCM_Mechanism(b"n" * 12, b"a", 128)),
        )
        with pytest.raises(Exception, match="does not give back"):
            provider.wrap(Secret.random(32), CONTEXT)

    def test_two_tokens_of_one_label(self, provider, hsm, wrapped):
        words = ["--init-token", "--free", "--label", hsm.label, "--so-pin", "12345678", "--pin", hsm.pin]
        subprocess.run(["softhsm2-util", *words], check=True, capture_output=True)
        softhsm.turn()
        with pytest.raises(IntegrityError, match="there are 2 tokens"):
            provider.unwrap(wrapped, CONTEXT)


class TestSwapped:
    def replace(self, provider, hsm, **changes):
        """Delete the root and put another key under its names."""
        attributes = {"CKA_SENSITIVE": True, "CKA_EXTRACTABLE": False, "CKA_ENCRYPT": True, "CKA_DECRYPT": True, "CKA_WRAP": False}
        attributes |= {"CKA_UNWRAP": False} | changes

        def work(session):
            for handle in session.findObjects([(PyKCS11.CKA_LABEL, "hermetic")]):
                session.destroyObject(handle)
            session.generateKey(
                [
                    (PyKCS11.CKA_CLASS, PyKCS11.CKO_SECRET_KEY),
                    (PyKCS11.CKA_KEY_TYPE, PyKCS11.CKK_AES),
                    (PyKCS11.CKA_VALUE_LEN, 32),
                    (PyKCS11.CKA_LABEL, "hermetic"),
                    (PyKCS11.CKA_ID, provider.root_id.encode()),
                    (PyKCS11.CKA_TOKEN, True),
                    (PyKCS11.CKA_PRIVATE, True),
                    *((getattr(PyKCS11, name), value) for name, value in attributes.items()),
                ]
            )

        provider.token.run(work, write=True)

    def test_another_key_of_the_same_names(self, provider, hsm, wrapped):
        self.replace(provider, hsm)
        with pytest.raises(WrongKey):
            provider.unwrap(wrapped, CONTEXT)

    @pytest.mark.parametrize(
        "changes",
        [{"CKA_EXTRACTABLE": True}, {"CKA_SENSITIVE": False}, {"CKA_WRAP": True, "CKA_UNWRAP": True}, {"CKA_DECRYPT": False}],
        ids=str,
    )
    def test_a_key_that_could_leave_or_do_more(self, provider, hsm, wrapped, changes):
        self.replace(provider, hsm, **changes)
        with pytest.raises(IntegrityError, match=r"unlike the root|than the root"):
            provider.wrap(Secret.random(32), CONTEXT)
        assert provider.status().state is ProviderState.UNREACHABLE


class TestModule:
    @pytest.fixture
    def copy(self, tmp_path, hsm, home):
        """The module in a folder of its own, and a provider that uses it."""
        folder = tmp_path / "lib"
        folder.mkdir()
        target = folder / "module.so"
        shutil.copy(softhsm.MODULE, target)
        place = hsm.place(home)
        object.__setattr__(place, "settings", {**hsm.settings, "module": str(target)})
        return target, lambda: open_provider(hsm.uri(), place)

    @pytest.mark.parametrize("what", ["file", "folder"])
    @pytest.mark.parametrize("bits", [0o020, 0o002])
    def test_one_that_others_can_write(self, copy, what, bits):
        target, provider = copy
        place = target if what == "file" else target.parent
        place.chmod(place.stat().st_mode | bits)
        with pytest.raises(IntegrityError, match="can be exchanged by others") as caught:
            provider().wrap(Secret.random(32), CONTEXT)
        assert str(place) in caught.value.hint
        assert provider().status().state is ProviderState.UNREACHABLE

    def test_a_link_in_a_folder_of_others(self, copy, tmp_path, hsm, home):
        target, _ = copy
        (tmp_path / "open").mkdir()
        (tmp_path / "open").chmod(0o777)
        link = tmp_path / "open" / "module.so"
        link.symlink_to(target)
        place = hsm.place(home)
        object.__setattr__(place, "settings", {**hsm.settings, "module": str(link)})
        with pytest.raises(IntegrityError, match="can be exchanged by others"):
            open_provider(hsm.uri(), place).wrap(Secret.random(32), CONTEXT)

    def test_one_of_another_user(self, copy):
        if os.geteuid() != 0:
            pytest.skip("only root gives files away")
        target, provider = copy
        os.chown(target, 12345, 12345)
        with pytest.raises(IntegrityError, match="can be exchanged by others"):
            provider().wrap(Secret.random(32), CONTEXT)

    def test_none_there(self, copy):
        target, provider = copy
        target.unlink()
        with pytest.raises(KeyServiceUnavailable, match="cannot be read"):
            provider().wrap(Secret.random(32), CONTEXT)

    def test_no_module(self, copy):
        target, provider = copy
        target.write_bytes(b"not a library")
        with pytest.raises(KeyServiceUnavailable, match="cannot be loaded"):
            provider().wrap(Secret.random(32), CONTEXT)

    def test_a_relative_path(self, hsm, home):
        place = hsm.place(home)
        object.__setattr__(place, "settings", {**hsm.settings, "module": "libsofthsm2.so"})
        with pytest.raises(ConfigError, match="absolute path"):
            open_provider(hsm.uri(), place)


class TestAtOnce:
    def test_two_processes(self, provider, hsm, wrapped):
        children = [child("use", hsm, provider.place, wrapped) for _ in range(2)]
        for _ in range(50):
            assert len(provider.unwrap(wrapped, CONTEXT)) == 32
        assert [said(one) for one in children] == ["done", "done"]

    def test_two_that_make_one_label(self, hsm, home):
        places = [hsm.place(home) for _ in range(4)]
        told = [said(one) for one in [child("create", hsm, place) for place in places]]
        made = [place for place, text in zip(places, told, strict=True) if text == "done"]
        assert len(made) <= 1
        assert [text for text in told if text != "done" and not text.startswith("Conflict")] == []
        softhsm.turn()
        looking = open_provider(hsm.uri(), places[0])
        assert looking.token.run(lambda session: len(session.findObjects([(PyKCS11.CKA_LABEL, "hermetic")]))) == len(made)

    def test_threads_share_a_bounded_number_of_sessions(self, provider, wrapped, monkeypatch):
        opened, most, guard = [0], [0], threading.Lock()
        real_open, real_close = PyKCS11.PyKCS11Lib.openSession, PyKCS11.Session.closeSession

        def count(by):
            with guard:
                opened[0] += by
                most[0] = max(most[0], opened[0])

        def open_session(self, *rest):
            count(1)
            return real_open(self, *rest)

        def close_session(self):
            count(-1)
            return real_close(self)

        softhsm.turn()
        monkeypatch.setattr(PyKCS11.PyKCS11Lib, "openSession", open_session)
        monkeypatch.setattr(PyKCS11.Session, "closeSession", close_session)

        def work(number):
            secret = Secret(bytes([number]) * 32)
            context = str(number).encode()
            return all(provider.unwrap(provider.wrap(secret, context), context).same_as(secret) for _ in range(10))

        with ThreadPoolExecutor(16) as pool:
            assert all(pool.map(work, range(64)))
        assert 1 <= most[0] <= pkcs11_token.SESSIONS

    def test_a_restart_under_the_feet_of_threads(self, provider, wrapped):
        module = provider.token.module
        with ThreadPoolExecutor(8) as pool:
            tasks = [pool.submit(provider.unwrap, wrapped, CONTEXT) for _ in range(200)]
            for _ in range(10):
                module.restart(module.generation)
        assert all(task.result().same_as(Secret(b"k" * 32)) for task in tasks)


class TestFork:
    def in_child(self, work):
        """Run `work` in a forked child; return whether it came to its end."""
        pid = os.fork()
        if pid == 0:
            try:
                work()
                os._exit(0)
            except BaseException as error:  # noqa: BLE001 - the child has nobody to tell
                os.write(2, repr(error).encode())
                os._exit(1)
        return os.waitpid(pid, 0)[1] == 0

    def test_a_child_opens_its_own_sessions(self, provider, wrapped):
        generation = provider.token.module.generation

        def work():
            assert provider.unwrap(wrapped, CONTEXT).same_as(Secret(b"k" * 32))
            assert provider.unwrap(provider.wrap(Secret(b"c" * 32), b""), b"").same_as(Secret(b"c" * 32))
            assert provider.token.module.generation > generation

        assert self.in_child(work)
        assert provider.unwrap(wrapped, CONTEXT).same_as(Secret(b"k" * 32))
        assert provider.token.module.generation == generation

    def test_a_child_initialises(self, provider, wrapped, monkeypatch):
        calls = []
        real = PyKCS11.LowLevel.CPKCS11Lib.C_Initialize
        monkeypatch.setattr(PyKCS11.LowLevel.CPKCS11Lib, "C_Initialize", lambda self: calls.append(1) or real(self))

        def work():
            provider.unwrap(wrapped, CONTEXT)
            provider.unwrap(wrapped, CONTEXT)
            assert calls == [1]

        assert self.in_child(work)
        assert calls == []

    def test_a_fork_while_other_threads_work(self, provider, wrapped):
        stop = threading.Event()

        def keep_on():
            while not stop.is_set():
                provider.unwrap(wrapped, CONTEXT)

        with ThreadPoolExecutor(3) as pool:
            tasks = [pool.submit(keep_on) for _ in range(3)]
            try:
                results = [self.in_child(lambda: provider.unwrap(wrapped, CONTEXT)) for _ in range(5)]
            finally:
                stop.set()
        assert all(results)
        assert all(task.exception() is None for task in tasks)

    def test_a_token_that_forgets_on_fork(self, hsm, home):
        """As devices do: the child has to log in anew."""
        conf = hsm.folder / "softhsm2.conf"
        conf.write_text(conf.read_text() + "library.reset_on_fork = true\n")
        softhsm.turn()
        provider = create_root(hsm.uri(), hsm.place(home))
        wrapped = provider.wrap(Secret(b"k" * 32), CONTEXT)
        assert self.in_child(lambda: provider.unwrap(wrapped, CONTEXT))
        assert len(provider.unwrap(wrapped, CONTEXT)) == 32
