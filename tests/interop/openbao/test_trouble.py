"""A real server that is sealed, killed, back again, throttled, slow, or not the one that was meant."""

from __future__ import annotations

import signal
import socket
import threading
from contextlib import contextmanager, suppress
from dataclasses import replace

import pytest

from hermetic.crypto.secret import Secret
from hermetic.errors import KeyServiceUnavailable
from hermetic.keys.provider import ProviderState
from tests.interop.baoserver import Authority
from tests.unit.providers.contract import CONTEXT


def opens(provider, wrapped):
    return provider.unwrap(wrapped, CONTEXT).same_as(Secret(b"s" * 32))


def test_sealed_killed_and_back(own_desk):
    provider = own_desk.create()
    wrapped = provider.wrap(Secret(b"s" * 32), CONTEXT)
    server = own_desk.server
    server.do("PUT", "sys/seal")
    with pytest.raises(KeyServiceUnavailable, match="is sealed") as caught:
        provider.unwrap(wrapped, CONTEXT)
    assert "bao operator unseal" in caught.value.hint
    assert provider.status().state is ProviderState.UNREACHABLE
    server.stop(signal.SIGKILL)
    with pytest.raises(KeyServiceUnavailable, match="cannot be reached: Connection refused"):
        provider.unwrap(wrapped, CONTEXT)
    server.start()
    assert opens(provider, wrapped), "the same provider, its kept connection dead"
    server.stop(signal.SIGKILL)
    server.start()
    assert opens(own_desk.open(provider), wrapped)


def test_back_between_two_tries(own_desk):
    provider = own_desk.create()
    wrapped = provider.wrap(Secret(b"s" * 32), CONTEXT)
    own_desk.server.stop()
    pauses = []

    def start_at_the_second(seconds):
        pauses.append(seconds)
        if len(pauses) == 2:
            own_desk.server.start()

    provider.key.session.client._pause = start_at_the_second
    assert opens(provider, wrapped)
    assert len(pauses) == 2


def test_throttled(own_desk):
    provider = own_desk.create()
    wrapped = provider.wrap(Secret(b"s" * 32), CONTEXT)
    quota = "sys/quotas/rate-limit/few"
    own_desk.server.do("POST", quota, {"path": "transit/", "rate": 1, "interval": "60s"})
    opens(provider, wrapped)
    pauses = []
    provider.key.session.client._pause = pauses.append
    with pytest.raises(KeyServiceUnavailable, match="takes no more requests now") as caught:
        provider.unwrap(wrapped, CONTEXT)
    assert len(pauses) == 3
    assert "try again later" in caught.value.hint
    provider.key.session.client._pause = lambda seconds: own_desk.server.do("DELETE", quota)
    assert opens(provider, wrapped), "the quota was lifted while we waited"


def test_the_audit_file_cannot_be_written(own_desk):
    """The server fails closed; so do we, and say what it says."""
    provider = own_desk.create()
    wrapped = provider.wrap(Secret(b"s" * 32), CONTEXT)
    server = own_desk.server
    server.stop()
    server.audit.unlink()
    server.audit.symlink_to("/dev/full")
    server.start()
    with pytest.raises(KeyServiceUnavailable, match=r"cannot decrypt with transit|denies this login"):
        own_desk.open(provider).unwrap(wrapped, CONTEXT)


def test_another_authority(desk, tmp_path):
    provider = desk.create()
    wrapped = provider.wrap(Secret(b"s" * 32), CONTEXT)
    (tmp_path / "other").mkdir()
    other = Authority(tmp_path / "other")
    for settings, why in (
        ({"ca": str(other.ca)}, "is not trusted: certificate signature failure"),  # it has the same name
        ({"address": desk.settings["address"].replace("127.0.0.1", "localhost")}, "Hostname mismatch"),
        ({"address": desk.settings["address"].replace("https", "http"), "ca": ""}, "is not OpenBao"),
    ):
        given = {name: value for name, value in {**desk.settings, **settings}.items() if value}
        place = desk.place()
        root = desk.open(replace(place, root_id=provider.root_id, settings=given))
        with pytest.raises(KeyServiceUnavailable, match=why):
            root.unwrap(wrapped, CONTEXT)
        assert root.status().state is ProviderState.UNREACHABLE


@contextmanager
def delaying(port, held):
    """A proxy on loopback that passes nothing back while `held` is set."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        open_sockets = []

        def pump(source, target, gate):
            try:
                while data := source.recv(1 << 16):
                    if gate is not None:
                        gate.wait()
                    target.sendall(data)
            except OSError:
                pass

        def accept():
            while True:
                try:
                    near, _ = listener.accept()
                except OSError:
                    return
                far = socket.create_connection(("127.0.0.1", port))
                open_sockets.extend([near, far])
                for source, target, gate in ((near, far, None), (far, near, held)):
                    thread = threading.Thread(target=pump, args=(source, target, gate))
                    threads.append(thread)
                    thread.start()

        threads = [threading.Thread(target=accept)]
        threads[0].start()
        try:
            yield listener.getsockname()[1]
        finally:
            held.set()
            listener.shutdown(socket.SHUT_RDWR)
            for one in open_sockets:
                with suppress(OSError):  # closed by the other side
                    one.shutdown(socket.SHUT_RDWR)
            for thread in threads:
                thread.join()
            for one in open_sockets:
                one.close()


def test_slow(desk):
    provider = desk.create()
    wrapped = provider.wrap(Secret(b"s" * 32), CONTEXT)
    passing = threading.Event()
    passing.set()
    with delaying(desk.server.port, passing) as port:
        root = desk.open(provider, address=f"https://127.0.0.1:{port}")
        assert opens(root, wrapped)
        root.key.session.client._answer_s = 0.3
        passing.clear()
        with pytest.raises(KeyServiceUnavailable, match="does not answer in time"):
            root.unwrap(wrapped, CONTEXT)
        passing.set()
        root.key.session.client._answer_s = 30
        assert opens(root, wrapped)
