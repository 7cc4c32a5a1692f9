"""The proof that a recipient's key is the caller's, used for something that its maker did not sign.

Attacker: somebody with a certificate of their own, who has seen whole requests of a colleague's and their proofs; and the caller
          itself.
Tries:    the proof under another certificate, also one of the same person; for another key, another request, another domain; the
          whole request again; the answer to one request in the place of the answer to another.
Stops it: the proof signs domain, request, recipient and certificate, and the certificate has to be that of the connection; every
          recipient is used once; an answer's key opens for its own request, place in the log, lease, version and recipient only.
"""

from __future__ import annotations

from _service import fresh, opening, service
from _stage import Stage, main

from hermetic.crypto.hpke import PrivateKey
from hermetic.domain.addressed import check_addressed
from hermetic.domain.https_identity import present
from hermetic.errors import HermeticError, IntegrityError, NotAuthenticated
from hermetic.formats import codec, lease_key
from hermetic.formats.messages.base import Refusal


def attack(stage: Stage) -> None:
    with service(stage, "ana", "eve") as made:
        private, ana = PrivateKey.generate(), present(made.paths("ana"))
        asked = opening(private.public)
        proof = ana.proof(made.domain, asked.request, asked.recipient)
        ask = _asker(made, asked)
        stage.honest("ana gets the key", len(ask("ana", proof).released), 1)
        made.certify("ana", "second")
        stage.refused("under eve's certificate", lambda: ask("eve", proof), NotAuthenticated)
        stage.refused("under another certificate of ana's", lambda: ask("second", proof), NotAuthenticated)
        other = PrivateKey.generate().public
        stage.refused("for another key", lambda: _asker(made, opening(other, asked.request))("ana", proof), NotAuthenticated)
        stage.refused("for another request", lambda: _asker(made, opening(private.public))("ana", proof), NotAuthenticated)
        elsewhere = ana.proof(fresh(), asked.request, asked.recipient)
        stage.refused("for another domain", lambda: ask("ana", elsewhere), NotAuthenticated)
        stage.refused("none at all", lambda: ask("ana", ""), NotAuthenticated)
        _answers(stage, made, ana)


def _answers(stage: Stage, made, ana) -> None:
    """Two requests of one caller at once, and one's answer for the other's; with one key for both, which a caller never does."""
    private = PrivateKey.generate()
    one, two = opening(private.public), opening(private.public)
    first, second = (_asker(made, asked)("ana", ana.proof(made.domain, asked.request, asked.recipient)) for asked in (one, two))
    stage.honest("the right answer opens", len(_opened(made, private, one, first)), 32)
    stage.refused("the key of another answer", lambda: _opened(made, private, two, first))
    stage.refused(
        "the whole of another answer",
        lambda: check_addressed(first.receipt, two.request, [item.version for item in first.released], private.public),
        IntegrityError,
    )
    stage.honest("there are two entries on the log", first.receipt.index != second.receipt.index, True)
    again = _asker(made, one)("ana", ana.proof(made.domain, one.request, one.recipient))
    stage.refused("the first answer to the same request, asked again", lambda: _opened(made, private, one, first, again.receipt.index))


def _opened(made, private: PrivateKey, asked, answer, index: int | None = None) -> bytes:
    lease = answer.released[0].lease
    info = lease_key.binding(made.domain, asked.request, index or answer.receipt.index, lease, asked.recipient)
    return bytes(private.open(lease.key.sealed, info).view())


def _asker(made, asked):
    """Return a function that sends `asked` as somebody, with a proof."""
    from hermetic.domain.refusals import error_of

    def ask(name: str, proof: str):
        headers = {"Hermetic-Recipient-Proof": proof} if proof else {}
        _, answer = made.call(name, "/v1/open-versions", codec.encode(asked), **headers)
        if isinstance(answer, Refusal):
            error = error_of(answer)
            assert isinstance(error, HermeticError)
            raise error
        return answer

    return ask


if __name__ == "__main__":
    main(attack)
