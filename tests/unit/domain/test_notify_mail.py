"""Notifications by mail, to a real server: over STARTTLS, over TLS, in plain on loopback only, with a password never in the clear."""

from __future__ import annotations

import contextlib
import email
import email.policy
import socket
import ssl
import threading

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult

from hermetic.domain import notify_sending, notify_settings
from hermetic.domain.notify_sending import Failed, Message
from tests.unit.domain.receivers import certify

ABOUT = {"domain": "d", "request": "r" * 26, "action": "delete", "needed": 2, "expires_ms": 1_800_000_000_000}
MESSAGE = Message("n" * 26, "approval.asked", 1_799_000_000_000, ABOUT)


@pytest.fixture(scope="module")
def certified(tmp_path_factory):
    return certify(tmp_path_factory.mktemp("tls"))


class Kept:
    """What a server took."""

    def __init__(self):
        self.letters, self.said = [], []

    async def handle_DATA(self, _server, _session, envelope):  # noqa: N802 - the library's name
        letter = email.message_from_bytes(envelope.content, policy=email.policy.SMTP)
        self.letters.append((envelope.mail_from, envelope.rcpt_tos, letter))
        return "250 taken"

    def login(self, _server, session, _envelope, _mechanism, given):
        self.said.append((given.login, given.password, session.ssl is not None))
        return AuthResult(success=given.password == b"secret")


class _Server(Controller):
    def __init__(self, handler, context, **more):
        self.given, self.starttls = more, context
        super().__init__(handler, hostname="127.0.0.1", port=0, ready_timeout=20)

    def factory(self):
        return SMTP(self.handler, hostname="mail.test", tls_context=self.starttls, **self.given)

    def _trigger_server(self):
        """The port is known once it listens; the library would connect to the one it was given."""
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()


@contextlib.contextmanager
def mailing(handler, context=None, implicit=None, **more):
    server = _Server(handler, context, **more)
    server.ssl_context = implicit
    server.start()
    try:
        yield server.port
    finally:
        server.stop()


def context_of(certified):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certified)
    return context


def target(port, **more):
    given = {"smtp": f"127.0.0.1:{port}", "from": "hermetic@example.org", "to": ["a@example.org", "b@example.org"], **more}
    return notify_settings.read({"mail": given}, "config.yaml")["mail"]


def test_over_starttls_with_a_password(certified, tmp_path):
    password = tmp_path / "password"
    password.touch(0o600)
    password.write_text("secret\n")
    kept = Kept()
    more = {"authority": str(certified[0]), "user": "hermetic", "password": str(password)}
    with mailing(kept, context_of(certified), require_starttls=True, authenticator=kept.login, auth_required=True) as port:
        notify_sending.send(target(port, **more), MESSAGE)
    assert kept.said == [(b"hermetic", b"secret", True)]
    ((sender, to, letter),) = kept.letters
    assert (sender, to, letter["Subject"]) == (
        "hermetic@example.org",
        ["a@example.org", "b@example.org"],
        "hermetic: approval.asked (delete)",
    )
    assert (letter["X-Hermetic-Notification"], letter["Auto-Submitted"]) == (MESSAGE.id, "auto-generated")
    assert letter["Message-ID"] == f"<{MESSAGE.id}@hermetic.invalid>"
    said = letter.get_content()
    assert "expires: 2027-01-15 08:00:00Z" in said
    assert f"request: {'r' * 26}" in said


def test_over_tls(certified):
    kept = Kept()
    with mailing(kept, implicit=context_of(certified)) as port:
        notify_sending.send(target(port, tls="tls", authority=str(certified[0])), MESSAGE)
        with pytest.raises(Failed, match="certificate does not verify"):
            notify_sending.send(target(port, tls="tls"), MESSAGE)
    assert len(kept.letters) == 1


def test_a_server_without_starttls_gets_nothing(certified):
    kept = Kept()
    with mailing(kept) as port:
        with pytest.raises(Failed, match="STARTTLS"):
            notify_sending.send(target(port, authority=str(certified[0])), MESSAGE)
        notify_sending.send(target(port, tls="none"), MESSAGE)
    assert len(kept.letters) == 1


def test_names_cannot_add_headers_or_lines(certified):
    kept = Kept()
    about = {**ABOUT, "names": {"by": "eve\r\nBcc: x@y\r\n\r\n\u202ebody"}}
    with mailing(kept) as port:
        notify_sending.send(target(port, tls="none"), Message("n" * 26, "approval.asked", 0, about))
    ((_, to, letter),) = kept.letters
    assert (to, letter["Bcc"]) == (["a@example.org", "b@example.org"], None)
    assert r"by: eve\r\nBcc: x@y\r\n\r\n\u202ebody" in letter.get_content()


def test_who_answers_a_byte_at_a_time_is_left(monkeypatch):
    """The whole conversation has an end, however often a byte comes."""
    monkeypatch.setattr(notify_sending, "WHOLE_S", 0.2)
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def drip():
            peer, _ = listener.accept()
            with peer, contextlib.suppress(OSError):
                while not over.wait(0.02):
                    peer.sendall(b"2")

        thread = threading.Thread(target=drip)
        thread.start()
        try:
            with pytest.raises(Failed):
                notify_sending.send(target(listener.getsockname()[1], tls="none"), MESSAGE)
        finally:
            over.set()
            thread.join()
