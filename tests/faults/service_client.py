"""A client of a service that is killed: seals, opens, and renews leases in three threads, and says what custody told it.

key INDEX REQUEST RECIPIENT     a key came, under this entry, for this request, sealed to the key with this hash
sealed REF CONTENT              custody said that the version is published
unsure NAME CONTENT             whether it was published is not known
read REF CONTENT                it was opened, and held these bytes
renewed LEASE                   custody confirmed a lease
failed                          anything that a service that is away does not explain
"""

from __future__ import annotations

import hashlib
import sys
import threading
import traceback

import hermetic
from hermetic.domain.remote import RemotePort
from hermetic.errors import Conflict, KeyServiceUnavailable, LeaseEnded, StorageError
from hermetic.formats.messages.versions import CheckLeases

AWAY = (KeyServiceUnavailable, StorageError, Conflict)
said = threading.Lock()
over = threading.Event()


def say(*words):
    with said:
        print(*words, flush=True)


class Told(RemotePort):
    """Says each key before it is used."""

    opened = RemotePort._opened

    def _opened(self, request, answer, private):
        found = Told.opened(self, request, answer, private)
        say("key", answer.receipt.index, request.request, hashlib.sha256(private.public).hexdigest())
        return found


def work(h, number):
    turn = 0
    while not over.is_set():
        turn += 1
        name, content = f"dataset/of-{number}", f"{number}-{turn}"
        try:
            one(h, name, content)
        except AWAY as error:
            say("away", type(error).__name__, error.message.replace("\n", " "))
            over.wait(0.05)
        except BaseException:  # noqa: BLE001 - whatever it is, the test shows it
            traceback.print_exc(file=sys.stdout)
            say("failed")
            return


def one(h, name, content):
    """Seal, read what was sealed, and ask about the lease while it is open."""
    try:
        ref = h.seal(content.encode(), name=name, data_class="internal").ref
    except AWAY:
        say("unsure", name, content)
        raise
    say("sealed", ref, content)
    try:
        with h.version(ref, purpose="train") as version:
            with version.open() as file:
                found = file.read().decode()
            lease = version.leased.lease.id
            (state,) = h.connection.port.ask(CheckLeases((lease,))).states
            if state.ended is None:
                say("renewed", lease)
    except LeaseEnded:
        return
    say("read", ref, found)


def main():
    RemotePort._opened = Told._opened
    with hermetic.connect() as h:
        threads = [threading.Thread(target=work, args=(h, number)) for number in range(3)]
        for thread in threads:
            thread.start()
        sys.stdin.read()
        over.set()
        for thread in threads:
            thread.join()
    say("done")


if __name__ == "__main__":
    main()
