"""Messages over a stream socket: four bytes of length, big endian, then the message (spec/port.md section 4).

Both sides refuse a length over 4 MiB before they allocate. The head of a frame that has begun has to be there within `WHOLE_S`, and so
has what follows it: who sends a byte now and then holds nobody up. Raises KeyServiceUnavailable for a peer that went away, Stalled for
one that is there and does nothing, FormatError for what is no frame.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from hermetic.errors import FormatError, KeyServiceUnavailable
from hermetic.formats.codec import MESSAGE_LIMIT

if TYPE_CHECKING:
    import socket

HEAD: Final = 4
WHOLE_S: Final = 30.0
_CHUNK: Final = 1 << 18


class Stalled(KeyServiceUnavailable):
    """The peer is there, and does not answer in time."""


def send(peer: socket.socket, message: bytes) -> None:
    """Send one frame, within `WHOLE_S`."""
    peer.settimeout(WHOLE_S)
    try:
        peer.sendall(len(message).to_bytes(HEAD, "big") + message)
    except OSError as error:
        raise _gone(error) from None


def receive(peer: socket.socket, *, wait_s: float | None) -> bytes | None:
    """Return the next message, None when the peer closed between two. `wait_s` is how long the first byte may take, None for ever."""
    length = announced(peer, wait_s=wait_s)
    return None if length is None else body(peer, length)


def announced(peer: socket.socket, *, wait_s: float | None) -> int | None:
    """Return the length of the next message, which `body` then reads; None as `receive`."""
    peer.settimeout(wait_s)
    try:
        first = peer.recv(1)
        if not first:
            return None
        length = int.from_bytes(first + _exactly(peer, HEAD - 1, time.monotonic() + WHOLE_S), "big")
    except OSError as error:
        raise _gone(error) from None
    if length > MESSAGE_LIMIT:
        raise FormatError(f"a message of {length} bytes is over {MESSAGE_LIMIT}")
    return length


def body(peer: socket.socket, length: int) -> bytes:
    """Return a message whose length was announced."""
    try:
        return bytes(_exactly(peer, length, time.monotonic() + WHOLE_S))
    except OSError as error:
        raise _gone(error) from None


def _exactly(peer: socket.socket, count: int, until: float) -> bytearray:
    found = bytearray()
    while len(found) < count:
        left = until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        peer.settimeout(left)
        piece = peer.recv(min(count - len(found), _CHUNK))
        if not piece:
            raise KeyServiceUnavailable("the other side went away in the middle of a message")
        found += piece
    return found


def _gone(error: OSError) -> KeyServiceUnavailable:
    if isinstance(error, TimeoutError):
        return Stalled("the other side does not answer in time")
    return KeyServiceUnavailable(f"the other side went away ({error.strerror or error})")
