"""`log reconcile` against the audit file of a real server: honest work gives no finding, what others do is found and named.

One story is told on one server; each test then does something to it, or to a copy of its audit file.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import hermetic
from hermetic.domain.connect import connect
from hermetic.formats.messages.log import ReadLog
from hermetic.keys import domain_file
from hermetic.providers import openbao_wrap
from tests.interop.openbao.conftest import seat

HERMETIC = str(Path(sys.prefix) / "bin" / "hermetic")
DATA = b"id,age\n1,44\n2,53\n"


def command(*words, code=0):
    done = subprocess.run([HERMETIC, *words], capture_output=True, check=False, timeout=120)
    assert done.returncode == code, (done.stdout + done.stderr).decode()
    return done.stdout.decode()


def settings(desk, name="--setting"):
    return [word for key, value in desk.settings.items() for word in (name, f"{key}={value}")]


@pytest.fixture
def clinic(tmp_path, domain_home, monkeypatch):
    """A project whose root is in the server; returns a function that makes it."""
    folder = tmp_path / "clinic"
    folder.mkdir()
    monkeypatch.chdir(folder)
    (folder / "visits.csv").write_bytes(DATA)
    return folder


def begin(desk):
    command("init", "--root", desk.uri, *settings(desk, "--root-setting"))
    command("seal", "visits.csv", "--as", "dataset/visits", "--class", "restricted")


def compare(desk, *more, code=0, audit=None):
    files = [
        word for path in ([audit or desk.server.audit] if not isinstance(audit, list) else audit) for word in ("--audit", str(path))
    ]
    return json.loads(command("log", "reconcile", *files, "--json", *more, code=code))


def codes(found):
    return sorted(item["code"] for item in found["findings"])


def opens(desk, home):
    """What lies in the home of the domain: the domain secret, as the server knows it."""
    (file,) = home.glob("data/*/domain.json")
    (root,) = [one for one in domain_file.DomainFile.decode(file.read_bytes()).roots if one.provider == desk.uri]
    with connect() as connection:
        domain = connection.project.domain
    from hermetic.keys import slots

    context = slots.domain_secret_context(domain, root.root_id)
    return {"ciphertext": openbao_wrap.decode(root.wrapped).ciphertext, "context": openbao_wrap.derivation(root.root_id, context)}


def own_token(desk):
    return Path(desk.settings["token_file"]).read_text()


def test_honest_work_gives_no_finding(desk, clinic):
    begin(desk)
    assert command("cat", "dataset/visits", "--purpose", "prepare").encode() == DATA
    with hermetic.connect(clinic) as h:
        h.seal("visits.csv", name="dataset/other", data_class="internal")
        with h.open("dataset/visits", purpose="prepare") as opened:
            assert opened.read() == DATA
    keys = json.loads(command("key", "ls", "--json"))["keys"]
    command("key", "rotate", keys[0]["kek"][:8], "--reason", "yearly")
    command("key", "rewrap", keys[0]["kek"][:8])
    command("key", "providers", "--check")
    command("key", "root", "add", "local:insecure-file", "--reason", "second")
    found = compare(desk)
    assert codes(found) == []
    assert found["matched"] == found["recorded"] > 20
    assert found["not_compared"]["recorded_before_the_log"] == found["not_compared"]["logged_before_the_record"] == 0
    command("log", "verify", code=7)  # nobody anchors it
    (mine,) = [row["root"] for row in json.loads(command("key", "root", "ls", "--json"))["roots"] if row["provider"] == desk.uri]
    for step in ("deactivate", "drop"):
        command("key", "root", step, mine, "--reason", "moved")
    found = compare(desk, "--root", mine)
    assert codes(found) == []
    assert found["not_compared"]["by_this_command"] == 0, "nothing asks the server any more"
    assert "local:insecure-file" in command("log", "reconcile")


def test_a_local_root_adds_nothing_to_the_log(clinic):
    command("init", "--root", "local:insecure-file")
    command("seal", "visits.csv", "--as", "dataset/visits", "--class", "restricted")
    with connect() as connection:
        assert connection.ask(ReadLog(kind="root.used")).rows == ()
    assert "no root of this domain has a record" in command_error("log", "reconcile", "--audit", "visits.csv", code=2)


def command_error(*words, code):
    done = subprocess.run([HERMETIC, *words], capture_output=True, check=False, timeout=120)
    assert done.returncode == code, (done.stdout + done.stderr).decode()
    return done.stderr.decode()


def test_an_unwrap_behind_our_back_is_found(desk, clinic, domain_home):
    """With our own token, by plain HTTP; by another token; as a data key; answered into a wrapping token."""
    begin(desk)
    asked = opens(desk, domain_home)
    name = f"transit/decrypt/{desk.key}"
    status, answer = desk.server.ask("POST", name, asked, token=own_token(desk))
    assert status == 200
    assert base64.b64decode(answer["data"]["plaintext"])
    found = compare(desk, code=7)
    (one,) = found["findings"]
    assert (one["code"], one["severity"], one["subject"]) == ("use-unrecorded", "high", "unwrap")
    assert answer["request_id"] in one["message"]
    assert " unwrap by token from 127.0.0.1" in one["message"]
    assert one["message"][:10].count("-") == 2, "its time"
    other = desk.server.new_token(desk.key, display_name="mallory")
    for path in (name, f"transit/datakey/plaintext/{desk.key}", f"transit/rewrap/{desk.key}"):
        desk.server.ask("POST", path, asked, token=other)
    again = compare(desk, code=7)
    assert codes(again) == ["use-refused", "use-unexplained", "use-unexplained", "use-unrecorded"], "no policy gives data keys"
    assert [one["subject"] for one in again["findings"] if one["code"] == "use-unexplained"] == ["unwrap", "rewrap"]
    assert all("token-mallory" in one["message"] for one in again["findings"] if one["code"] == "use-unexplained")
    shown = command("log", "reconcile", "--audit", str(desk.server.audit), code=7)
    assert "high    use-unexplained  unwrap" in shown


def test_an_answer_that_is_held_for_somebody_counts(desk, clinic, domain_home):
    begin(desk)
    import http.client
    import ssl

    context = ssl.create_default_context(cafile=desk.server.ca)
    connection = http.client.HTTPSConnection("127.0.0.1", desk.server.port, context=context)
    headers = {"X-Vault-Token": own_token(desk), "X-Vault-Wrap-TTL": "60"}
    connection.request("POST", f"/v1/transit/decrypt/{desk.key}", json.dumps(opens(desk, domain_home)), headers)
    answer = json.loads(connection.getresponse().read())
    connection.close()
    assert answer["wrap_info"]["token"]
    assert answer["data"] is None
    assert codes(compare(desk, code=7)) == ["use-unrecorded"]


def test_the_key_taken_out_is_found(own_desk, clinic):
    desk = own_desk
    begin(desk)
    desk.do("POST", f"transit/keys/{desk.key}/config", {"exportable": True, "allow_plaintext_backup": True})
    desk.do("GET", f"transit/export/encryption-key/{desk.key}/1")
    desk.do("GET", f"transit/backup/{desk.key}")
    found = compare(desk, code=7)
    assert codes(found) == ["root-exported", "root-exported", "root-key-changed"]
    assert {one["severity"] for one in found["findings"]} == {"high"}
    assert "config exportable allow_plaintext_backup" in json.dumps(found)


def test_logins_by_the_same_role(own_desk, clinic):
    """Our logins are on our log too; another one with the same role is told."""
    desk, bao = own_desk, own_desk.server
    bao.do("POST", "sys/auth/approle", {"type": "approle"})
    bao.do("POST", "auth/approle/role/trainer", {"token_policies": desk.key})
    role = bao.do("GET", "auth/approle/role/trainer/role-id")["data"]["role_id"]
    secret = bao.do("POST", "auth/approle/role/trainer/secret-id", {})["data"]["secret_id"]
    del desk.settings["token_file"]
    desk.settings.update(auth="approle", role_id=role, secret_id_file=desk.give("secret-id", secret))
    begin(desk)
    assert codes(compare(desk)) == []
    token = bao.ask("POST", "auth/approle/login", {"role_id": role, "secret_id": secret}, token="")[1]["auth"]["client_token"]
    assert codes(compare(desk, code=7)) == ["login-unexplained"]
    bao.ask("POST", f"transit/encrypt/{desk.key}", {"plaintext": "AAAA", "context": "AAAAAAAAAAAAAAAAAAAAAA=="}, token=token)
    found = compare(desk, code=7)
    assert codes(found) == ["login-unexplained", "use-unrecorded"]
    assert "as the identity of recorded uses, after another login" in json.dumps(found)


def test_files_that_are_not_what_they_were(desk, clinic, tmp_path):
    begin(desk)
    command("ls")
    whole = desk.server.audit.read_bytes()
    mine = [
        line
        for line in whole.splitlines(keepends=True)
        if b'"type":"response"' in line and f"transit/decrypt/{desk.key}".encode() in line
    ]
    copy = tmp_path / "copy.log"

    until = json.loads(whole.splitlines()[-1])["time"][:26] + "Z"

    def comparing(content, *more, code=7, upto=until):
        copy.write_bytes(content)
        return compare(desk, *more, *(["--until", upto] if upto else []), audit=copy, code=code)

    assert codes(comparing(whole, code=0, upto=None)) == [], "a copy taken before: this command's own uses are not in it"
    gone = comparing(whole.replace(mine[1], b""))
    assert codes(gone) == ["use-missing"]
    assert "unwrap" in gone["findings"][0]["message"]
    cut = comparing(whole[: whole.index(mine[-3])], upto=None)
    assert codes(cut) == codes(comparing(b"", upto=None)) == ["record-ends-early"]
    assert cut["not_compared"]["logged_after_the_record"] > 0
    assert codes(comparing(whole[whole.index(mine[0]) + len(mine[0]) :])) == ["record-begins-late"]
    torn = whole.replace(mine[1], mine[1][:200] + b"\n")
    assert codes(comparing(torn)) == ["record-damaged", "use-missing"]
    ids = [json.loads(line)["request"]["id"].encode() for line in mine]
    taken = comparing(whole.replace(mine[1], mine[1].replace(ids[1], ids[0])))
    assert codes(taken) == ["use-differs", "use-missing"], "a line that borrows the id of another"
    first, second = tmp_path / "audit.log.1", tmp_path / "audit.log"
    place = whole.index(mine[2])
    first.write_bytes(whole[:place])
    second.write_bytes(whole[place:])
    assert codes(compare(desk, "--until", until, audit=[first, second])) == []
    since = json.loads(mine[-1])["time"][:26] + "Z"
    assert codes(comparing(whole[place:], "--since", since, code=0)) == []


def test_uses_while_nothing_was_recorded(own_bao, tmp_path, clinic):
    desk = seat(own_bao, tmp_path)
    begin(desk)
    config = own_bao.folder / "server.hcl"
    text = config.read_text()
    own_bao.stop()
    config.write_text(text[: text.index("audit ")])
    own_bao.start()
    command("cat", "dataset/visits", "--purpose", "prepare")
    own_bao.stop()
    config.write_text(text)
    own_bao.start()
    command("ls")
    found = compare(desk, code=7)
    assert set(codes(found)) == {"use-missing"}
    assert found["findings"][0]["remedy"].startswith("find out why the service has no record: its audit was off")


KILLED = """
import os, signal
import hermetic
from hermetic.domain.connect import connect
from hermetic.providers.openbao import OpenBaoRoot

taken = OpenBaoRoot.take_uses
def dying(self):
    os.kill(os.getpid(), signal.SIGKILL)
OpenBaoRoot.take_uses = dying
connect()
"""


def test_a_process_that_dies_before_it_could_record(desk, clinic):
    begin(desk)
    done = subprocess.run([sys.executable, "-c", KILLED], check=False, env=os.environ)
    assert done.returncode == -signal.SIGKILL
    found = compare(desk, code=7)
    assert set(codes(found)) == {"use-unrecorded"}
    assert {one["subject"] for one in found["findings"]} == {"unwrap"}
    assert "a process of ours died" in found["findings"][0]["remedy"]


def test_words_of_others_do_not_steer_the_terminal(desk, clinic, tmp_path):
    begin(desk)
    whole = desk.server.audit.read_bytes()
    line = [one for one in whole.splitlines() if b'"type":"response"' in one and f"transit/decrypt/{desk.key}".encode() in one][-1]
    document = json.loads(line)
    document["request"].update(id="f" * 36, remote_address="\x1b]0;owned\x07\x1b[2J")
    document["auth"]["display_name"] = "mallory\r\n\u202ereversed" * 1000
    copy = tmp_path / "copy.log"
    copy.write_bytes(whole + json.dumps(document).encode() + b"\n")
    shown = command("log", "reconcile", "--audit", str(copy), code=7)
    assert "mallory" in shown
    assert not {"\x1b", "\x07", "\r", "\u202e"} & set(shown)
    assert len(shown) < 4000
    shutil.copy(copy, tmp_path / "again")
