"""A port that sends everything through the codec, as a connection to another process would, around one in this process.

>>> port = CodecPort(connection.port)
>>> port.ask(Hello())           # encoded, decoded, asked, encoded, decoded

What passes in process and fails here would fail between processes: a value of a wrong type, a message over 4 MiB, a refusal that is
no error of ours. `sent` and `received` hold the last message's bytes; keys are not in them, only handles.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar, cast

from hermetic.domain.refusals import error_of, refusal_of
from hermetic.errors import FormatError, HermeticError
from hermetic.formats import codec
from hermetic.formats.messages.base import Refusal

if TYPE_CHECKING:
    from hermetic.crypto.secret import Secret
    from hermetic.domain.port import Port
    from hermetic.formats.messages.base import KeyBlob, Request

Answer = TypeVar("Answer")


class CodecPort:
    """Wraps another port. Thread safe if that one is."""

    def __init__(self, inner: Port) -> None:
        self._inner = inner
        self.sent = b""
        self.received = b""

    def ask(self, request: Request[Answer]) -> Answer:
        """Ask through the codec. Raises FormatError for what cannot be encoded, and what custody refuses with."""
        self.sent = codec.encode(request)
        answer, self.received = self._exchange(self.sent)
        if isinstance(answer, Refusal):
            raise error_of(answer)
        return cast("Answer", answer)

    def _exchange(self, raw: bytes) -> tuple[object, bytes]:
        try:
            said = codec.encode(self._inner.ask(codec.decode(raw)))
        except HermeticError as error:
            said = codec.encode(refusal_of(error))
        answer = codec.decode(said)
        if codec.encode(answer) != said:
            raise FormatError("an answer is encoded in two ways")
        return answer, said

    def redeem(self, blob: KeyBlob) -> Secret:
        """Exchange a handle; keys are never in messages."""
        return self._inner.redeem(blob)

    def close(self) -> None:
        """Close the port inside."""
        self._inner.close()
