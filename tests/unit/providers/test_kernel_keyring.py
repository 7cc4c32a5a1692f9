import os
import sys
import threading
import time
from pathlib import Path

import pytest

from hermetic.crypto.secret import Secret
from hermetic.errors import FormatError, HermeticError, KeyServiceUnavailable, Locked, Unsupported, UsageError
from hermetic.providers import kernel_keyring, keyctl
from hermetic.providers.kernel_keyring import UnlockedRoot
from hermetic.providers.place import boot_ms


@pytest.fixture
def root():
    return Secret.random(32)


def description(place):
    return f"hermetic:{place.domain}:{place.root_id}"


def kernel_line(place):
    """The line of the key that other processes find; replaced ones wait for the kernel's collector."""
    try:
        serial = keyctl.search(keyctl.USER_KEYRING, description(place))
    except keyctl.KeyGone:
        return None
    lines = [line.split() for line in Path("/proc/keys").read_text().splitlines()]
    return next((line for line in lines if int(line[0], 16) == serial), None)


def test_store_load_remove(place, root, clock):
    assert kernel_keyring.expiry(place) is None
    stored = kernel_keyring.store(place, root, 3600)
    assert stored == UnlockedRoot(place.domain, place.root_id, clock.wall_ms + 3_600_000)
    assert kernel_keyring.load(place).same_as(root)
    assert kernel_keyring.expiry(place) == stored.expires_ms
    assert kernel_keyring.remove(place)
    with pytest.raises(Locked, match="is locked") as caught:
        kernel_keyring.load(place)
    assert caught.value.hint == "hermetic unlock"
    assert caught.value.exit_code == 6
    assert not kernel_keyring.remove(place)


def test_permissions_and_timeout_as_the_kernel_sees_them(place, root):
    kernel_keyring.store(place, root, 3600)
    _, flags, _, timeout, permissions, uid, *_ = kernel_line(place)
    assert timeout in {"60m", "59m", "1h"}
    assert permissions == "3f3f0000"
    assert int(uid) == os.geteuid()
    assert "R" not in flags


def test_it_is_in_the_user_keyring_only(place, root):
    kernel_keyring.store(place, root, 60)
    serial = keyctl.search(keyctl.USER_KEYRING, description(place))
    assert serial in keyctl.members(keyctl.USER_KEYRING)
    with pytest.raises(keyctl.KeyGone):
        keyctl.search(keyctl.THREAD_KEYRING, description(place))


def test_a_process_started_elsewhere_finds_it(place, root):
    kernel_keyring.store(place, root, 60)
    pid = os.fork()
    if pid == 0:
        os._exit(0 if kernel_keyring.load(place).same_as(root) else 1)
    assert os.waitpid(pid, 0)[1] == 0


def test_the_kernel_drops_it(place, root):
    """The timeout of the kernel, with the clock of the payload standing still."""
    kernel_keyring.store(place, root, 1)
    end = time.monotonic() + 30
    while kernel_keyring.expiry(place) is not None and time.monotonic() < end:
        time.sleep(0.05)
    with pytest.raises(Locked):
        kernel_keyring.load(place)
    kernel_keyring.store(place, root, 60)  # and it can be unlocked again
    assert kernel_keyring.load(place).same_as(root)


def test_the_deadline_in_the_payload_counts_too(place, root, clock):
    """A wall clock put back keeps the kernel from dropping it; the boot clock does not care."""
    kernel_keyring.store(place, root, 60)
    clock.advance(59_999)
    assert kernel_keyring.load(place).same_as(root)
    clock.advance(1)
    assert kernel_keyring.expiry(place) is None
    with pytest.raises(Locked):
        kernel_keyring.load(place)
    assert place.root_id not in {entry.root_id for entry in kernel_keyring.unlocked(lambda: clock.boot_ms)}  # others have theirs


def test_a_second_unlock_replaces_the_first(place, root, clock):
    kernel_keyring.store(place, root, 3600)
    shorter = kernel_keyring.store(place, root, 60)
    assert kernel_keyring.expiry(place) == shorter.expires_ms
    assert kernel_line(place)[3] in {"1m", "60s", "59s", "58s"}


def test_the_replaced_key_is_revoked(place, root):
    kernel_keyring.store(place, root, 3600)
    first = keyctl.search(keyctl.USER_KEYRING, description(place))
    kernel_keyring.store(place, root, 60)
    with pytest.raises(KeyServiceUnavailable):
        keyctl.read(first, 100)


def test_races_of_unlock_and_lock_never_leave_a_key_without_expiry(place, root):
    failures = []

    def work(number):
        try:
            for turn in range(30):
                if (turn + number) % 5 == 4:
                    kernel_keyring.remove(place)
                else:
                    kernel_keyring.store(place, root, 100 + number)
                try:
                    if not kernel_keyring.load(place).same_as(root):
                        failures.append("other root")
                except Locked:
                    pass
                line = kernel_line(place) if number == 0 else None
                if line and line[3] == "perm":
                    failures.append("no expiry")
        except (HermeticError, OSError, ValueError) as error:
            failures.append(repr(error))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [one for one in failures if one] == []
    kernel_keyring.store(place, root, 60)
    assert kernel_keyring.load(place).same_as(root)


def test_list(places, root, clock):
    one, two = places(), places()
    kernel_keyring.store(two, root, 60)
    kernel_keyring.store(one, root, 120)
    listed = [entry for entry in kernel_keyring.unlocked(lambda: clock.boot_ms) if entry.root_id in {one.root_id, two.root_id}]
    assert [(entry.root_id, entry.expires_ms) for entry in listed] == [
        (two.root_id, clock.wall_ms + 60_000),
        (one.root_id, clock.wall_ms + 120_000),
    ]


@pytest.mark.parametrize("seconds", [0, -1, 30 * 24 * 3600 + 1])
def test_times(place, root, seconds):
    with pytest.raises(UsageError):
        kernel_keyring.store(place, root, seconds)
    assert kernel_keyring.expiry(place) is None


def test_a_root_has_32_bytes(place):
    with pytest.raises(UsageError):
        kernel_keyring.store(place, Secret(bytes(31)), 60)


@pytest.mark.parametrize("payload", [b"x", b"HKR\x01" + bytes(47), b"HKR\x02" + bytes(48), b"x" * 200])
def test_a_foreign_payload_is_refused(place, payload):
    serial = keyctl.add(description(place), bytearray(payload), keyctl.USER_KEYRING)
    keyctl.set_timeout(serial, 60)
    with pytest.raises((FormatError, KeyServiceUnavailable)):
        kernel_keyring.load(place)
    assert place.root_id not in {entry.root_id for entry in kernel_keyring.unlocked()}


def test_other_platforms_are_named(monkeypatch, place, root):
    keyctl._system.cache_clear()
    try:
        monkeypatch.setattr(sys, "platform", "darwin")
        with pytest.raises(Unsupported, match="needs Linux"):
            kernel_keyring.load(place)
        with pytest.raises(Unsupported):
            kernel_keyring.store(place, root, 60)
    finally:
        monkeypatch.undo()
        keyctl._system.cache_clear()


@pytest.mark.parametrize(
    ("code", "error"),
    [(1, Unsupported), (38, Unsupported), (126, keyctl.KeyGone), (13, KeyServiceUnavailable), (122, KeyServiceUnavailable)],
)
def test_what_the_kernel_refuses(monkeypatch, place, code, error):
    class Library:
        @staticmethod
        def syscall(*_):
            import ctypes

            ctypes.set_errno(code)
            return -1

    monkeypatch.setattr(keyctl, "_system", lambda: (Library, (1, 2)))
    with pytest.raises(error):
        keyctl.search(keyctl.USER_KEYRING, "x")
    monkeypatch.undo()


def test_boot_clock_counts():
    assert boot_ms() > 0
