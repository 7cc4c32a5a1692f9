"""Issue 4, done when 7: every key that a domain's life makes is looked for in everything that life leaves behind.

Each `Secret` that is made is noted: roots, derived keys, KEKs, data keys, seeds of signing keys, of approvers and of recovery roots.
Then they are searched for, in every spelling, in the log and its openings, the database and the whole home, what is told to callers,
errors and tracebacks with local variables, `repr` of what holds keys, Python's own log, and in arguments, environment and core limits
of the command and of what it starts. `attacks/look_for_keys.py` and `attacks/make_secrets_talk.py` do it for reading and sealing.
"""

from __future__ import annotations

import base64
import io
import logging
import os
import pwd
import subprocess
import sys
import traceback

import pytest

from hermetic.crypto.hpke import PrivateKey
from hermetic.crypto.kdf import Argon2Parameters
from hermetic.crypto.secret import Secret
from hermetic.domain import approving, root_moves
from hermetic.errors import HermeticError
from hermetic.formats.messages import approvals, destruction, keys, packages, policy, roots
from hermetic.formats.messages.catalogue import ShowVersion
from hermetic.formats.messages.log import ReadLog
from tests import world as w

LEAST = 16  # bytes of what counts as a key
PASSPHRASE = b"five words that nobody wrote down"
WRONG = b"another passphrase, which is a secret too"  # out of sight of frames that are printed
CHEAP = Argon2Parameters(64 * 1024, 2, 1)
SNOOP = """
import os, sys
pid = "self"
for _ in range(2):
    for name in ("cmdline", "environ", "limits"):
        sys.stdout.buffer.write(open(f"/proc/{pid}/{name}", "rb").read() + b"\\n")
    pid = next(line.split()[1] for line in open(f"/proc/{pid}/status") if line.startswith("PPid:"))
"""


def spellings(raw):
    yield from (raw, raw.hex().encode(), raw.hex().upper().encode(), repr(raw)[2:-1].encode(), str(list(raw))[1:-1].encode())
    for encode in (base64.b64encode, base64.urlsafe_b64encode, base64.b32encode, base64.b85encode):
        yield encode(raw).rstrip(b"=")


class Planted:
    """The keys that were made, and everything that was said meanwhile."""

    def __init__(self):
        self.keys, self.said = {}, io.StringIO()

    def note(self, data):
        raw = bytes(data)
        if len(raw) >= LEAST:
            self.keys.setdefault(raw, f"key {len(self.keys)} of {len(raw)} bytes")

    def found_in(self, data):
        return [name for raw, name in self.keys.items() if any(text in data for text in spellings(raw))]

    def tell(self, thing):
        self.said.write(f"{thing!r}\n{thing!s}\n")

    def asks(self, port, *requests):
        for request in requests:
            self.tell(port.ask(request))

    def fails(self, attempt):
        """What an error reporter would show of a refusal: message, hint, and every frame with its local variables."""
        with pytest.raises(HermeticError) as caught:
            attempt()
        self.tell(caught.value)
        self.said.write(str(caught.value.hint))
        frames = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
        self.said.write("".join(frames.format()))


@pytest.fixture
def planted(monkeypatch):
    made, found = Secret.__init__, Planted()

    def noting(self, data):
        made(self, data)
        found.note(data)

    monkeypatch.setattr(Secret, "__init__", noting)
    handler = logging.StreamHandler(found.said)
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield found
    root.removeHandler(handler)
    root.setLevel(level)


def life(world, planted, tmp_path):
    """A domain's keys from beginning to end, done and refused."""
    connection = world.connect()
    ask = connection.ask
    w.seal(connection)
    kek, old = ask(keys.ListKeys()).keys[0].kek, ask(roots.ListRoots()).roots[0].root
    ref = "dataset/patients@1"
    version = ask(ShowVersion(ref)).version
    lease = w.open_(connection).released[0].lease
    planted.tell(lease)
    planted.asks(connection, keys.RotateKey(kek, "x"), keys.RewrapKey(kek), keys.ShowKey(kek))
    planted.asks(connection, keys.ChangeKeyState(kek, "suspend", "x"))
    planted.fails(lambda: w.open_(connection))
    planted.asks(connection, keys.ChangeKeyState(kek, "resume", "x"))
    planted.fails(lambda: ask(roots.DropRoot(old, "x")))
    planted.tell(root_moves.add_root(connection, "local:insecure-file", reason="x"))
    planted.asks(connection, roots.SetRootState(old, "deactivate", "x"), roots.DropRoot(old, "x"), roots.CheckRoots())
    w.change_cedar(connection, "more.cedar", '@id("may-share")\npermit (principal, action == Action::"share", resource);\n')
    approver(world, planted, connection, tmp_path)
    recipient = packages.RecipientKey("ana", PrivateKey.generate().public)
    draft, _ = w.seal(connection, "dataset/open", w.DataClass.INTERNAL)
    planted.asks(connection, packages.ShareVersion("dataset/open@1", draft.version, (recipient,), 30, "x"))
    planted.asks(connection, destruction.ShredVersions((ref,), (version,), "x"))
    planted.fails(lambda: ask(packages.ShareVersion(ref, version, (recipient,), 30, "x")))
    planted.asks(connection, policy.SetRoles("nobody", ("auditor",), "x"))
    stranger = world.port(uid=pwd.getpwnam("nobody").pw_uid)
    planted.fails(lambda: stranger.ask(keys.RotateKey(kek, "x")))
    planted.asks(connection, keys.ChangeKeyState(kek, "revoke", "stolen"), ReadLog(limit=2000))
    return connection


def approver(world, planted, connection, tmp_path):
    """An approver's key: made, opened with another passphrase, enrolled, used."""
    file = tmp_path / "bob.key"
    planted.tell(approving.make_key(file, Secret(PASSPHRASE), CHEAP))
    public = file.with_name("bob.key.pub").read_bytes()
    planted.asks(connection, approvals.EnrolApprover("bob", public, "x"))
    loose, strict = (
        "change-roots: {approvals: 2, approvals_in: {development: 0",
        "change-roots: {approvals: 2, approvals_in: {development: 1",
    )
    w.change_policy(world, connection, lambda text: text.replace(loose, strict))
    planted.fails(lambda: connection.ask(roots.AddRoot("local:insecure-file", "x")))
    row = connection.ask(approvals.ListRequests()).requests[0]
    shown = approving.shown(row)
    given = {"verdict": "approve", "reason": "x", "now_ms": row.created_ms}
    planted.fails(lambda: approving.statement(shown, file, Secret(WRONG), **given))
    raw = approving.statement(shown, file, Secret(PASSPHRASE), **given)
    planted.asks(connection, approvals.AddStatement(raw))
    planted.said.write(raw.decode())


def test_no_key_is_found_in_what_a_domain_leaves_behind(world, planted, tmp_path, capfd):
    connection = life(world, planted, tmp_path)
    custodian = connection.port._custodian
    planted.keys.pop(bytes(custodian.keys.check), None)  # public: domain.json and pins name it
    assert len(planted.keys) > 40
    assert planted.found_in(b"".join(planted.keys))  # the search finds what is there
    for thing in (connection, connection.port, custodian, custodian.keys, custodian.row_keys, custodian.signer, custodian.handles):
        planted.tell(thing)
    out, err = capfd.readouterr()
    leaves = "\n".join(f"{facts} {opened}" for _, facts, opened in w.leaves(connection))
    connection.close()
    assert planted.found_in(planted.said.getvalue().encode()) == []
    assert planted.found_in((out + err + leaves).encode()) == []
    files = [path for path in (*world.root.rglob("*"), tmp_path / "bob.key") if path.is_file() and not path.name.startswith("root-")]
    assert len(files) > 5
    assert {path.name: names for path in files if (names := planted.found_in(path.read_bytes()))} == {}


def test_no_key_is_in_arguments_environment_or_a_core_of_the_command(world, planted, tmp_path):
    """What the command starts looks at itself and at the command: arguments, environment, and that neither leaves a core file."""
    connection = world.connect()
    w.seal(connection, "dataset/open", w.DataClass.INTERNAL)
    w.open_(connection, "dataset/open")
    connection.close()
    environment = {**os.environ, "HERMETIC_HOME": str(world.root / "home")}
    command = "from hermetic.cli.main import main; main()"
    given = ("run", "snoop", "--purpose", "train", "--", sys.executable, "-c", SNOOP)
    done = subprocess.run(
        [sys.executable, "-c", command, *given], cwd=world.project, env=environment, capture_output=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr.decode()
    cores = [line.split()[4] for line in done.stdout.decode(errors="replace").splitlines() if line.startswith("Max core file size")]
    assert cores == ["0", "0"]
    assert b"hermetic.cli.main" in done.stdout
    assert planted.keys
    assert planted.found_in(done.stdout + done.stderr) == []
