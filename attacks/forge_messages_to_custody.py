"""Another user of the machine against custody kept apart: messages that nobody should send.

Attacker: a user of the machine, enrolled to audit and nothing more, with custody serving under another user id.
Tries:    ask for keys, runs, roles and rotations; a message that says who sends it, of another version, that is an answer, no JSON,
          deep, huge; a message of a colleague's, byte for byte; a length of two gigabytes.
Stops it: the kernel says who asks, nothing in a message does, and policy decides; each message is checked before it is believed.
"""

from __future__ import annotations

import contextlib
import secrets
import socket
from typing import TYPE_CHECKING

from _apart import Apart, separated
from _stage import Stage, main

from hermetic.crypto.hpke import PrivateKey
from hermetic.domain import framing
from hermetic.domain.refusals import error_of
from hermetic.errors import HermeticError, PolicyDenied
from hermetic.formats import codec
from hermetic.formats.messages.base import Refusal
from hermetic.formats.messages.greeting import Hello
from hermetic.formats.messages.keys import ListKeys, RotateKey
from hermetic.formats.messages.policy import SetRoles
from hermetic.formats.messages.runs import StartRun
from hermetic.formats.messages.versions import CheckLeases, OpenVersions
from hermetic.ids import Purpose, id_from_bytes

if TYPE_CHECKING:
    from pathlib import Path

COLLEAGUE = 1  # the user id `daemon`, enrolled to prepare data


def attack(stage: Stage) -> None:
    with separated(stage) as apart:
        _messages(apart)
        _replayed(apart)


def _replayed(apart: Apart) -> None:
    """What a colleague sent and was answered, sent again by the attacker, who has read both."""
    with apart.stage.connect() as h:
        h.connection.ask(SetRoles("daemon", ("ml-engineer",), "prepares"))
    asked = OpenVersions(_fresh(), ("dataset/patients",), Purpose.PREPARE, recipient=PrivateKey.generate().public)
    with apart.somebody(COLLEAGUE):
        answer = _send(apart.place, codec.encode(asked))
    apart.stage.honest("the colleague gets the key", len(answer.released), 1)
    with apart.attacker():
        apart.stage.refused("the colleague's request, again", lambda: _send(apart.place, codec.encode(asked)), PolicyDenied)
        (state,) = _send(apart.place, codec.encode(CheckLeases((answer.released[0].lease.id,)))).states
        apart.stage.found("the colleague's lease, kept alive", state.ended)


def _messages(apart: Apart) -> None:
    fresh, public, stage, place = _fresh(), PrivateKey.generate().public, apart.stage, apart.place
    with apart.attacker():
        kek = apart.ask(ListKeys()).keys[0].kek
        tries = {
            "a key": OpenVersions(fresh, ("dataset/patients",), Purpose.PREPARE, recipient=public),
            "a key for audit": OpenVersions(fresh, ("dataset/patients",), Purpose.AUDIT, recipient=public),
            "a run": StartRun(fresh, "train", Purpose.TRAIN),
            "rotate a key": RotateKey(kek, "because"),
            "a better role": SetRoles("nobody", ("ml-engineer",), "because"),
        }
        for what, request in tries.items():
            stage.refused(what, lambda request=request: apart.ask(request), PolicyDenied)
        hello = codec.encode(Hello())
        for what, raw in {
            "another version of the port": hello.replace(b'"hermetic":1', b'"hermetic":2'),
            "a caller in the message": hello.replace(b'"body":{}', b'"body":{"caller":"os:0"}'),
            "an answer for a question": codec.encode(Refusal("Denied", "no", None, ())),
            "no JSON": bytes(64),
            "deep JSON": b"[" * 65536,
            "a huge number": b'{"body":{"generation":' + b"9" * 5000 + b"}}",
        }.items():
            stage.refused(what, lambda raw=raw: _send(place, raw), HermeticError)
        with contextlib.closing(_dial(place)) as peer:
            peer.sendall((1 << 31).to_bytes(4, "big"))
            said = codec.decode(framing.receive(peer, wait_s=20))
        stage.found("a length of two gigabytes", said.error == "FormatError" and "refused before it is made room for")


def _send(place: Path, raw: bytes) -> object:
    with contextlib.closing(_dial(place)) as peer:
        framing.send(peer, raw)
        said = codec.decode(framing.receive(peer, wait_s=20))
    if isinstance(said, Refusal):
        raise error_of(said)
    return said


def _dial(place: Path) -> socket.socket:
    peer = socket.socket(socket.AF_UNIX)
    peer.connect(str(place))
    return peer


def _fresh() -> str:
    return id_from_bytes(secrets.token_bytes(16))


if __name__ == "__main__":
    main(attack)
