"""What the client of OpenBao does when the other side is slow, wrong, large, busy or somebody else."""

from __future__ import annotations

import gc
import json
import os
import socket
import ssl
import threading

import pytest

from hermetic.errors import KeyServiceUnavailable
from hermetic.providers import openbao_http
from hermetic.providers.openbao_http import TRIES, Answer, Client
from hermetic.providers.openbao_server import Server
from tests.unit.providers.openbao_stand_in import stand_in

GOOD = (200, {"data": {}})


def client_of(server, **more):
    pauses = more.setdefault("pauses", [])
    made = Client(
        Server("http", "127.0.0.1", server.server_port), pause=pauses.append, **{k: v for k, v in more.items() if k != "pauses"}
    )
    return made, pauses


def test_an_answer():
    with stand_in((200, {"data": {"a": 1}})) as server:
        client, pauses = client_of(server)
        assert client.call("POST", "x/y", {"k": "ä"}, token="s.token") == Answer(200, {"data": {"a": 1}})
        client.close()
    ((method, path, headers, body),) = server.asked
    assert (method, path, json.loads(body)) == ("POST", "/v1/x/y", {"k": "ä"})
    assert headers["X-Vault-Token"] == "s.token"
    assert headers["X-Vault-Request"] == "true"
    assert "X-Vault-Namespace" not in headers
    assert pauses == []


def test_a_namespace():
    with stand_in(GOOD) as server:
        client = Client(Server("http", "127.0.0.1", server.server_port, namespace="team/prod"))
        client.call("GET", "x")
        client.close()
    assert server.asked[0][2]["X-Vault-Namespace"] == "team/prod"
    assert "X-Vault-Token" not in server.asked[0][2]


def test_one_connection_is_kept():
    ports = []

    def note(handler):
        ports.append(handler.client_address[1])
        handler.send_response(204)
        handler.end_headers()

    with stand_in(note) as server:
        client, _ = client_of(server)
        assert [client.call("GET", "x").body for _ in range(5)] == [{}] * 5
        client.close()
    assert len(set(ports)) == 1


def test_a_kept_connection_that_died_is_replaced():
    def last(handler):
        handler.close_connection = True  # without saying so
        handler.send_response(200)
        handler.send_header("Content-Length", "2")
        handler.end_headers()
        handler.wfile.write(b"{}")

    with stand_in(last) as server:
        client, pauses = client_of(server)
        assert [client.call("GET", "x").status for _ in range(4)] == [200] * 4
        client.close()
    assert pauses == []


@pytest.mark.parametrize("status", [412, 429, 502, 503, 504])
def test_what_is_put_off_is_asked_again(status):
    with stand_in((status, {"errors": []}), (status, b"<html>"), GOOD) as server:
        client, pauses = client_of(server)
        assert client.call("GET", "x").status == 200
        client.close()
    assert len(pauses) == 2
    assert 0.05 <= pauses[0] <= 0.15 < pauses[1] <= 0.45


def test_but_not_for_ever():
    with stand_in((429, {"errors": ["rate limit quota exceeded"]}, {"Retry-After": "3600"})) as server:
        client, pauses = client_of(server)
        with pytest.raises(KeyServiceUnavailable, match="takes no more requests now") as caught:
            client.call("GET", "x")
        client.close()
    assert (len(server.asked), len(pauses)) == (TRIES, TRIES - 1)
    assert max(pauses) <= 2.0
    assert caught.value.exit_code == 6


def test_sealed():
    with stand_in((503, {"errors": ["Vault is sealed"]})) as server:
        client, _ = client_of(server)
        with pytest.raises(KeyServiceUnavailable, match="is sealed") as caught:
            client.call("GET", "x")
        client.close()
    assert "bao operator unseal" in caught.value.hint


def test_nobody_there():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        pauses = []
        client = Client(Server("http", "127.0.0.1", probe.getsockname()[1]), pause=pauses.append)
        with pytest.raises(KeyServiceUnavailable, match="cannot be reached: Connection refused"):
            client.call("GET", "x")
    assert len(pauses) == TRIES - 1


def test_no_such_host():
    with pytest.raises(KeyServiceUnavailable, match="cannot be reached"):
        Client(Server("https", "nobody.invalid", 8200), pause=pytest.fail).call("GET", "x")


def test_redirects_are_not_followed():
    with stand_in((307, b"", {"Location": "http://127.0.0.1:1/v1/x"})) as server:
        client, pauses = client_of(server)
        with pytest.raises(KeyServiceUnavailable, match="redirects, which is not followed"):
            client.call("GET", "x", token="s.token")
        client.close()
    assert (len(server.asked), pauses) == (1, [])


@pytest.mark.parametrize(
    "raw",
    [b"<html>no</html>", b"[]", b'"text"', b"7", b"\xff\xfe", b"{", b"[" * 100_000, b'{"a":' + b"9" * 5000 + b"}"],
    ids=["html", "list", "text", "number", "bytes", "torn", "deep", "long-number"],
)
def test_garbage(raw):
    with stand_in((200, raw)) as server:
        client, pauses = client_of(server)
        with pytest.raises(KeyServiceUnavailable, match="is not OpenBao"):
            client.call("GET", "x")
        client.close()
    assert pauses == []


def raw_answer(data):
    def answer(handler):
        handler.close_connection = True
        handler.wfile.write(data)

    return answer


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n" + b"a: b\r\n" * 200,
    ],
    ids=["ssh", "cut-short", "headers"],
)
def test_what_is_not_http(data):
    with stand_in(raw_answer(data)) as server:
        client, _ = client_of(server)
        with pytest.raises(KeyServiceUnavailable, match=r"is not OpenBao|cannot be reached"):
            client.call("GET", "x")
        client.close()


def test_chunks_are_read_whole():
    with stand_in(raw_answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n")) as server:
        client, _ = client_of(server)
        assert client.call("GET", "x") == Answer(200, {})
        client.close()


def test_answers_are_bounded(monkeypatch):
    monkeypatch.setattr(openbao_http, "ANSWER_LIMIT", 1 << 20)
    with stand_in((200, b'{"a":"' + b"x" * (1 << 20) + b'"}')) as server:
        client, _ = client_of(server)
        with pytest.raises(KeyServiceUnavailable, match="has over 1 MiB"):
            client.call("GET", "x")
        client.close()


def test_silence():
    released = threading.Event()
    with stand_in(lambda handler: released.wait()) as server:
        client, pauses = client_of(server, answer_s=0.1)
        with pytest.raises(KeyServiceUnavailable, match="does not answer in time"):
            client.call("GET", "x")
        released.set()
    assert pauses == []


def test_an_answer_that_drips():
    """Each byte comes in time; the whole does not."""
    ended = threading.Event()

    def drip(handler):
        handler.close_connection = True
        handler.send_response(200)
        handler.send_header("Content-Length", "1000000")
        handler.end_headers()
        try:
            while not ended.wait(0.01):
                handler.wfile.write(b" ")
        except OSError:
            pass

    with stand_in(drip) as server:
        client, _ = client_of(server, answer_s=0.3)
        with pytest.raises(KeyServiceUnavailable, match="does not answer in time"):
            client.call("GET", "x")
        ended.set()


def test_plain_http_where_tls_is_spoken_and_the_other_way_round():
    with stand_in(GOOD) as server:
        client = Client(Server("https", "127.0.0.1", server.server_port), pause=lambda seconds: None)
        with pytest.raises(KeyServiceUnavailable, match=r"is not trusted|cannot be reached"):
            client.call("GET", "x")


def test_a_name_that_only_looks_like_this_machine(monkeypatch):
    """`localhost` may be anything in /etc/hosts: the connection itself is looked at."""
    with stand_in(GOOD) as server:
        monkeypatch.setattr("hermetic.providers.openbao_server._loopback", lambda host: False)
        client = Client(Server("http", "localhost", server.server_port))
        with pytest.raises(KeyServiceUnavailable, match="is not this machine"):
            client.call("GET", "x", token="s.token")
    assert server.asked == []


def test_certificates_that_cannot_be_read(tmp_path):
    for server in (
        Server("https", "127.0.0.1", 1, ca=tmp_path / "none"),
        Server("https", "127.0.0.1", 1, certificate=(tmp_path / "none", tmp_path / "none")),
    ):
        with pytest.raises(KeyServiceUnavailable, match="cannot be read"):
            Client(server).call("GET", "x")


def test_environment_is_not_heeded(monkeypatch, tmp_path):
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys"))
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    from hermetic.providers import openbao_server

    context = openbao_server.tls(Server("https", "127.0.0.1", 1))
    assert context.keylog_filename is None
    assert context.minimum_version is ssl.TLSVersion.TLSv1_3
    assert (context.check_hostname, context.verify_mode) == (True, ssl.CERT_REQUIRED)
    with stand_in(GOOD) as server:
        client, _ = client_of(server)
        assert client.call("GET", "x").status == 200
        client.close()


def test_a_child_leaves_the_connections_of_its_parent_alone():
    ports = []

    def note(handler):
        ports.append(handler.client_address[1])
        handler.send_response(204)
        handler.end_headers()

    with stand_in(note) as server:
        client, _ = client_of(server)
        client.call("GET", "x")
        pid = os.fork()
        if pid == 0:
            os._exit(0 if client.call("GET", "x").status == 204 else 1)
        assert os.waitpid(pid, 0)[1] == 0
        client.call("GET", "x")
        client.close()
    assert ports[0] == ports[2] != ports[1]


def test_what_a_server_says_is_one_printable_line():
    answer = Answer(400, {"errors": ["a\x1b[31m\nb", 7, "c " * 1000]})
    assert answer.problem.startswith("a [31m b c c")
    assert len(answer.problem) == 300
    for secret in (
        "s.BUxDuKcz5u7iYDgAVVtywv5w",
        "a1b2c3d4-0a6b-f3f4-6f37-5c4be1c28b4f",
        "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJ4In0.c2ln",
        "QUJD" * 11,
    ):
        assert Answer(400, {"errors": [f"invalid: {secret}!"]}).problem == "invalid: ...!"
    assert Answer(400, {"errors": "x"}).problem == ""
    assert "secret" not in repr(Answer(200, {"data": "secret"}))


def test_forgotten_clients_close_their_connections():
    """Also in a cycle, which is collected in any order: a socket that ends unclosed is a warning, and here an error."""
    with stand_in(GOOD) as server:
        for _ in range(5):
            client, _ = client_of(server)
            client.call("GET", "x")
            client.cycle = [client, client._idle[0].sock]
            del client
        gc.collect()
