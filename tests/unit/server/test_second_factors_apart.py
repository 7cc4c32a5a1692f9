"""Second factors as people have them: custody under its own user, ana under another at her terminal, and `second-factors.md`."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import shlex
import subprocess
import threading
import time

import pyotp
import pytest

from tests.docs.pages import ROOT, first_missing, steps
from tests.unit.server.test_separated import ANA, HERMETIC, KEEPER, Users, users

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="works as three users of the machine, which only root can")
assert users
PAGE = ROOT / "docs" / "how-to" / "second-factors.md"


class Terminal:
    """A person at a terminal: stderr is one, stdin is what they type; `typed` turns what was shown so far into the next line."""

    def __init__(self, users: Users, name, *arguments, typed=()):
        ours, theirs = pty.openpty()
        self.shown = b""
        reader = threading.Thread(target=self._read, args=(ours,))
        command = users.as_user(name, HERMETIC, *arguments)
        self.process = subprocess.Popen(
            command,
            cwd=users.root / name / "project",
            env=users.environment(name),
            umask=0o077,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=theirs,
        )
        os.close(theirs)
        reader.start()
        for wait, line in typed:
            while not wait(self.text) and self.process.poll() is None:
                self.process.poll()
                time.sleep(0.02)
            with contextlib.suppress(BrokenPipeError):
                self.process.stdin.write(line(self.text).encode() + b"\n")
                self.process.stdin.flush()
        self.process.stdin.close()
        self.out = self.process.stdout.read().decode()
        self.process.stdout.close()
        self.code = self.process.wait(60)
        reader.join()
        os.close(ours)

    def _read(self, ours):
        with contextlib.suppress(OSError):
            while part := os.read(ours, 4096):
                self.shown += part

    @property
    def text(self):
        return self.shown.decode(errors="replace").replace("\r", "")


def test_the_page(users):
    """The commands of the page in their order: refused before, allowed after, and the first factor by invitation alone."""
    users.run(KEEPER, "access", "roles", ANA, "--role", "security-engineer", "--reason", "keys are hers")
    users.run(ANA, "status", code={0, 7})
    seal = users.write(KEEPER, "cases.csv", b"case,age\n1,44\n")
    users.run(KEEPER, "seal", seal.name, "--as", "dataset/cases", "--class", "restricted")
    key = json.loads(users.run(ANA, "key", "ls", "--json").stdout)["keys"][0]["kek"]
    asked = [(shlex.split(step.command.replace("sudo -u hermetic ", ""), comments=True), step) for step in steps(PAGE)]
    names = {"ana": ANA, "$key": key}
    (invite, one), (add, two), (refused, three), (confirm, four), (rotate, five), (listed, six) = [
        ([names.get(word, word) for word in words[1:]], step) for words, step in asked
    ]

    def shows(step, text):
        missing = first_missing(tuple(re.sub(r"\bana\b", ANA, line) for line in step.shown), text)
        assert missing is None, (step.command, missing, text)

    uninvited = users.run(ANA, "identity", "factor", "add", "webauthn", "--no-browser", code={2, 3})
    assert b"invitation" in uninvited.stderr
    invited = Terminal(users, KEEPER, *invite)
    assert invited.code == 0, invited.text
    code = re.search(r"[A-Z2-7]{4}(-[A-Z2-7]{4}){3}", invited.text)[0]
    assert "invited" in invited.out
    app = []

    def first(text):
        app.append(pyotp.TOTP(re.search(r"secret  ([A-Z2-7]{32})", text)[1]))
        return app[0].now()

    added = Terminal(users, ANA, *add, typed=[(lambda _text: True, lambda _text: code), (lambda text: "otpauth://" in text, first)])
    assert added.code == 0, added.text
    assert app[0].secret not in added.out
    shows(two, (added.text + added.out).replace("\n\n", "\n"))
    denied = users.run(ANA, *refused, code=5)
    shows(three, denied.stderr.decode())
    next_code = app[0].at(time.time(), counter_offset=1)  # a step ahead is in the window; the first one was used
    confirmed = Terminal(users, ANA, *confirm, typed=[(lambda _text: True, lambda _text: next_code)])
    assert confirmed.code == 0, confirmed.text
    shows(four, confirmed.out)
    users.run(ANA, *rotate)
    shows(six, users.run(ANA, *listed).stdout.decode())
    replayed = Terminal(users, ANA, *confirm, typed=[(lambda _text: True, lambda _text: next_code)])
    assert replayed.code == 3
    assert "used already" in replayed.text
    assert "factor.refused" in users.run(ANA, "log", "ls", "--json", "--limit", "50").stdout.decode()
    assert (one.code, five.code) == (0, 0)
