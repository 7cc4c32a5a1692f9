"""Clients for load: a process of its own whose threads send requests made before, over connections that are kept, and time answers.

`drive` starts it, waits until all are connected, lets them go together, and returns what they saw. What the client itself costs is its
processor time, counted apart. An answer is read by its Content-Length, and is good when its status is.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import socket
import ssl
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from multiprocessing.connection import Connection

TICK = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Shown:
    """What a client shows and believes: files in PEM."""

    chain: Path
    key: Path
    authorities: Path

    def context(self) -> ssl.SSLContext:
        """Return a context for TLS 1.3 with a certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.load_verify_locations(self.authorities)
        context.load_cert_chain(self.chain, self.key)
        return context


@dataclass(frozen=True)
class Client:
    """One client: what it shows, and the requests it sends, one after the other, from the beginning again when it has sent all."""

    shown: Shown
    requests: tuple[bytes, ...]
    again: bool = False


@dataclass
class Seen:
    """What clients saw: milliseconds of each answer, how many were turned away, seconds in all, the client's processor seconds."""

    times: list[float] = field(default_factory=list)
    turned_away: int = 0
    seconds: float = 0.0
    client_cpu: float = 0.0
    errors: list[str] = field(default_factory=list)


def drive(port: int, clients: list[Client], seconds: float) -> Seen:
    """Send for so many seconds, from a process of its own, and return what was seen. Ends the program on a wrong answer."""
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=_clients, args=(theirs,))
    process.start()
    theirs.close()
    try:
        ours.send((port, clients, seconds))
        seen: Seen = ours.recv()
    finally:
        ours.close()
        process.join()
    if seen.errors:
        raise SystemExit(f"a client was answered: {seen.errors[0]}")
    return seen


def cpu_of(roots: Iterable[int]) -> float:
    """Return the processor seconds of processes and all their descendants, those that ended included."""
    total, waiting = 0, list(roots)
    while waiting:
        process = waiting.pop()
        try:
            fields = Path(f"/proc/{process}/stat").read_text("ascii").rpartition(")")[2].split()
            for task in Path(f"/proc/{process}/task").iterdir():
                waiting += map(int, (task / "children").read_text("ascii").split())
        except (FileNotFoundError, ProcessLookupError):
            continue
        total += sum(map(int, fields[11:15]))
    return total / TICK


def _clients(pipe: Connection) -> None:
    port, clients, seconds = pipe.recv()
    seen, begin = Seen(), threading.Barrier(len(clients) + 1)
    contexts = {shown: shown.context() for shown in {client.shown for client in clients}}
    channels = [_dialled(port, contexts[client.shown]) for client in clients]  # one after the other: addresses have their limits
    until = [0.0]
    threads = [
        threading.Thread(target=_work, args=(channel, client, (begin, until), seen))
        for channel, client in zip(channels, clients, strict=True)
    ]
    for thread in threads:
        thread.start()
    before = resource.getrusage(resource.RUSAGE_SELF)
    start = time.perf_counter()
    until[0] = start + seconds
    begin.wait()
    for thread in threads:
        thread.join()
    seen.seconds = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_SELF)
    seen.client_cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    for channel in channels:
        channel.close()
    pipe.send(seen)


def _dialled(port: int, context: ssl.SSLContext) -> ssl.SSLSocket:
    peer = socket.create_connection(("127.0.0.1", port), timeout=60)
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return context.wrap_socket(peer, server_hostname="127.0.0.1")


def _work(channel: ssl.SSLSocket, client: Client, turn: tuple[threading.Barrier, list[float]], seen: Seen) -> None:
    begin, until = turn
    times, away = [], 0
    begin.wait()
    try:
        while time.perf_counter() < until[0]:
            for raw in client.requests:
                before = time.perf_counter()
                if before >= until[0]:
                    break
                channel.sendall(raw)
                status, body = _answer(channel)
                if status in {409, 429, 503}:  # too much at once, or no turn to write in time
                    away += 1
                elif status == 200:
                    times.append((time.perf_counter() - before) * 1000)
                else:
                    seen.errors.append(f"{status} {body[:300]!r}")
                    return
            if not client.again:
                break
    except (OSError, ValueError) as error:
        seen.errors.append(repr(error))
    finally:
        seen.times.extend(times)
        seen.turned_away += away


def _answer(channel: ssl.SSLSocket) -> tuple[int, bytes]:
    got = b""
    while (end := got.find(b"\r\n\r\n")) < 0:
        got += _piece(channel)
    head, body = got[:end].lower(), got[end + 4 :]
    _, there, rest = head.partition(b"content-length:")
    if not there:
        raise ValueError(f"an answer without its length: {head[:200]!r}")
    length = int(rest.split(b"\r\n", 1)[0])
    pieces, have = [body], len(body)
    while have < length:
        pieces.append(_piece(channel))
        have += len(pieces[-1])
    return int(head[9:12]), b"".join(pieces)


def _piece(channel: ssl.SSLSocket) -> bytes:
    found = channel.recv(262_144)
    if not found:
        raise ValueError("the server hung up")
    return found
