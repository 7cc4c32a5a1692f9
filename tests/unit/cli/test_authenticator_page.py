"""The page that asks an authenticator: for this machine, its own page and one token only; and what commands do with it."""

from __future__ import annotations

import http.client
import io
import json
import re
import threading
from contextlib import contextmanager

import pytest

from hermetic.cli import authenticator_page, identity_factor
from hermetic.cli.authenticator_page import AuthenticatorPage
from hermetic.domain import authenticating as touch
from hermetic.errors import Conflict, Denied, FormatError
from tests.authenticator import Authenticator

STEP = touch.assertion(bytes(32), (b"id",), title="Touch")


def get(page, path="", *, method="GET", body=None, **headers):
    """Ask as a client with these headers; returns status, headers, body."""
    connection = http.client.HTTPConnection("127.0.0.1", page.port, timeout=20)
    try:
        given = {"Host": f"localhost:{page.port}", **{name.replace("_", "-"): value for name, value in headers.items()}}
        connection.request(method, path, body=body, headers=given)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def token(page):
    return page.url.removeprefix(page.origin)


def post(page, body, **headers):
    given = {"Origin": page.origin, "Content_Type": "application/json", **headers}
    return get(page, token(page) + "answer", method="POST", body=body, **given)[0]


@pytest.fixture
def page():
    with AuthenticatorPage(browser=False) as made:
        yield made


def test_what_is_served_and_how(page):
    status, headers, body = get(page, token(page))
    assert (status, b"page.js" in body) == (200, True)
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["Cache-Control"] == "no-store"
    assert headers["Access-Control-Allow-Origin"] is None
    assert get(page, token(page) + "page.js")[1]["Content-Type"].startswith("text/javascript")
    assert len(token(page)) > 40


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "127.0.0.1:1"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
    ],
)
def test_requests_from_elsewhere(page, headers):
    for path in ("", "next", "page.js"):
        assert get(page, token(page) + path, **headers)[0] == 403


@pytest.mark.parametrize("path", ["/", "/x/", "/favicon.ico", "", "/../../etc/passwd", "/%C3%A9/"])
def test_nothing_without_the_token(page, path):
    assert get(page, path or "/")[0] == 403
    assert get(page, token(page) + "../page.js")[0] == 404


def test_answers_come_from_the_page_itself(page):
    with asking(page) as came:
        body = json.dumps({"error": "NotAllowedError"})
        for headers in ({"Origin": ""}, {"Origin": "http://localhost:1"}, {"Content_Type": "text/plain"}):
            assert post(page, body, **headers) in {400, 403}
        assert post(page, b"[") == 400
        assert post(page, b"[]") == 409
        assert post(page, body) == 200
        assert post(page, body) == 409  # one answer
    assert came == [{"error": "NotAllowedError"}]


@contextmanager
def asking(page):
    came, told = [], threading.Event()
    thread = threading.Thread(target=lambda: came.append(page.ask(STEP, lambda _text: told.set())))
    thread.start()
    assert told.wait(20)
    yield came
    thread.join()


def test_the_step_that_waits(page):
    with asking(page):
        step = json.loads(get(page, token(page) + "next")[2])["step"]
        assert (step["kind"], step["title"], step["options"]["userVerification"]) == ("get", "Touch", "required")
        assert post(page, b"{}") == 200


def test_nobody_comes(page, monkeypatch):
    monkeypatch.setattr(authenticator_page, "WAIT_S", 0)
    with pytest.raises(Conflict, match="in time"):
        page.ask(STEP, lambda _text: None)


def test_it_closes_afterwards():
    with AuthenticatorPage(browser=False) as made:
        port = made.port
    with pytest.raises(OSError, match=r"refused"):
        http.client.HTTPConnection("127.0.0.1", port, timeout=5).request("GET", "/")


def test_both_addresses_of_localhost_are_ours(page):
    assert len({server.server_address[1] for server in page.servers}) == 1
    assert page.servers[0].server_address[0] == "127.0.0.1"


@pytest.mark.parametrize("answer", [{}, {"client": 1}, {"client": "!"}, {"credential": "eA"}])
def test_answers_that_are_none(answer):
    with pytest.raises(FormatError):
        touch.asserted(answer)
    with pytest.raises(FormatError):
        touch.created(answer)


def test_what_the_browser_says_no_with_is_not_passed_on():
    with pytest.raises(Denied, match="NotAllowedError"):
        touch.asserted({"error": "NotAllowedError"})
    with pytest.raises(Denied, match="an error"):
        touch.asserted({"error": "\x1b[2Jboo"})


# Commands: a person at a browser is a thread with a software authenticator


class Somebody:
    """Opens the page that a command names and touches, as often as it is asked."""

    def __init__(self):
        self.key = Authenticator()

    def opens(self, page):
        origin, path = re.fullmatch(r"(http://localhost:\d+)(/.*)", page.url).groups()
        while True:
            status, _, body = get(page, path + "next")
            if status != 200 or "done" in (said := json.loads(body)):
                return
            post(page, json.dumps(self.key.answer(said["step"], origin)))


@pytest.fixture
def cli(hermetic, monkeypatch, tmp_path, tmp_path_factory):
    """Call the program in a project of its own; `code` is what it is to return."""
    monkeypatch.setenv("HERMETIC_HOME", str(tmp_path_factory.mktemp("home")))
    tmp_path.chmod(0o700)

    def call(*arguments, code=0, typed=""):
        monkeypatch.setattr("sys.stdin", io.StringIO(typed))
        done = hermetic(*arguments)
        assert done.code == code, done.err
        return done

    return call


@pytest.fixture
def somebody(monkeypatch):
    person, threads, real = Somebody(), [], AuthenticatorPage.__enter__

    def enter(page):
        entered = real(page)
        threads.append(threading.Thread(target=person.opens, args=(page,)))
        threads[-1].start()
        return entered

    monkeypatch.setattr(AuthenticatorPage, "__enter__", enter)
    yield person
    for thread in threads:
        thread.join()


def test_factors_on_the_command_line(cli, somebody):
    """Add, list, confirm and remove, at the domain owner's own machine."""
    cli("init", "--root", "local:insecure-file", "--project", "clinic")
    added = cli("identity", "factor", "add", "webauthn", "--label", "blue key", "--no-browser")
    assert "kind       webauthn" in added.out
    assert "http://localhost:" in added.err
    assert "blue key" in cli("identity", "factor", "ls").out
    assert "confirmed  webauthn" in cli("identity", "confirm", "--webauthn", "--no-browser").out
    wrong = cli("identity", "confirm", typed="123456\n", code=1)
    assert "factor add totp" in wrong.err
    assert "terminal" in cli("identity", "factor", "add", "totp", code=2).err
    assert "terminal" in cli("identity", "factor", "invite", "nobody", "--reason", "x", code=2).err
    (row,) = json.loads(cli("identity", "factor", "ls", "--json").out)["factors"]
    assert "removed" in cli("identity", "factor", "remove", row["id"], "--reason", "sold").out
    assert identity_factor.TRIES == 3


def test_approving_by_touch_on_the_command_line(cli, somebody, tmp_path):
    cli("init", "--root", "local:insecure-file", "--project", "clinic")
    assert "--webauthn" in cli("approver", "enrol", "bob", "--reason", "answers for data", code=2).err
    assert "--public-key" in cli("approver", "enrol", "../bob", "--webauthn", "--no-browser", "--reason", "bad", code=2).err
    cli("approver", "enrol", "bob", "--webauthn", "--no-browser", "--reason", "answers for data")
    assert (tmp_path / "bob.pub").exists()
    bobs, somebody.key = somebody.key, Authenticator()
    cli("approver", "key", "new", "carol", "--webauthn", "--no-browser")
    cli("approver", "enrol", "carol", "--public-key", "carol.pub", "--reason", "answers for keys")
    cli("approver", "enrol", "dave", "--public-key", "carol.pub", "--reason", "x", code=5)
    (row,) = json.loads(cli("request", "ls", "--json").out)["requests"]
    somebody.key = bobs
    assert "--as" in cli("approve", row["id"], "--webauthn", "--no-browser", code=2).err
    assert "--webauthn" in cli("approve", row["id"], code=2).err
    shown = cli("approve", row["id"], "--webauthn", "--as", "bob", "--no-browser", "--reason", "looked at it")
    assert "bob" in shown.out
    assert "approve" in shown.out
