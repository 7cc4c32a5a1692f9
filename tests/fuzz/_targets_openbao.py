"""What comes from an OpenBao server, or from whoever stands in its place: answers, audit lines; and stored wraps and addresses."""

from __future__ import annotations

import io
import json
from types import SimpleNamespace

from hermetic.crypto.secret import Secret
from hermetic.keys.provider import RootId
from hermetic.providers import openbao_audit, openbao_wrap
from hermetic.providers.openbao import OpenBaoRoot
from hermetic.providers.openbao_auth import Session
from hermetic.providers.openbao_http import Answer
from hermetic.providers.openbao_server import parse_address
from hermetic.providers.openbao_transit import TransitKey
from hermetic.providers.uses import UseTray
from tests.fuzz._target import ID, Target, compact, may_refuse, same

CIPHERTEXT = "vault:v1:" + "QUJD" * 20
WRAP = openbao_wrap.joined(CIPHERTEXT, bytes(60)).encode()
SERVER = SimpleNamespace(address="https://bao.example.org:8200")


class _Session:
    """Answers what the fuzzer says, whatever is asked."""

    client = SimpleNamespace(server=SERVER)

    def __init__(self, status, body):
        self._answer = Answer(status, body)
        self.uses = UseTray()

    def call(self, method, path, body=None, *, token=None):
        return self._answer

    def token(self):
        return SimpleNamespace(policies=())


def _wrap(raw: bytes) -> None:
    same(raw, openbao_wrap.decode(raw).encode())


def _answers(raw: bytes) -> None:
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError):
        return
    if not isinstance(body, dict):
        return
    for status in (200, 400, 403, 404, 500):
        answers = _Session(status, body)
        root = OpenBaoRoot("openbao:transit/k", SimpleNamespace(root_id=RootId(ID)), TransitKey(answers, "transit", "k"))
        session = Session(answers, SimpleNamespace(method="approle", mount="approle", fields={}, files={}), clock=lambda: 0)
        for call in (
            root.key.check,
            lambda root=root: root.unwrap(WRAP, b""),
            lambda root=root: root.unwrap_many([(WRAP, b"")] * 2),
            lambda root=root: root.rewrap_many([(WRAP, b"")] * 2),
            lambda root=root: root.wrap_many([(Secret(b"x"), b"")] * 2),
            root.status,
            session.token,
            lambda session=session: session._described(Secret(b"x")),
        ):
            with may_refuse():
                call()


def _audit(raw: bytes) -> None:
    wanted = ("transit", "k", "", openbao_audit.REVEALS)
    whole = raw + b"\n"
    for at, raw_line in openbao_audit._lines(io.BytesIO(whole), 0):
        for line in openbao_audit._documents(raw_line, at) if isinstance(raw_line, bytes) else (raw_line,):
            told = (line,) if isinstance(line, openbao_audit.Damage) else openbao_audit._entries(line, wanted)
            for entry in told:
                if not 0 <= entry.start < entry.end <= len(whole):
                    raise AssertionError(entry)


def _address(raw: bytes) -> None:
    scheme, host, port = parse_address("x", raw.decode("utf-8", "surrogateescape"))
    again = parse_address("x", f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}")
    if again != (scheme, host, port) or (scheme == "http" and "." not in host and ":" not in host and host != "localhost"):
        raise AssertionError(raw)


KEY = {
    "type": "aes256-gcm96",
    "derived": True,
    "exportable": False,
    "allow_plaintext_backup": False,
    "convergent_encryption": False,
    "deletion_allowed": False,
    "soft_deleted": False,
    "latest_version": 1,
}
BODIES = [
    {"data": KEY, "request_id": "x"},
    {"data": {"plaintext": "QUJD" * 10 + "QUI=", "ciphertext": CIPHERTEXT}},
    {"data": {"batch_results": [{"plaintext": "QUJD", "ciphertext": CIPHERTEXT}, {"error": "cipher: message authentication failed"}]}},
    {"errors": ["invalid ciphertext: version is too new", "encryption key not found"]},
    {"auth": {"client_token": "s.x", "lease_duration": 3600, "renewable": True, "policies": ["p"]}},
    {"data": {"ttl": 60, "renewable": False, "policies": None}, "wrap_info": None},
]
LINE = {
    "auth": {"display_name": "x", "policy_results": {"allowed": True}},
    "request": {
        "data": {"batch_input": [{"ciphertext": "hmac-sha256:0", "context": "hmac-sha256:1"}]},
        "id": "0",
        "namespace": {"id": "root", "path": ""},
        "path": "transit/decrypt/k",
        "remote_address": "127.0.0.1",
    },
    "response": {"data": {"batch_results": [{"plaintext": "hmac-sha256:2"}, {"error": "x"}]}},
    "time": "2026-11-21T18:12:56.329938027Z",
    "type": "response",
}


def _lines() -> list[bytes]:
    whole = json.dumps({"time": LINE["time"], **LINE}, separators=(",", ":")).encode()
    return [whole + b"\n", whole[:90] + whole + b"\n", whole + b"\n" + whole[:50], b"\n\n"]


TARGETS = {
    "openbao-wrap": Target(_wrap, 20_000, lambda: [WRAP]),
    "openbao-answers": Target(_answers, 1_500, lambda: [compact(body) for body in BODIES], documents=BODIES),
    "openbao-audit": Target(_audit, 20_000, _lines, documents=[LINE]),
    "openbao-address": Target(
        _address, 20_000, lambda: [b"https://bao.example.org:8200", b"http://127.0.0.1", b"http://[::1]:1/", b"http://localhost"]
    ),
}

PARSERS = ("providers/openbao_wrap",)
