"""Messages over a stream socket: four bytes of length, big endian, then the message (spec/port.md section 4).

Both sides refuse a length over 4 MiB before they allocate. A frame that has begun has to be whole within `WHOLE_S`: who sends a byte
now and then holds nobody up. Raises KeyServiceUnavailable for a peer that went away or stalls, FormatError for what is no frame.
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


def send(peer: socket.socket, message: bytes) -> None:
    """Send one frame, within `WHOLE_S`."""
    peer.settimeout(WHOLE_S)
    try:
        peer.sendall(len(message).to_bytes(HEAD, "big") + message)
    except OSError as error:
        raise _gone(error) from None


def receive(peer: socket.socket, *, wait_s: float | None) -> bytes | None:
    """Return the next message, None when the peer closed between two. `wait_s` is how long the first byte may take, None for ever."""
    peer.settimeout(wait_s)
    try:
        first = peer.recv(1)
        if not first:
            return None
        until = time.monotonic() + WHOLE_S
        length = int.from_bytes(first + _exactly(peer, HEAD - 1, until), "big")
        if length > MESSAGE_LIMIT:
            raise FormatError(f"a message of {length} bytes is over {MESSAGE_LIMIT}")
        return bytes(_exactly(peer, length, until))
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
    what = "does not answer in time" if isinstance(error, TimeoutError) else f"went away ({error.strerror or error})"
    return KeyServiceUnavailable(f"the other side {what}")
