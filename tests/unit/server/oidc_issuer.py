"""An issuer of tokens on loopback: discovery, keys and tokens, over real HTTPS; what it answers can be changed.

with issuer(folder) as made:
    made.token(sub="7", aud="hermetic")
"""

from __future__ import annotations

import base64
import contextlib
import datetime as dt
import hashlib
import http.server
import ipaddress
import json
import secrets
import ssl
import threading
import time
from urllib.parse import parse_qs, urlencode

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from joserfc import jwk, jwt


def certificate(folder):
    """A self-signed certificate for loopback; returns (certificate, key) files."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "issuer")])
    now = dt.datetime.now(dt.UTC)
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now - dt.timedelta(hours=1))
    made = builder.not_valid_after(now + dt.timedelta(hours=1)).add_extension(names, critical=False).sign(key, hashes.SHA256())
    folder.mkdir(exist_ok=True)
    chain, private = folder / "issuer.pem", folder / "issuer.key"
    chain.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    return chain, private


class Issuer:
    """What is published. `redirect` and `padding` make it a bad one."""

    def __init__(self, folder):
        self.authority, private = certificate(folder)
        self.key, self.kid = jwk.ECKey.generate_key("P-256"), "one"
        self.asked, self.redirect, self.padding = [], None, 0
        self.person, self.codes, self.back = "ben", {}, {}
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"issuer": self}))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.authority, private)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = f"https://localhost:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def token(self, **claims):
        now = int(time.time())
        said = {"iss": self.url, "aud": "hermetic", "iat": now, "exp": now + 300} | claims
        said = {name: value for name, value in said.items() if value is not None}
        return jwt.encode({"alg": "ES256", "kid": self.kid}, said, self.key)

    def document(self, path):
        if path == "/.well-known/openid-configuration":
            said = {"authorization_endpoint": f"{self.url}/authorize", "token_endpoint": f"{self.url}/token"}
            return {"issuer": self.url, "jwks_uri": f"{self.url}/jwks", **said}
        return {"keys": [self.key.as_dict(private=False) | {"kid": self.kid, "use": "sig"}], "padding": "x" * self.padding}

    def logged_in(self, query):
        """Where the browser of `self.person` is sent back to."""
        asked = {name: values[0] for name, values in parse_qs(query).items()}
        assert (asked["response_type"], asked["code_challenge_method"], asked["scope"]) == ("code", "S256", "openid")
        code = secrets.token_hex(8)
        self.codes[code] = asked
        return f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state'], 'iss': self.url} | self.back)}"

    def redeemed(self, form):
        given = {name: values[0] for name, values in parse_qs(form.decode()).items()}
        asked = self.codes.pop(given["code"])
        challenge = base64.urlsafe_b64encode(hashlib.sha256(given["code_verifier"].encode()).digest()).rstrip(b"=").decode()
        assert challenge == asked["code_challenge"]
        assert (given["redirect_uri"], given["client_id"]) == (asked["redirect_uri"], asked["client_id"])
        return {"id_token": self.token(sub=self.person, nonce=asked["nonce"]), "token_type": "Bearer"}

    def down(self):
        if self._thread.is_alive():
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()


class _Handler(http.server.BaseHTTPRequestHandler):
    issuer: Issuer

    def do_GET(self):
        self.issuer.asked.append(self.path)
        path, _, query = self.path.partition("?")
        there = self.issuer.logged_in(query) if path == "/authorize" else self.issuer.redirect
        if there is not None:
            self.send_response(302)
            self.send_header("Location", there)
            self.end_headers()
            return
        self.answer(self.issuer.document(path))

    def do_POST(self):
        self.answer(self.issuer.redeemed(self.rfile.read(int(self.headers["Content-Length"]))))

    def answer(self, said):
        body = json.dumps(said).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(body)

    def log_message(self, *_):
        """Say nothing."""


@contextlib.contextmanager
def issuer(folder):
    made = Issuer(folder)
    try:
        yield made
    finally:
        made.down()
