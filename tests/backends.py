"""The same custody behind each of its transports, for test bodies that do not care which: embedded, separated, service.

    with behind("service", world.port(), folder) as port:
        port.ask(Hello())

What is tested is that a verb works the same through a Unix socket and through HTTPS. Who asks, and the enforcement level, stay as
embedded, since what policy permits by level has tests of its own. Certificates have to be in date for OpenSSL, whatever the
clock of a test says, so that they come from an authority of the process.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import shutil
import tempfile
import threading
import time
from pathlib import Path

from hermetic.crypto import x509
from hermetic.custody.call import Vouched
from hermetic.domain import identity_files, opening
from hermetic.domain.custody_place import ServicePlace
from hermetic.domain.https_port import HttpsPort
from hermetic.domain.local import LocalPort
from hermetic.domain.service import ServiceCustody, Shown
from hermetic.domain.unix_port import UnixPort
from hermetic.server.http_limits import Limits
from hermetic.server.http_server import HttpsServer
from hermetic.server.unix_socket import UnixServer

EMBEDDED, SEPARATED, SERVICE = BACKENDS = ("embedded", "separated", "service")
GENEROUS = Limits(stop_s=3.0, rate=100_000.0, burst=100_000.0)


class Elsewhere:
    """A port to custody behind a transport; what only the embedded port has, tests find there."""

    def __init__(self, local, remote):
        self._local, self._remote = local, remote

    def ask(self, request):
        return self._remote.ask(request)

    def redeem(self, blob):
        return self._remote.redeem(blob)

    def close(self):
        self._remote.close()
        self._local.close()

    def __getattr__(self, name):
        return getattr(self._local, name)


class _ForUsers:
    """What a Unix server asks: whoever calls is the local port's caller."""

    def __init__(self, local):
        self._local = local

    def ask_for(self, _user, request):
        return self._local.ask_as(Vouched(self._local._caller), request)

    def knows(self, _user):
        return True


class _ForMachines(ServiceCustody):
    """What an HTTPS server asks, with certificates of the process's own; proofs for recipients are checked as ever."""

    def serve(self, local):
        """Answer for another port from here on."""
        self._port, self._custodian = local, None if local is None else local.custodian

    def shown(self, names, before=None):
        return before or _certificates(self.domain).shown

    def account(self, certificate):
        return "caller"

    def _vouched(self, asked, _request):
        return Vouched(self._port._caller, asked.network)


class _Certificates:
    """An authority, a service's certificate for localhost, and a client's."""

    def __init__(self, domain):
        folder = Path(tempfile.mkdtemp(prefix="hermetic-backends-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        span = x509.Span.of(time.time_ns() // 1_000_000, 86_400)
        key = x509.AuthorityKey.generate()
        root = x509.root_certificate(key, "tests", domain, span)
        issuer = x509.Issuer(root, key)
        server, server_key = x509.server_certificate(issuer, f"spiffe://{domain}/service/custody", ["localhost"], span=span)
        uri = f"spiffe://{domain}/person/tests"
        client_key, csr = x509.new_request(uri)
        client = x509.client_certificate(issuer, x509.parse_request(csr).public, uri, "tests", span=span)
        self.shown = Shown(x509.to_pem((server,)), server_key, (root,), span.end_ms)
        self.paths = identity_files.ClientIdentity(folder / "chain.pem", folder / "key.pem", folder / "authorities.pem")
        self.paths.chain.write_bytes(x509.to_pem((client,)))
        self.paths.key.touch(mode=0o600)
        self.paths.key.write_bytes(bytes(client_key.view()))
        self.paths.authorities.write_bytes(x509.to_pem((root,)))


_certificates = functools.cache(_Certificates)


class _Standing:
    """An HTTPS service that stands until the process ends: one port after the other is lent to it, which spares its start and end."""

    def __init__(self, domain):
        self._custody = None
        self.domain, self.free, self._server = domain, True, None

    @contextlib.contextmanager
    def lent_to(self, local):
        self.free = False
        if self._server is None:
            self._start(local)
        self._custody.serve(local)
        _ports[id(local)] = port = self._server.address[1]
        remote = HttpsPort(ServicePlace("localhost", port), self.domain, _certificates(self.domain).paths)
        try:
            yield remote
        finally:
            remote.close()
            self._custody.serve(None)
            self.free = True

    def _start(self, local):
        self._custody = _ForMachines(local)
        self._server = HttpsServer(self._custody, ("127.0.0.1", 0), names=("localhost",), limits=GENEROUS)
        ready = threading.Event()
        threading.Thread(target=self._server.serve, args=(ready.set,), daemon=True).start()
        assert ready.wait(20)
        _started.append(self._server)


_standing = functools.cache(_Standing)
_started = []


def close_standing():
    """End the services that stand; at the end of a test session, while their threads may still begin something."""
    while _started:
        _started.pop().close()


_ports = {}


@contextlib.contextmanager
def behind(backend, local, folder):
    """Lend a port to the custody of an embedded port, through a transport; `folder` is for a socket."""
    if backend == EMBEDDED:
        yield local
        return
    if backend == SERVICE and (place := _standing(local.custodian.domain)).free:
        with place.lent_to(local) as remote:
            yield Elsewhere(local, remote)
        return
    server, dial = (_unix if backend == SEPARATED else _https)(local, folder)
    with server:
        ready = threading.Event()
        thread = threading.Thread(target=server.serve, args=(ready.set,))
        thread.start()
        assert ready.wait(20)
        remote = dial()
        try:
            yield Elsewhere(local, remote)
        finally:
            remote.close()
            server.close()
            thread.join()


@contextlib.contextmanager
def serving(backend, home, domain, folder):
    """Serve the custody in a home, and yield the HERMETIC_URL by which commands reach it, "" for the embedded one.

    For `service`, the certificate that commands show is put where they look for it.
    """
    if backend == EMBEDDED:
        yield ""
        return
    local = LocalPort(opening.open_custodian(home.domain_data(domain), domain, None, dict))
    with contextlib.closing(local), behind(backend, local, folder):
        if backend == SEPARATED:
            yield f"unix:{folder / 'run' / 's'}"
            return
        place = identity_files.Place(home.domain_config(domain) / identity_files.FOLDER, domain)
        shown = _certificates(domain)
        made = place.folder / "tests"
        made.mkdir(mode=0o700, parents=True)
        place.folder.chmod(0o700)
        for source, name in zip(
            (shown.paths.chain, shown.paths.key, shown.paths.authorities),
            (identity_files.CHAIN, identity_files.KEY, identity_files.AUTHORITIES),
            strict=True,
        ):
            (made / name).touch(mode=0o600)
            (made / name).write_bytes(source.read_bytes())
        (place.folder / identity_files.CURRENT).symlink_to("tests")
        yield f"https://localhost:{_ports[id(local)]}"


def _unix(local, folder):
    run = folder / "run"
    run.mkdir(mode=0o700, parents=True, exist_ok=True)
    return UnixServer(_ForUsers(local), run / "s"), lambda: UnixPort(run / "s", local.custodian.domain)


def _https(local, _folder):
    server = HttpsServer(_ForMachines(local), ("127.0.0.1", 0), names=("localhost",), limits=GENEROUS)
    _ports[id(local)] = server.address[1]
    domain = local.custodian.domain
    return server, lambda: HttpsPort(ServicePlace("localhost", server.address[1]), domain, _certificates(domain).paths)
