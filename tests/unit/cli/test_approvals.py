"""`approver`, `request`, `approve`, `deny`, `key destroy`, `key shred`, `key certificate` as people give them."""

from __future__ import annotations

import hashlib
import re
import stat

import pytest

from hermetic.crypto import kdf
from hermetic.formats.certificate import parse_certificate
from hermetic.formats.dsse import parse_envelope
from hermetic.keys import approver_key

STRICT = "delete: {approvals: 2}"
SHIPPED = "delete: {approvals: 2, approvals_in: {development: 0, staging: 1}}"


@pytest.fixture
def project(hermetic, domain_home, tmp_path, monkeypatch):
    """A domain with a version, and key files of bob and carol, whose passphrase is cheap to try."""
    folder = tmp_path / "project"
    folder.mkdir(mode=0o700)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(approver_key, "Argon2Parameters", lambda *given: kdf.Argon2Parameters(*(given or (64 * 1024, 2, 1))))
    assert hermetic("init", "--root", "local:insecure-file", "--project", "clinic").code == 0
    (folder / "cases.csv").write_bytes(b"case,age\n1,44\n")
    assert hermetic("seal", "cases.csv", "--as", "dataset/cases", "--class", "restricted").code == 0
    (folder / "pass").write_text("correct horse battery staple")
    (folder / "pass").chmod(0o600)
    for name in ("bob", "carol"):
        assert hermetic("approver", "key", "new", f"{name}.key", "--passphrase-file", "pass").code == 0
    return folder


@pytest.fixture
def asked(project, hermetic):
    """A request to shred, in a domain where that needs both."""
    for name in ("bob", "carol"):
        assert hermetic("approver", "enrol", name, "--public-key", f"{name}.key.pub", "--reason", "approves").code == 0
    text = (project / "hermetic.yaml").read_text()
    assert SHIPPED in text
    (project / "hermetic.yaml").write_text(text.replace(SHIPPED, STRICT))
    assert hermetic("policy", "apply").code == 0
    done = shred(hermetic)
    assert done.code == 5
    (row,) = hermetic("request", "ls", "--json").json["requests"]
    assert row["id"] in done.err
    return row["id"]


def shred(hermetic, *more):
    return hermetic("key", "shred", "dataset/cases@1", "--reason", "consent withdrawn", *more)


def answer(hermetic, verb, request, name, *more):
    return hermetic(verb, request, "--key", f"{name}.key", "--passphrase-file", "pass", *more)


def test_a_key_file_is_private_and_is_not_overwritten(project, hermetic):
    assert stat.S_IMODE((project / "bob.key").stat().st_mode) == 0o600
    before = (project / "bob.key").read_bytes()
    again = hermetic("approver", "key", "new", "bob.key", "--passphrase-file", "pass")
    assert (again.code, (project / "bob.key").read_bytes()) == (1, before)


def test_two_approve_and_the_same_command_goes_through(asked, hermetic, project):
    first = answer(hermetic, "approve", asked, "bob")
    assert first.code == 0, first.err
    assert "refs[0]: dataset/cases@1" in first.err
    assert "reason: consent withdrawn" in first.err
    assert shred(hermetic).code == 5
    assert answer(hermetic, "approve", asked[:6], "carol").code == 0
    done = shred(hermetic, "--certificate", "certificate.json")
    assert done.code == 0, done.err
    assert "complete" in done.out
    said = parse_certificate(parse_envelope((project / "certificate.json").read_bytes(), limit=1 << 20).payload)
    assert (said.approvers, said.state, said.reason) == (("bob", "carol"), "complete", "consent withdrawn")
    gone = hermetic("expose", "dataset/cases@1", "out.csv", "--for", "1h", "--purpose", "prepare")
    assert gone.code == 3
    assert "was shredded on" in gone.err
    assert "was shredded on" in hermetic("show", "dataset/cases@1").out
    assert hermetic("seal", "cases.csv", "--as", "dataset/cases").code == 0
    assert "destroyed" in hermetic("ls", "dataset/cases").out
    assert hermetic("request", "ls").out.strip() == "nothing waits for approval"
    assert "used" in hermetic("request", "show", asked).out
    assert hermetic("key", "certificate", "dataset/cases@1", "--json").json["kind"] == "shred"


def test_a_name_without_a_number_says_that_older_versions_stay(project, hermetic):
    assert hermetic("seal", "cases.csv", "--as", "dataset/cases").code == 0
    only = hermetic("key", "shred", "dataset/cases", "--dry-run")
    assert "only dataset/cases@2 is meant, the newest" in only.err
    for numbered in (["dataset/cases@2"], ["dataset/cases", "dataset/cases@1"]):
        assert "older versions" not in hermetic("key", "shred", *numbered, "--dry-run").err


def test_a_no_is_told_to_the_requester(asked, hermetic):
    assert answer(hermetic, "deny", asked, "carol").code == 2  # a no has a reason
    assert answer(hermetic, "deny", asked, "carol", "--reason", "kept for the audit").code == 0
    refused = shred(hermetic)
    assert (refused.code, "carol denied this request: kept for the audit" in refused.err) == (3, True)
    late = answer(hermetic, "approve", asked, "bob")
    assert (late.code, "denied" in late.err) == (2, True)


def test_offline(asked, hermetic, project):
    assert hermetic("request", "export", asked, "request.json").code == 0
    assert hermetic("request", "export", asked, "request.json").code == 1
    for told in (answer(hermetic, "approve", "request.json", "bob"), hermetic("request", "show", "request.json")):
        assert (told.code, "--offline reads what" in told.err) == (2, True)
    signed = answer(hermetic, "approve", "request.json", "bob", "--offline")
    assert signed.code == 0, signed.err
    assert "refs[0]: dataset/cases@1" in signed.err
    (project / "statement").write_text(signed.out)
    assert hermetic("request", "add-statement", "statement").code == 0
    raw = (project / "request.json").read_text()
    changed = raw.replace('"request":"', '"request":"e')
    (project / "changed.json").write_text(changed)
    assert answer(hermetic, "approve", "changed.json", "bob", "--offline").code == 4


EVIL = "consent withdrawn" + " " * 90 + "approved  2 of 2\x1b[2J\u202eten\n" + "because " * 100 + "END"


def test_an_approver_sees_all_that_is_signed_and_nothing_that_steers_the_terminal(asked, hermetic, project):
    assert hermetic("key", "shred", "dataset/cases@1", "--reason", EVIL).code == 5
    (row,) = [item for item in hermetic("request", "ls", "--json").json["requests"] if item["id"] != asked]
    assert hermetic("request", "export", row["id"], "request.json").code == 0
    signed = answer(hermetic, "approve", "request.json", "bob", "--offline").err
    shown = hermetic("request", "show", row["id"]).out
    offline = hermetic("request", "show", "--offline", "request.json").out
    for text in (signed, shown, offline):
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", text)
        assert not re.search(r" {5}approved|^approved  2", text, re.MULTILINE)
        assert "because because END" in text
        for part in (row["versions"][0] if "versions" in row else "versions[0]", row["requester_id"], row["hash"], "shred-versions"):
            assert part in text, part
    assert "\\x1b[2J\\u202eten\\n" in shown
    version = hermetic("show", "dataset/cases@1", "--json").json["version"]
    assert f"{version}: dataset/cases@1, restricted, development, published" in shown  # a name beside the id
    assert "policy in force" in shown


def test_raw_are_the_bytes_that_the_hash_is_of(asked, hermetic, project):
    (row,) = hermetic("request", "ls", "--json").json["requests"]
    raw = hermetic("request", "show", asked, "--raw").out.encode()
    assert hashlib.sha256(b"hermetic/v1/request\n" + raw).hexdigest() == row["hash"]
    assert hermetic("request", "export", asked, "request.json").code == 0
    assert hermetic("request", "show", "request.json", "--offline", "--raw").out.encode() == raw


def test_a_policy_is_shown_as_what_it_changes_and_elsewhere_whole(asked, hermetic, project):
    text = (project / "hermetic.yaml").read_text()
    (project / "hermetic.yaml").write_text(text.replace(STRICT, "delete: {approvals: 1}"))
    refused = hermetic("policy", "apply")
    assert refused.code == 5, refused.err
    (row,) = [item for item in hermetic("request", "ls", "--json").json["requests"] if item["id"] != asked]
    shown = hermetic("request", "show", row["id"]).out
    assert "-  delete: {approvals: 2}" in shown
    assert "+  delete: {approvals: 1}" in shown
    assert hermetic("request", "export", row["id"], "request.json").code == 0
    whole = hermetic("request", "show", "--offline", "request.json").out
    for line in (*(project / "hermetic.yaml").read_text().split("\n"), *(project / "policies/guards.cedar").read_text().split("\n")):
        assert line.rstrip() in whole


def test_a_request_file_that_names_another_requester_gets_a_yes_that_nobody_can_use(asked, hermetic, project):
    """The approver is shown who asks and signs that: a file changed on its way ends at custody."""
    assert hermetic("request", "export", asked, "request.json").code == 0
    raw = (project / "request.json").read_text()
    for at, name in enumerate(("requester", "requester_name")):
        head, _, tail = raw.partition(f'"{name}":"')
        (project / f"changed{at}.json").write_text(f'{head}"{name}":"mallory{tail[tail.index(chr(34)) :]}')
        signed = answer(hermetic, "approve", f"changed{at}.json", "bob", "--offline")
        assert (signed.code, "mallory" in signed.err) == (0, True), signed.err
        (project / "statement").write_text(signed.out)
        refused = hermetic("request", "add-statement", "statement")
        assert (refused.code, "somebody else's request" in refused.err) == (3, True), refused.err


def test_wrong_passphrase_open_file_and_foreign_key(asked, hermetic, project):
    (project / "other").write_text("not the right passphrase")
    (project / "other").chmod(0o600)
    wrong = hermetic("approve", asked, "--key", "bob.key", "--passphrase-file", "other")
    assert wrong.code == 4
    (project / "bob.key").chmod(0o644)
    assert answer(hermetic, "approve", asked, "bob").code == 4
    assert hermetic("approver", "key", "new", "eve.key", "--passphrase-file", "pass").code == 0
    assert answer(hermetic, "approve", asked, "eve").code == 4
    assert hermetic("approver", "enrol", "eve", "--public-key", "bob.key", "--reason", "x").code == 4
    assert hermetic("approver", "enrol", "eve", "--public-key", "missing", "--reason", "x").code == 1


def test_dry_runs_change_nothing(project, hermetic):
    shown = hermetic("key", "shred", "--project", "clinic", "--dry-run")
    assert (shown.code, "dataset/cases@1" in shown.out) == (0, True)
    (row,) = hermetic("key", "ls", "--json").json["keys"]
    shown = hermetic("key", "destroy", row["kek"][:6], "--dry-run")
    assert (shown.code, "hermetic key rotate" in shown.out) == (0, True)
    refused = hermetic("key", "destroy", row["kek"], "--reason", "retired")
    assert refused.code == 1
    assert hermetic("expose", "dataset/cases@1", "out.csv", "--for", "1h", "--purpose", "prepare").code == 0
    for given in (("shred",), ("destroy",), ("destroy", "abcd/x"), ("destroy", row["kek"], "--after", "6d", "--reason", "x")):
        assert hermetic("key", *given).code in {1, 2}
    assert hermetic("key", "copies-destroyed", "--before", "yesterday", "--reason", "x").code == 2


def test_announce_show_and_cancel(project, hermetic):
    (row,) = hermetic("key", "ls", "--json").json["keys"]
    assert hermetic("key", "rotate", row["kek"], "--reason", "retired").code == 0
    told = hermetic("key", "destroy", f"{row['kek'][:6]}/1", "--after", "8d", "--reason", "retired", "--json")
    assert told.code == 0, told.err
    versions = hermetic("key", "show", row["kek"], "--json").json["versions"]
    assert versions[0]["destroy_after_ms"] == told.json["due_ms"]
    assert hermetic("key", "destroy", "--due").out.strip() == "nothing is due"
    assert hermetic("key", "destroy", row["kek"], "--cancel", "--reason", "needed").code == 0
    assert hermetic("key", "show", row["kek"], "--json").json["versions"][0]["destroy_after_ms"] is None


def test_migrate_says_what_is(project, hermetic):
    done = hermetic("migrate", "--json")
    assert (done.code, done.json["before"]) == (0, done.json["now"])
