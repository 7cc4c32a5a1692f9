"""A network between clients and services that tests cut: TCP passed on byte by byte, to one service after the other.

proxy = Proxy([8001, 8002]); proxy.port
proxy.cut()            every connection ends with a reset
proxy.stall()          nothing is passed on any more, nobody is told; `proxy.resume()`
proxy.drop_after(300)  the next connection that has an answer on it breaks in the middle of it, 300 bytes from now
"""

from __future__ import annotations

import contextlib
import itertools
import socket
import struct
import threading

RESET = struct.pack("ii", 1, 0)  # SO_LINGER with no time: close() sends a reset


class Proxy:
    """Passes connections on, as a balancer does that leaves TLS alone; what is away is passed over."""

    def __init__(self, services):
        self._turns = itertools.cycle(services)
        self._services = len(services)
        self._lock = threading.Lock()
        self._pairs = set()
        self._open = threading.Event()
        self._open.set()
        self._left = None
        self._threads = []
        self._over = False
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self._listener.getsockname()[1]
        self._start(self._accept)

    def cut(self):
        with self._lock:
            pairs = list(self._pairs)
        for pair in pairs:
            _end(pair, reset=True)

    def stall(self):
        self._open.clear()

    def resume(self):
        self._open.set()

    def drop_after(self, count):
        with self._lock:
            self._left = count

    def close(self):
        self._over = True
        self._open.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        for thread in list(self._threads):
            thread.join(30)
            assert not thread.is_alive()

    def _start(self, work, *given):
        thread = threading.Thread(target=work, args=given)
        self._threads = [one for one in self._threads if one.is_alive()] + [thread]
        thread.start()

    def _accept(self):
        while not self._over:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            service = self._dialled()
            if service is None:
                _end((client,), reset=True)
                continue
            pair = (client, service)
            with self._lock:
                self._pairs.add(pair)
            self._start(self._pass_on, pair, client, service)
            self._start(self._pass_on, pair, service, client)

    def _dialled(self):
        for _ in range(self._services):
            with contextlib.suppress(OSError):
                return socket.create_connection(("127.0.0.1", next(self._turns)), timeout=5)
        return None

    def _pass_on(self, pair, source, target):
        with contextlib.suppress(OSError):
            source.settimeout(None)
            while piece := source.recv(65536):
                self._open.wait()
                whole = len(piece)
                if source is pair[1]:
                    piece = self._allowed(piece)
                target.sendall(piece)
                if len(piece) < whole:
                    _end(pair, reset=True)
        _end(pair, reset=False)
        with self._lock:
            self._pairs.discard(pair)

    def _allowed(self, piece):
        with self._lock:
            if self._left is None:
                return piece
            kept = piece[: self._left]
            self._left = None if len(kept) < len(piece) else self._left - len(piece)
            return kept


def _end(pair, *, reset):
    for one in pair:
        with contextlib.suppress(OSError):
            if reset:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            one.shutdown(socket.SHUT_RDWR)
    for one in pair:
        one.close()
