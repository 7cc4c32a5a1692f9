"""A server in a thread, for as long as a `with` lasts; `seen` collects what crosses, `change` alters answers on their way, and
`rewrite` their bytes."""

from __future__ import annotations

import threading
from contextlib import contextmanager

from hermetic.formats import codec
from hermetic.server.unix_socket import UnixServer


class _Watched(UnixServer):
    seen: list
    change = staticmethod(lambda answer: answer)
    rewrite = staticmethod(lambda raw: raw)

    def _answer(self, user, raw):
        said = self.rewrite(codec.encode(self.change(codec.decode(super()._answer(user, raw)))))
        self.seen += [raw, said]
        return said


@contextmanager
def served(custody, place, *, seen=None, change=None, rewrite=None):
    with _Watched(custody, place) as server:
        server.seen = [] if seen is None else seen
        server.change = change or (lambda answer: answer)
        server.rewrite = rewrite or (lambda raw: raw)
        ready = threading.Event()
        thread = threading.Thread(target=server.serve, args=(ready.set,))
        thread.start()
        assert ready.wait(20)
        try:
            yield server
        finally:
            server.close()
            thread.join()
