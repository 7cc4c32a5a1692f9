"""`key shares`, `key escrow`, `key recover` as people give them: on a terminal, with files, and wrong."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from shamir_mnemonic.wordlist import WORDLIST

from hermetic.cli import key_shares, passphrase
from hermetic.crypto.hpke import PrivateKey
from hermetic.errors import PolicyDenied, UsageError

PASSPHRASE = "a passphrase of many words"
PROGRAM = [sys.executable, "-c", "from hermetic.cli.main import main; main()"]


@pytest.fixture
def project(hermetic, domain_home, tmp_path, monkeypatch):
    folder, backup = tmp_path / "project", tmp_path / "backup"
    folder.mkdir(mode=0o700)
    backup.mkdir(mode=0o700)
    for name in ("passphrase", "other"):
        (tmp_path / name).write_text(f"{PASSPHRASE} {name}")
        (tmp_path / name).chmod(0o600)
    monkeypatch.chdir(folder)
    monkeypatch.setattr("hermetic.domain.backing.DELAY_S", 3600)
    assert hermetic("init", "--root", "local:insecure-file", "--backup", backup).code == 0
    (folder / "cases.csv").write_bytes(b"case,age\n1,44\n")
    assert hermetic("seal", "cases.csv", "--as", "dataset/cases", "--class", "restricted").code == 0
    return folder


@pytest.fixture
def shares(project, hermetic, tmp_path):
    """Five share files, any three of which open the backup."""
    done = hermetic("key", "shares", "create", "--name", "the board", "--to-folder", tmp_path / "shares", "--json")
    assert done.code == 0, done.err
    assert (done.json["root"]["state"], done.json["opens_with"]) == ("active", "3 of 5 shares of the board")
    return done.json["files"]


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A machine that has nothing."""
    home = tmp_path / "elsewhere"
    home.mkdir(mode=0o700)
    monkeypatch.setenv("HERMETIC_HOME", str(home))
    return home


def given(files):
    return [word for path in files for word in ("--share-file", path)]


def test_three_files_of_five_open_everything_elsewhere(shares, hermetic, elsewhere, tmp_path):
    place = ("key", "recover", "--from", tmp_path / "backup", "--root", "local:insecure-file")
    done = hermetic(*place, *given(shares[:2]))
    assert (done.code, done.err.splitlines()[0]) == (2, "hermetic: error: 2 of the 3 shares that it takes are here")
    assert not list(elsewhere.glob("data/*/domain.json"))
    done = hermetic(*place, *given([shares[4], shares[1], shares[0]]), "--json")
    assert (done.code, done.json["how"], done.json["generation"]) == (0, "shares", 2)
    assert _cat() == b"case,age\n1,44\n"
    assert [row["name"] for row in hermetic("key", "shares", "ls", "--json").json["recovery_roots"]] == ["the board"]


def test_a_new_root_under_a_passphrase_is_asked_for_before_anything(shares, hermetic, elsewhere, tmp_path):
    done = hermetic("key", "recover", "--from", tmp_path / "backup", *given(shares[:3]))
    assert (done.code, "the new root key needs a passphrase" in done.err) == (2, True)
    done = hermetic("key", "recover", "--from", tmp_path / "backup", *given(shares[:3]), "--passphrase-file", tmp_path / "passphrase")
    assert done.code == 0, done.err
    assert json.loads(next(elsewhere.glob("data/*/root-*.json")).read_bytes())
    hermetic("lock")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda words: [*words[:6], _other(words[6]), *words[7:]],
            "is mistyped: its checksum does not fit, and word 7 is the wrong one",
        ),
        (lambda words: [*words[:6], "nonsense", *words[7:]], "is mistyped: word 7 is not in the list of SLIP-39"),
        (lambda words: words[:-1], "has 32 words, and a share has 33"),
    ],
    ids=["checksum", "no word", "a word missing"],
)
def test_a_mistyped_share_says_where(shares, hermetic, tmp_path, change, message):
    wrong = tmp_path / "wrong"
    wrong.write_text(" ".join(change(_words(shares[0]))))
    wrong.chmod(0o600)
    done = hermetic("key", "recover", "--check", *given([wrong, *shares[1:3]]))
    assert (done.code, done.err.splitlines()[0]) == (2, f"hermetic: error: {wrong} {message}")


def test_shares_that_do_not_go_together(shares, hermetic, tmp_path):
    assert hermetic("key", "shares", "create", "--to-folder", tmp_path / "more").code == 0
    other = tmp_path / "more" / "share-1-of-5.txt"
    done = hermetic("key", "recover", "--check", *given([*shares[1:3], other]))
    assert (done.code, f"{other} is of another set than" in done.err) == (2, True)
    done = hermetic("key", "recover", "--check", *given([shares[0], shares[0], shares[1]]))
    assert (done.code, "are the same share" in done.err) == (1, True)
    done = hermetic("key", "recover", "--check", *given(shares), "--escrow-key", other)
    assert (done.code, "not with both" in done.err) == (2, True)
    done = hermetic("key", "recover", "--check")
    assert (done.code, "no terminal to ask on" in done.err) == (2, True)


def test_a_trial_leaves_a_record_and_nothing_else(shares, hermetic, tmp_path):
    before = hermetic("backup", "status", "--json").json
    assert before["recovery_roots"] == {"shares": 1, "escrow": 0}
    assert [finding["code"] for finding in before["findings"]] == ["backup-not-checked"]
    done = hermetic("key", "recover", "--check", *given(shares[:3]), "--json")
    assert (done.code, done.json["ref"]) == (0, "dataset/cases@1")
    assert hermetic("backup", "status", "--json").json["findings"] == []


def test_replaced_shares(shares, hermetic, tmp_path):
    old = hermetic("key", "shares", "ls", "--json").json["recovery_roots"][0]["root"]
    more = tmp_path / "more"
    done = hermetic(
        "key", "shares", "create", "-n", 3, "-m", 2, "--to-folder", more, "--replace", old[:6], "--reason", "left", "--json"
    )
    assert (done.code, done.json["replaced"]["root"], done.json["replaced"]["state"]) == (0, old, "destroyed")
    done = hermetic("key", "recover", "--check", *given(shares[:3]))
    assert (done.code, "was replaced" in done.err, "takes 2 of 3 shares" in done.err) == (4, True, True)
    assert hermetic("key", "recover", "--check", *given([more / "share-1-of-3.txt", more / "share-3-of-3.txt"])).code == 0


def test_escrow(project, hermetic, tmp_path, monkeypatch):
    key = tmp_path / "ada"
    made = hermetic("key", "escrow", "key", "new", key, "--name", "Ada", "--passphrase-file", tmp_path / "other", "--json")
    assert made.code == 0, made.err
    done = hermetic("key", "escrow", "--to", made.json["public"], "--reason", "the auditors")
    assert done.code == 0, done.err
    assert made.json["fingerprint"] in done.err
    (known,) = re.findall(r"fingerprint of this domain, which Ada keeps with the key: ([0-9a-f ]{35})\n", done.err)
    monkeypatch.setenv("HERMETIC_HOME", str(tmp_path / "elsewhere"))
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    place = ("key", "recover", "--from", tmp_path / "backup", "--root", "local:insecure-file", "--escrow-key", key)
    done = hermetic(*place, "--escrow-passphrase-file", tmp_path / "passphrase")
    assert (done.code, "the passphrase does not open this key" in done.err) == (4, True)
    done = hermetic(*place, "--escrow-passphrase-file", tmp_path / "other")
    assert (done.code, "nothing vouches that this copy is of your domain" in done.err) == (4, True)
    assert "--domain-fingerprint FINGERPRINT" in done.err
    wrong = known.replace(known[0], "0" if known[0] != "0" else "1")
    done = hermetic(*place, "--escrow-passphrase-file", tmp_path / "other", "--domain-fingerprint", wrong, "--unverified")
    assert (done.code, "not of the domain with this fingerprint" in done.err) == (4, True)
    done = hermetic(*place, "--escrow-passphrase-file", tmp_path / "other", "--domain-fingerprint", known.upper(), "--json")
    assert (done.code, done.json["vouched"]) == (0, "fingerprint"), done.err
    assert _cat() == b"case,age\n1,44\n"


def test_what_makes_no_sense(project, hermetic, tmp_path):
    for arguments, message in (
        (("shares", "create"), "shares are shown on a terminal"),
        (("shares", "create", "-n", 3, "-m", 4, "--to-folder", tmp_path / "s"), "4 of 3 shares make no sense"),
        (("shares", "create", "--to-folder", project / "s"), "lies in the project"),
        (("shares", "create", "--to-folder", tmp_path / "s", "--replace", "aaaaaa"), "no recovery root 'aaaaaa'"),
        (("escrow",), "say whose public key"),
        (("escrow", "--to", tmp_path / "none"), "does not exist"),
        (("escrow", "--to", project / "cases.csv"), "not canonical JSON"),
        (("recover",), "name the backup place"),
        (("recover", "--from", tmp_path / "backup", "--root", "local:insecure-file"), "has custody of this domain already"),
    ):
        done = hermetic("key", *arguments)
        assert done.code in {1, 2, 4}, (arguments, done)
        assert message in done.err, (arguments, done.err)
    assert hermetic("key", "shares", "ls", "--json").json["recovery_roots"] == []
    assert not (tmp_path / "s").exists()


def test_shares_wait_for_what_the_policy_asks_for(project, hermetic, tmp_path, domain_home):
    """They were written down and verified: whoever approves later, or allows it, must not make the holders begin again."""
    policy = project / "hermetic.yaml"
    before = policy.read_text()
    policy.write_text(re.sub(r"administer-keys: {.*}", "administer-keys: {approvals: 1}", before))
    assert policy.read_text() != before
    assert hermetic("policy", "apply").code == 0
    refused = hermetic("key", "shares", "create", "-n", 3, "-m", 2, "--to-folder", tmp_path / "shares", "--reason", "board")
    assert refused.code == 5, refused
    assert "the shares are good, and wait: hermetic key shares create --go-on" in refused.err
    assert list(domain_home.glob("data/*/recovery-root.waiting"))
    policy.write_text(before)
    assert hermetic("policy", "apply").code == 0
    done = hermetic("key", "shares", "create", "--go-on", "--reason", "board")
    assert done.code == 0, done.err
    assert not list(domain_home.glob("data/*/recovery-root.waiting"))
    files = [tmp_path / "shares" / f"share-{number}-of-3.txt" for number in (1, 3)]
    assert hermetic("key", "recover", "--check", *given(files)).code == 0
    again = hermetic("key", "shares", "create", "--go-on")
    assert (again.code, "no recovery shares wait" in again.err) == (1, True)


def test_no_passphrase_stays_after_a_refusal(project, hermetic, tmp_path, monkeypatch):
    """What a traceback may keep alive is wiped: the recovery passphrase, that of a key pair, a private key that opened nothing."""
    given, opened = [], []

    def reading(path):
        given.append(passphrase.from_file(path))
        return given[-1]

    monkeypatch.setattr("hermetic.cli.backup.from_file", reading)
    monkeypatch.setattr("hermetic.domain.recovery_wrap.export_root", _refuse)
    assert hermetic("backup", "now", "--recovery-passphrase-file", tmp_path / "other").code == 3
    monkeypatch.setattr("hermetic.domain.escrow.recipient_key.create", _refuse)
    monkeypatch.setattr(
        "hermetic.cli.passphrase.from_file", lambda path, real=passphrase.from_file: given.append(real(path)) or given[-1]
    )
    new = ("key", "escrow", "key", "new", tmp_path / "ada", "--name", "Ada", "--passphrase-file", tmp_path / "other")
    assert hermetic(*new).code == 3
    monkeypatch.setattr("hermetic.domain.escrow.open_key", lambda *_: opened.append(PrivateKey.generate()) or opened[-1])
    home = tmp_path / "elsewhere"
    home.mkdir(mode=0o700)
    monkeypatch.setenv("HERMETIC_HOME", str(home))
    place = ("--from", tmp_path / "backup", "--root", "local:insecure-file", "--escrow-key", tmp_path / "ada")
    assert hermetic("key", "recover", *place, "--escrow-passphrase-file", tmp_path / "other").code == 1
    assert [len(secret) for secret in given] == [0, 0, 0]
    with pytest.raises(UsageError, match="wiped"):
        opened[0].seed()


def _refuse(*_given, **_named):
    raise PolicyDenied("refused for the test")


# on a terminal


class Terminal:
    """A child process on a terminal of its own, with which the test talks."""

    def __init__(self, *arguments, **environment):
        self.ours, theirs = os.openpty()
        self.child = subprocess.Popen(
            [*PROGRAM, *map(str, arguments)], stdin=theirs, stdout=subprocess.PIPE, stderr=theirs,
            start_new_session=True, env={**os.environ, "TERM": "xterm", **environment},
        )  # fmt: skip
        os.close(theirs)
        self.said = ""

    def until(self, pattern):
        """Read until the pattern is there; return its match, and forget what came before."""
        while not (found := re.search(pattern, self.said, re.DOTALL)):
            self.said += os.read(self.ours, 65_536).decode()
        self.said = self.said[found.end() :]
        return found

    def type(self, text):
        os.write(self.ours, text.encode() + b"\n")

    def end(self):
        out, _ = self.child.communicate(timeout=120)
        try:
            while piece := os.read(self.ours, 65_536):
                self.said += piece.decode()
        except OSError:  # how Linux says that nobody holds the other end any more
            pass
        finally:
            os.close(self.ours)
        return self.child.returncode, out.decode()


def _shown(terminal, count):
    """Read the shares off the screen, as a person does."""
    shares = []
    for number in range(1, count + 1):
        text = terminal.until(rf"Share {number} of {count};.*?paper\.(.*?)Enter when")[1]
        numbered = dict(re.findall(r"(\d+) ([a-z]+)", text))
        shares.append([numbered[str(place)] for place in range(1, 34)])
        terminal.type("")
    return shares


def _asked(terminal, number):
    found = terminal.until(rf"From share {number}: words (\d+), (\d+) and (\d+)[^:]*: ")
    return [int(place) for place in found.groups()]


def test_shares_are_shown_once_typed_back_and_typed_in(project, hermetic, tmp_path):
    terminal = Terminal("key", "shares", "create", "-n", 3, "-m", 2, "--json")
    shares = _shown(terminal, 3)
    places = _asked(terminal, 1)
    terminal.type("wrong words here")
    terminal.until("That is not what the share says")
    assert _asked(terminal, 1) == places
    terminal.type(" ".join(shares[0][place - 1] for place in places))
    _asked(terminal, 2)
    terminal.type(" ".join(shares[1]).upper())
    places = _asked(terminal, 3)
    terminal.type(" ".join(shares[2][place - 1] for place in places))
    code, out = terminal.end()
    assert code == 0, terminal.said
    assert json.loads(out)["files"] == []
    assert shares[0][4:10] != shares[1][4:10]
    assert not any(" ".join(share[place : place + 2]) in out for share in shares for place in range(32)), "no two words in a row"
    terminal = Terminal("key", "recover", "--check")
    terminal.until(r"Share 1 \(33 words\): ")
    terminal.type(" ".join([*shares[2][:9], _other(shares[2][9]), *shares[2][10:]]))
    terminal.until("share 1 is mistyped: its checksum does not fit, and word 10 is the wrong one")
    terminal.until(r"Share 1 \(33 words\): ")
    terminal.type(" ".join(shares[2]))
    terminal.until(r"Share 2 \(33 words, 2 of the set are needed\): ")
    terminal.type(" ".join(shares[2]))
    terminal.until("share 1 and share 2 are the same share")
    terminal.type(" ".join(shares[0]))
    code, out = terminal.end()
    assert code == 0, terminal.said
    assert "dataset/cases@1" in out


def test_nothing_becomes_active_when_a_share_is_not_typed_back(project, hermetic):
    terminal = Terminal("key", "shares", "create", "-n", 2, "-m", 2)
    _shown(terminal, 2)
    for _ in range(3):
        _asked(terminal, 1)
        terminal.type("no")
    code, _ = terminal.end()
    assert code == 2
    assert "share 1 was not typed back as it is" in terminal.said
    assert "\x1b[?1049l" in terminal.said  # the screen of its own is left
    assert hermetic("key", "shares", "ls", "--json").json["recovery_roots"] == []
    assert [row["state"] for row in hermetic("key", "root", "ls", "--json").json["roots"]] == ["active"]


def test_words_that_are_asked_for_say_something():
    assert (key_shares._FIRST, key_shares._LAST) == (5, 30)  # behind mark, number and threshold; before the checksum


def _cat():
    """What the newest version holds, through a pipe."""
    done = subprocess.run([*PROGRAM, "cat", "dataset/cases", "--purpose", "recover"], capture_output=True, check=True)
    return done.stdout


def _words(path):
    return Path(path).read_text().split()


def _other(word):
    return WORDLIST[0] if word != WORDLIST[0] else WORDLIST[1]
