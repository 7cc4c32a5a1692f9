"""A domain whose root is in OpenBao, by the command line: init, seal, cat, the server gone; a search for secrets."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import subprocess
import sys
from base64 import b64decode, b64encode, urlsafe_b64encode
from pathlib import Path

import pytest

from hermetic.keys import slots
from hermetic.keys.domain_file import DomainFile
from hermetic.providers import openbao_transit

HERMETIC = str(Path(sys.prefix) / "bin" / "hermetic")
DATA = b"id,age\n1,44\n2,53\n"


def hermetic(*words, code=0):
    done = subprocess.run([HERMETIC, *words], capture_output=True, check=False)
    assert done.returncode == code, done.stderr.decode()
    return done


@pytest.fixture
def project(tmp_path, domain_home, monkeypatch):
    folder = tmp_path / "clinic"
    folder.mkdir()
    monkeypatch.chdir(folder)
    (folder / "visits.csv").write_bytes(DATA)
    return folder


def init(desk):
    settings = [word for name, value in desk.settings.items() for word in ("--root-setting", f"{name}={value}")]
    return hermetic("init", "--root", desk.uri, *settings)


def test_a_domain(own_desk, project, domain_home):
    init(own_desk)
    hermetic("seal", "visits.csv", "--as", "dataset/visits", "--class", "restricted")
    assert hermetic("cat", "dataset/visits", "--purpose", "prepare").stdout == DATA
    shown = json.loads(hermetic("key", "providers", "--json").stdout)
    assert own_desk.uri in json.dumps(shown)
    own_desk.server.stop()
    gone = hermetic("cat", "dataset/visits", "--purpose", "prepare", code=6)
    assert gone.stdout == b""
    assert b"cannot be reached: Connection refused" in gone.stderr
    assert b"hint: is it running" in gone.stderr
    own_desk.server.start()
    assert hermetic("cat", "dataset/visits", "--purpose", "prepare").stdout == DATA
    Path(own_desk.settings["token_file"]).write_text("s.revoked")
    denied = hermetic("cat", "dataset/visits", "--purpose", "prepare", code=6)
    assert b"denies this login to decrypt with transit key" in denied.stderr


def test_a_domain_moves_there_and_holds_two_roots(own_desk, project, domain_home):
    hermetic("init", "--root", "local:insecure-file")
    hermetic("seal", "visits.csv", "--as", "dataset/visits", "--class", "restricted")
    settings = [word for name, value in own_desk.settings.items() for word in ("--setting", f"{name}={value}")]
    hermetic("key", "root", "add", own_desk.uri, *settings, "--reason", "to the server")
    own_desk.server.stop()
    assert hermetic("cat", "dataset/visits", "--purpose", "prepare").stdout == DATA, "the other root opens it"
    own_desk.server.start()
    roots = json.loads(hermetic("key", "root", "ls", "--json").stdout)["roots"]
    (local,) = [root["root"] for root in roots if root["provider"].startswith("local:")]
    for step in ("deactivate", "drop"):
        hermetic("key", "root", step, local, "--reason", "moved")
    assert hermetic("cat", "dataset/visits", "--purpose", "prepare").stdout == DATA
    own_desk.server.stop()
    hermetic("cat", "dataset/visits", "--purpose", "prepare", code=6)


def test_a_transit_key_that_was_rotated(own_desk, project, domain_home):
    """Every wrap comes to the newest version, in place; then the server may give up the older ones."""
    init(own_desk)
    hermetic("seal", "visits.csv", "--as", "dataset/visits", "--class", "restricted")
    config = f"transit/keys/{own_desk.key}/config"
    own_desk.do("POST", f"transit/keys/{own_desk.key}/rotate")
    assert under(domain_home) == [1] * 4
    hermetic("cat", "dataset/visits", "--purpose", "prepare")
    (root,) = json.loads(hermetic("key", "root", "ls", "--json").stdout)["roots"]
    done = json.loads(hermetic("key", "root", "rewrap", root["root"][:8], "--reason", "yearly", "--json").stdout)
    assert (done["rewrapped"], done["root"]["detail"].startswith("version 2 at ")) == (4, True)
    assert under(domain_home) == [2] * 4
    own_desk.do("POST", config, {"min_decryption_version": 2})
    assert hermetic("cat", "dataset/visits", "--purpose", "prepare").stdout == DATA
    hermetic("seal", "visits.csv", "--as", "dataset/others", "--class", "internal")
    assert under(domain_home) == [2] * 5
    entries = json.loads(hermetic("log", "ls", "--kind", "root.rewrapped", "--json").stdout)["entries"]
    assert len(entries) == 2


def under(home):
    """The version of the transit key of every wrap in a domain: of KEKs, signing keys, the domain secret."""
    (database,) = home.glob("data/*/custody.db")
    with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as rows:
        wraps = [row[0] for row in rows.execute("SELECT wrapped FROM kek_slot")]
        wraps += [wrap for row in rows.execute("SELECT wrapped FROM secret_key") for wrap in slots.decode(row[0]).values()]
    wraps += [entry.wrapped for entry in DomainFile.decode((database.parent / "domain.json").read_bytes()).roots]
    return [int.from_bytes(wrap[4:8], "big") for wrap in wraps]


def test_an_init_that_fails_leaves_no_domain(desk, project, domain_home):
    desk.settings["token_file"] = desk.give("other", desk.server.new_token("default"))
    settings = [word for name, value in desk.settings.items() for word in ("--root-setting", f"{name}={value}")]
    done = hermetic("init", "--root", desk.uri, *settings, code=6)
    assert b"its policy has to say" in done.stderr
    assert sorted(path.name for path in project.iterdir()) == ["visits.csv"]


def test_neither_token_nor_keys_are_anywhere(desk, project, domain_home, monkeypatch):
    """Sealed and opened in this process, whose environment and arguments are searched as well as every file that was written."""
    import hermetic as library

    told = []  # what went to the server as plaintext, and came back
    real = openbao_transit.TransitKey.each

    def listening(self, operation, items, wanted):
        results = real(self, operation, items, wanted)
        told.extend(item["plaintext"] for item in items if "plaintext" in item)
        told.extend(result for result in results if wanted == "plaintext" and isinstance(result, str))
        return results

    init(desk)
    monkeypatch.setattr(openbao_transit.TransitKey, "each", listening)
    with library.connect(project) as h:
        h.seal("visits.csv", name="dataset/visits", data_class="restricted")
        with h.open("dataset/visits", purpose="prepare") as opened:
            assert opened.read() == DATA
    log = hermetic("log", "ls", "--json").stdout
    token = Path(desk.settings["token_file"]).read_text().encode()
    assert told, "no key went over the wire: the search would be void"
    needles = [token, b64encode(token)]
    for text in told:
        needles += spellings(text)
    searched = {
        "environment": Path("/proc/self/environ").read_bytes() + repr(os.environ).encode(),
        "arguments": Path("/proc/self/cmdline").read_bytes(),
        "log": log,
        **{str(path): path.read_bytes() for path in files(domain_home, project)},
    }
    assert any(name.endswith("custody.db") for name in searched)
    assert [(name, needle[:8]) for name, content in searched.items() for needle in needles if needle in content] == []
    audit = desk.server.audit.read_bytes()
    assert desk.key.encode() in audit, "the server did record it"
    assert not any(needle in audit for needle in needles)


def spellings(text):
    raw = b64decode(text)
    return [text.encode(), raw, raw.hex().encode(), urlsafe_b64encode(raw).rstrip(b"=")]


def files(*folders):
    return [path for folder in folders for path in folder.rglob("*") if path.is_file()]
