"""The commands on a real domain: custody, policy, log and stores as they are; some in processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from hermetic.domain.home import Home
from hermetic.errors import Locked
from hermetic.ids import DomainId
from hermetic.recovery import trial
from tests.backends import BACKENDS, EMBEDDED, serving
from tests.unit.cli.conftest import Outcome

ROWS = b"name,age\n" + b"".join(b"p%d,%d\n" % (number, number % 90) for number in range(2000))
PASSPHRASE = "a recovery passphrase for tests"


everywhere = pytest.mark.parametrize("backend", BACKENDS, indirect=True)
"""The same body with custody in this process, behind a Unix socket, behind HTTPS; HERMETIC_TEST_BACKEND names one for the others."""


@pytest.fixture
def backend(request):
    return getattr(request, "param", os.environ.get("HERMETIC_TEST_BACKEND", EMBEDDED))


@pytest.fixture
def project(made, backend, domain_home, tmp_path, monkeypatch):
    """A project whose custody is where the test says; the working folder."""
    (domain,) = (path.name for path in (domain_home / "data").iterdir())
    with serving(backend, Home(domain_home / "data", domain_home / "config"), DomainId(domain), tmp_path) as url:
        if url:
            monkeypatch.setenv("HERMETIC_URL", url)
        yield made


@pytest.fixture
def made(hermetic, domain_home, tmp_path, monkeypatch):
    """A project whose backup lies beside it; the working folder."""
    folder, backup = tmp_path / "project", tmp_path / "backup"
    folder.mkdir(mode=0o700)
    backup.mkdir(mode=0o700)
    (tmp_path / "passphrase").write_text(PASSPHRASE)
    monkeypatch.chdir(folder)
    monkeypatch.setattr("hermetic.domain.backing.DELAY_S", 3600)  # no copy by timer after the test's folder is gone
    done = hermetic(
        "init", "--root", "local:insecure-file", "--backup", backup, "--recovery-passphrase-file", tmp_path / "passphrase", "--json"
    )
    assert done.code == 0, done.err
    assert [finding["code"] for finding in done.json["findings"]] == ["insecure-root"]
    (folder / "patients.csv").write_bytes(ROWS)
    return folder


@pytest.fixture
def sealed(project, hermetic):
    done = hermetic("seal", "patients.csv", "--as", "dataset/patients", "--class", "restricted", "--owner", "ana", "--json")
    assert done.code == 0, done.err
    assert done.json["ref"] == "dataset/patients@1"
    return project


def process(*arguments, **given):
    command = [sys.executable, "-c", "from hermetic.cli.main import main; main()", *arguments]
    return subprocess.run(command, capture_output=True, check=False, **given)


def test_init_writes_the_project_and_keeps_keys_out_of_it(project, domain_home):
    assert {path.name for path in project.iterdir()} == {"hermetic.yaml", "policies", "sealed", ".gitignore", "patients.csv"}
    assert (project / ".gitignore").read_text() == "/sealed/\n"
    assert list(domain_home.glob("data/*/custody.db"))


def test_an_init_that_fails_leaves_nothing(hermetic, domain_home, tmp_path, monkeypatch):
    folder = tmp_path / "project"
    folder.mkdir(mode=0o700)
    monkeypatch.chdir(folder)
    assert hermetic("init", "--root", "local:passphrase").code == 2  # nobody to ask
    assert [path for path in domain_home.rglob("*") if path.is_file() or path.parent.name == "data"] == []
    assert list(folder.iterdir()) == []


def test_settings_can_be_added_to_the_file_that_init_wrote(project, domain_home, hermetic):
    (file,) = domain_home.glob("config/*/config.yaml")
    assert f"your settings    {file}\n" in hermetic("status").out
    with file.open("a") as settings:
        settings.write("anchor: {command: ['true']}\n")
    assert hermetic("ls").code == 0


def test_init_twice_is_refused(project, hermetic):
    assert hermetic("init", "--root", "local:insecure-file").code == 1


def test_a_folder_of_any_name_can_be_a_project(hermetic, domain_home, tmp_path, monkeypatch):
    folder = tmp_path / "Größen, Übersicht"
    folder.mkdir(mode=0o700)
    monkeypatch.chdir(folder)
    done = hermetic("init", "--root", "local:insecure-file")
    assert (done.code, "the project is called Grossen-Ubersicht" in done.err) == (0, True)
    assert "project: Grossen-Ubersicht\n" in (folder / "hermetic.yaml").read_text()


def test_a_project_in_a_project_is_said(project, hermetic, monkeypatch):
    (project / "part").mkdir(mode=0o700)
    monkeypatch.chdir(project / "part")
    done = hermetic("init", "--root", "local:insecure-file")
    assert (done.code, f"{project} is a project with a domain of its own" in done.err) == (0, True)


@pytest.mark.parametrize("arguments", [("init", "--root", "local:insecure-file"), ("restore", "--from", "/somewhere")])
def test_the_folder_that_holds_the_keys_is_no_project(hermetic, domain_home, monkeypatch, arguments):
    monkeypatch.chdir(domain_home.parent)
    done = hermetic(*arguments)
    assert (done.code, "hint: go to the project's own folder" in done.err) == (2, True)
    assert list(domain_home.iterdir()) == []


def test_outside_a_project_the_way_in_is_told(hermetic, domain_home):
    done = hermetic("ls")
    assert done.code == 1
    assert "hermetic init" in done.err


@everywhere
def test_seal_says_that_the_original_stays(project, hermetic):
    done = hermetic("seal", "patients.csv", "--as", "dataset/patients", "--class", "internal")
    assert "stays where it is, in plaintext" in done.err
    assert (project / "patients.csv").exists()


def test_seal_removes_the_original_when_told(project, hermetic):
    assert hermetic("seal", "patients.csv", "--as", "dataset/patients", "--class", "internal", "--remove-original").code == 0
    assert not (project / "patients.csv").exists()


def test_stdin_is_sealed_and_cat_gives_it_back(project):
    done = process("seal", "-", "--as", "config/app", "--class", "internal", input=b"lr: 0.1\n")
    assert done.returncode == 0, done.stderr
    assert process("cat", "config/app", "--purpose", "train").stdout == b"lr: 0.1\n"


@everywhere
def test_cat_needs_a_purpose_for_restricted_data(sealed):
    done = process("cat", "dataset/patients")
    assert (done.returncode, done.stdout) == (3, b"")
    assert b"because: purpose-required" in done.stderr
    assert process("cat", "dataset/patients@1", "--purpose", "prepare").stdout == ROWS


def test_cat_refuses_a_file(sealed, tmp_path):
    with (tmp_path / "out").open("wb") as out:
        done = subprocess.run(
            [sys.executable, "-c", "from hermetic.cli.main import main; main()", "cat", "dataset/patients", "--purpose", "prepare"],
            stdout=out, stderr=subprocess.PIPE, check=False,
        )  # fmt: skip
    assert done.returncode == 2
    assert (tmp_path / "out").read_bytes() == b""


def test_cat_to_a_reader_that_goes_away_is_quiet(sealed):
    ours, theirs = os.pipe()
    os.close(ours)
    done = subprocess.run(
        [sys.executable, "-c", "from hermetic.cli.main import main; main()", "cat", "dataset/patients", "--purpose", "prepare"],
        stdout=theirs, stderr=subprocess.PIPE, check=False,
    )  # fmt: skip
    os.close(theirs)
    assert (done.returncode, done.stderr) == (141, b"")


@everywhere
def test_a_tampered_object_is_4_everywhere(sealed, hermetic):
    (target,) = sealed.glob("sealed/*/0.sealed")
    raw = bytearray(target.read_bytes())
    raw[len(raw) // 2] ^= 1
    target.chmod(0o600)
    target.write_bytes(raw)
    assert hermetic("verify", "dataset/patients").code == 4
    assert hermetic("inspect", target).code == 4
    done = process("cat", "dataset/patients", "--purpose", "prepare")
    assert (done.returncode, done.stdout) == (4, b"")


def test_inspect_needs_no_domain(sealed, hermetic, monkeypatch, tmp_path):
    (target,) = sealed.glob("sealed/*/0.sealed")
    monkeypatch.setenv("HERMETIC_HOME", str(tmp_path / "elsewhere"))
    monkeypatch.chdir(tmp_path)
    done = hermetic("inspect", target)
    assert done.code == 0
    assert "Not visible without the key" in done.out
    assert "patients" not in done.out.replace(str(tmp_path), "")


@everywhere
def test_expose_and_its_end(sealed, hermetic):
    done = hermetic("expose", "dataset/patients@1", "plain.csv", "--for", "2h", "--purpose", "prepare")
    assert done.code == 0
    assert (sealed / "plain.csv").read_bytes() == ROWS
    assert [item["ref"] for item in hermetic("expose", "--json").json["exposures"]] == ["dataset/patients@1"]
    assert hermetic("expose", "dataset/patients@1", "plain.csv", "--for", "2h", "--purpose", "prepare").code == 1
    assert hermetic("expose", "--end", "plain.csv").code == 0
    assert not (sealed / "plain.csv").exists()


@everywhere
def test_looking(sealed, hermetic):
    assert hermetic("ls", "--json").json["assets"][0]["owner"] == "ana"
    assert hermetic("show", "dataset/patients", "--json").json["number"] == 1
    assert hermetic("verify", "dataset/patients", "--json").json["verified"][0]["objects"] == 1
    assert hermetic("lineage", "dataset/patients").out.startswith("dataset/patients@1  restricted, ana, ingest")
    assert hermetic("rename", "dataset/patients", "dataset/people").code == 0
    assert hermetic("decide", "dataset/people", "--owner", "ben", "--reason", "ana left").code == 0
    assert hermetic("ls").out.splitlines()[1].split()[:4] == ["dataset/people", "restricted", "1", "ben"]


def test_a_terminal_is_shown_text_and_nothing_else(sealed, hermetic):
    assert process("seal", "-", "--as", "model/m", "--class", "internal", input=b"GGUF\0\0").returncode == 0
    code, shown, _ = on_a_terminal("cat", "dataset/patients", "--purpose", "prepare")
    assert (code, shown.replace(b"\r\n", b"\n")) == (0, ROWS)
    code, shown, err = on_a_terminal("cat", "model/m")
    assert (code, shown) == (2, b"")
    assert "model/m is not text, and stdout is a terminal" in err


def on_a_terminal(*arguments):
    """Run a command whose stdout is a terminal; return its exit code, what the terminal got, and stderr."""
    master, terminal = os.openpty()
    command = [sys.executable, "-c", "from hermetic.cli.main import main; main()", *arguments]
    with subprocess.Popen(command, stdout=terminal, stderr=subprocess.PIPE, text=True) as child:
        os.close(terminal)
        shown = b""
        try:
            while piece := os.read(master, 65_536):
                shown += piece
        except OSError:  # how Linux says that nobody holds the other end any more
            pass
        finally:
            os.close(master)
        err = child.stderr.read()
    return child.returncode, shown, err


@everywhere
def test_gc_finds_nothing_in_a_tidy_store(sealed, hermetic):
    done = hermetic("gc", "--json")
    assert (done.code, done.json["removed"], done.json["kept"]) == (0, [], [])


def test_a_scan_in_a_project_finds_copies_of_what_is_sealed(sealed, hermetic, monkeypatch):
    (sealed / "notes.bin").write_bytes(b"not a format that anything tells")
    assert hermetic("seal", "notes.bin", "--as", "dataset/notes", "--class", "internal").code == 0
    done = hermetic("scan", ".", "--json")
    assert (done.code, done.err) == (7, "")
    assert {item["path"]: item["copy_of"] for item in done.json["files"] if item["copy_of"]} == {
        "./notes.bin": "dataset/notes@1",
        "./patients.csv": "dataset/patients@1",
    }
    assert not any(item["copy_of"] for item in hermetic("scan", ".", "--no-recognise", "--json").json["files"])
    monkeypatch.setattr("hermetic.domain.connect.connect", locked)
    done = hermetic("scan", ".", "--json")
    assert not any(item["copy_of"] for item in done.json["files"])
    assert done.err == "hermetic: note: copies of sealed assets are not looked for: the root is locked\n"
    assert hermetic("scan", ".", "--recognise").code == 6


def locked(*_, ask_passphrase):
    raise Locked("the root is locked", hint="run `hermetic unlock`")


def test_from_scan_leaves_what_has_no_rule(project, hermetic):
    done = hermetic("seal", "--from-scan", ".", "--json")
    assert done.code == 7
    assert done.json["left"] == [{"path": "patients.csv", "reason": "no rule says what it is"}]
    assert done.err == (
        "hint: add to `rules:` in hermetic.yaml: - {path: 'patients.csv', kind: dataset, class: confidential}, "
        "then `hermetic policy apply`\n"
    )


def test_rules_that_were_not_applied_are_no_rules_and_that_is_said(project, hermetic):
    edit(project, "rules: []\n", "rules:\n  - {path: '*.csv', kind: dataset, class: internal}\n")
    for arguments in (("--from-scan", "."), ("patients.csv",)):
        assert "run `hermetic policy apply`: hermetic.yaml was edited since" in hermetic("seal", *arguments).err
    assert hermetic("policy", "apply").code == 0
    assert hermetic("seal", "--from-scan", ".").code == 0


def test_from_scan_does_not_drown_its_result_in_notes(project, hermetic):
    for number in range(6):
        (project / f"day-{number}.csv").write_bytes(ROWS)
    edit(project, "rules: []\n", "rules:\n  - {path: 'day-*.csv', kind: dataset, class: internal}\n")
    assert hermetic("policy", "apply").code == 0
    lines = hermetic("seal", "--from-scan", ".").err.splitlines()
    assert [line.startswith("hermetic: note: the original file") for line in lines] == [True] * 3 + [False] * 2
    assert lines[3] == "hermetic: note: and so for 3 more; --json has every note"


@everywhere
def test_from_scan_seals_what_rules_name_and_leaves_what_they_name_alike(project, hermetic):
    (project / "raw").mkdir()
    for name in ("raw/a.csv", "raw/b.csv", "one.csv"):
        (project / name).write_bytes(ROWS)
    rules = (
        "rules:\n  - {path: 'raw/*.csv', kind: dataset, class: internal, name: raw}\n"
        "  - {path: '*.csv', kind: dataset, class: internal}\n"
    )
    edit(project, "rules: []\n", rules)
    assert hermetic("policy", "apply").code == 0
    done = hermetic("seal", "--from-scan", ".", "--json")
    assert done.code == 7
    assert {item["name"] for item in done.json["sealed"]} == {"dataset/patients", "dataset/one"}
    assert {item["path"] for item in done.json["left"]} == {"raw/a.csv", "raw/b.csv"}
    assert "dataset/raw" in done.json["left"][0]["reason"]


def test_from_scan_goes_on_after_a_file_that_cannot_be_sealed(sealed, hermetic):
    (sealed / "other.csv").write_bytes(ROWS)
    edit(sealed, "rules: []\n", "rules:\n  - {path: '*.csv', kind: dataset, class: internal}\n")
    assert hermetic("policy", "apply").code == 0
    done = hermetic("seal", "--from-scan", ".", "--remove-original", "--json")  # dataset/patients is restricted
    assert (done.code, [item["ref"] for item in done.json["sealed"]]) == (7, ["dataset/other@1"])
    (left,) = done.json["left"]
    assert (left["path"], "cannot be internal without a reason" in left["reason"]) == ("patients.csv", True)
    assert "hint: leave the class restricted" in done.err
    assert (sealed / "patients.csv").exists()


def test_an_empty_pipe_is_said(project):
    done = process("seal", "-", "--as", "config/app", "--class", "internal", input=b"")
    assert b"there was nothing on stdin: config/app@1 is empty" in done.stderr


@everywhere
def test_keys_rotate_and_suspend(sealed, hermetic):
    (row,) = hermetic("key", "ls", "--json").json["keys"]
    assert hermetic("key", "rotate", row["kek"], "--json").json["moved"] == 1
    assert hermetic("key", "suspend", row["kek"], "--reason", "drill").code == 0
    assert process("cat", "dataset/patients", "--purpose", "prepare").returncode == 3
    assert "key-suspended" in hermetic("status").out
    assert hermetic("key", "resume", row["kek"], "--reason", "drill over").code == 0
    assert process("cat", "dataset/patients", "--purpose", "prepare").stdout == ROWS


def test_no_certificate_is_issued_that_could_not_be_kept(project, hermetic, tmp_path):
    for step in (("authority", "create"), ("enrol", "ben", "--kind", "person", "--role", "auditor")):
        assert hermetic("identity", *step, "--reason", "test").code == 0
    assert hermetic("identity", "request", "ben", "-o", "ben.csr").code == 0
    (project / "ben.pem").write_text("something else")
    for target, code in (("ben.pem", 1), (str(tmp_path / "nowhere" / "ben.pem"), 1)):
        assert hermetic("identity", "issue", "ben", "--csr", "ben.csr", "-o", target, "--reason", "test").code == code
    assert hermetic("identity", "show", "ben", "--json").json["credentials"] == []
    assert (project / "ben.pem").read_text() == "something else"


@everywhere
def test_policy_edits_count_once_applied(sealed, hermetic):
    path = sealed / "hermetic.yaml"
    path.write_text(path.read_text() + "\n# a remark\n")
    assert "policy-not-applied" in hermetic("status").out
    assert hermetic("policy", "apply", "--json").json["state"] == "applied"
    assert "policy-not-applied" not in hermetic("status").out
    assert hermetic("policy", "explain", "open", "dataset/patients", "--purpose", "debug").code == 3
    path.write_text(path.read_text().replace("restricted:", "resticted:"))
    done = hermetic("policy", "apply")
    assert done.code == 2
    assert "hermetic.yaml:" in done.err


def test_an_exception_silences_a_finding_once_applied(sealed, hermetic):
    entry = (
        "exceptions:\n  - {id: dev-root, finding: insecure-root, subject: 'local:insecure-file', reason: development only,"
        f" approver: sam, expires: {_soon()}}}"
    )
    edit(sealed, "exceptions: []", entry)
    assert "insecure-root" in {item["code"] for item in hermetic("status", "--json").json["findings"]}
    assert hermetic("policy", "apply").code == 0
    document = hermetic("status", "--json").json
    assert [item["exception"] for item in document["accepted"]] == ["dev-root"]
    assert "insecure-root" not in {item["code"] for item in document["findings"]}


def edit(project, old, new):
    path = project / "hermetic.yaml"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def _soon():
    return (datetime.now(UTC) + timedelta(days=30)).strftime("%Y-%m-%d")


@everywhere
def test_the_log_is_read_verified_proved_and_exported(sealed, hermetic, tmp_path):
    assert "version.published" in hermetic("log", "ls").out
    done = hermetic("log", "verify", "--json")
    assert done.json["size"] > 4
    assert hermetic("log", "prove", "0").out.startswith("c2sp.org/tlog-proof@v1\n")
    assert hermetic("log", "export", tmp_path / "tiles", "--json").json["entries"] == done.json["size"]
    assert (tmp_path / "tiles" / "checkpoint").is_file()
    assert hermetic("rename", "dataset/patients", "dataset/people").code == 0
    assert hermetic("log", "export", tmp_path / "tiles", "--json").json["entries"] > done.json["size"]


def test_an_exported_log_is_the_log(sealed, hermetic, tmp_path):
    from hermetic.audit.note import VerifierKey
    from hermetic.audit.tiles import TileReader
    from hermetic.audit.verify import verify
    from hermetic.stores.local import LocalStore

    done = hermetic("log", "export", tmp_path / "tiles", "--json").json
    key = VerifierKey.parse(done["verifier_key"])
    reader = TileReader(LocalStore(tmp_path / "tiles"), keys=[key])
    report = verify(reader, hermetic("status", "--json").json["domain"], keys=[key])
    assert report.entries == done["entries"]


@everywhere
def test_a_run_records_lineage_and_returns_the_exit_code(sealed, hermetic):
    code = "import hermetic; h = hermetic.connect(); d = h.open('dataset/patients').read(); h.seal(d[:99], name='features/ages')"
    done = process("run", "featurize", "--purpose", "prepare", "--", sys.executable, "-c", code)
    assert done.returncode == 0, done.stderr
    assert done.stdout == b""
    assert b"read dataset/patients@1; wrote features/ages@1" in done.stderr
    assert "dataset/patients@1" in hermetic("lineage", "features/ages").out
    assert process("run", "bad", "--purpose", "train", "--", sys.executable, "-c", "raise SystemExit(9)").returncode == 9


def test_a_run_is_told_why_its_output_may_be_lower(sealed, hermetic):
    code = "import hermetic; h = hermetic.connect(); h.open('dataset/patients').read(9); h.seal(b'44.5', name='features/mean')"
    command = ("run", "mean", "--purpose", "prepare", "--decide", "features/mean=internal:a mean: nobody's age")
    done = process(*command, "--", sys.executable, "-c", code)
    assert done.returncode == 0, done.stderr
    made = hermetic("lineage", "features/mean", "--json").json["nodes"][0]
    assert (made["data_class"], made["decision"]) == ("internal", "a mean: nobody's age")
    for wrong in ("features/mean", "features/mean=internal", "features/mean=internal: ", "=internal:x", "features/mean=secret:x"):
        assert process("run", "mean", "--purpose", "prepare", "--decide", wrong, "--", "true").returncode == 2


def test_a_run_with_json_keeps_its_output_apart(sealed):
    done = process("run", "talk", "--purpose", "train", "--json", "--", "echo", "hello")
    document = Outcome(done.returncode, done.stdout.decode(), done.stderr.decode())
    assert document.json["exit_code"] == 0
    assert "hello" in document.err


def test_status_and_map_of_a_real_domain(sealed, hermetic):
    document = hermetic("status", "--scan", ".", "--json").json
    assert document["safe"] is False
    assert document["protection"][0]["kek_state"] == "active"
    assert document["openness"][0]["openers"]
    assert [(item["kind"], item["where"], item["ref"]) for item in document["plaintext"] if item["kind"] != "swap"] == [
        ("copy", "patients.csv", "dataset/patients@1")
    ]
    found = {finding["code"] for finding in document["findings"]}
    assert {"insecure-root", "plaintext-copy", "unknown-owner", "backup-not-checked", "log-never-anchored"} <= found
    assert hermetic("map", "--svg", "map.svg").code == 7
    assert (sealed / "map.svg").is_file()


def test_status_notices_that_the_store_is_gone(sealed, hermetic):
    assert "version-missing" not in hermetic("status").out
    (sealed / "sealed").rename(sealed / "elsewhere")
    found = [item for item in hermetic("status", "--json").json["findings"] if item["code"] == "version-missing"]
    assert [(item["subject"], item["severity"]) for item in found] == [("dataset/patients", "high")]


def test_the_first_status_on_another_account_says_so(sealed, hermetic, domain_home):
    (pins,) = domain_home.glob("config/*/pins.json")
    pins.unlink()
    assert "trusted-on-first-use" in hermetic("status").out
    assert "trusted-on-first-use" not in hermetic("status").out


def test_a_suggested_pipeline_is_accepted_as_policy(sealed, hermetic):
    with (sealed / "hermetic.yaml").open("a") as file:
        file.write("\n" + hermetic("map", "--suggest").out)
    assert hermetic("policy", "apply").code == 0
    assert hermetic("map").code == 0


def test_a_backup_is_tried_and_restored(sealed, hermetic, tmp_path, monkeypatch):
    arguments = ("--recovery-passphrase-file", tmp_path / "passphrase", "--json")
    made: list[Path] = []  # what this trial makes; other tests try backups at the same time
    make = tempfile.mkdtemp
    monkeypatch.setattr(trial.tempfile, "mkdtemp", lambda **how: made.append(Path(make(**how))) or str(made[-1]))
    (sealed / "empty").touch()
    assert hermetic("seal", "empty", "--as", "config/empty", "--class", "public").code == 0
    tried = hermetic("restore", "--check", *arguments).json
    assert (tried["ref"], tried["length"]) == ("dataset/patients@1", len(ROWS))
    assert made
    assert not any(folder.exists() for folder in made)
    assert hermetic("backup", "status").code == 0
    assert "backup-not-checked" not in hermetic("status").out
    new_home = tmp_path / "new-home"
    new_home.mkdir(mode=0o700)
    monkeypatch.setenv("HERMETIC_HOME", str(new_home))
    assert hermetic("ls").code == 1
    restored = hermetic("restore", "--from", tmp_path / "backup", "--root", "local:insecure-file", *arguments).json
    assert (restored["generation"], restored["versions"], restored["lost"]) == (2, 2, False)
    assert process("cat", "dataset/patients", "--purpose", "prepare").stdout == ROWS


def test_a_copy_without_recovery_passphrase_is_told_before_anybody_is_asked(hermetic, domain_home, tmp_path, monkeypatch):
    folder = tmp_path / "project"
    folder.mkdir(mode=0o700)
    monkeypatch.chdir(folder)
    assert hermetic("init", "--root", "local:insecure-file", "--backup", tmp_path / "backup").code == 0
    done = hermetic("restore", "--check")
    assert (done.code, "hint: set one: hermetic backup now --recovery-passphrase-file FILE" in done.err) == (2, True)


def test_a_wrong_recovery_passphrase_is_4(sealed, hermetic, tmp_path):
    (tmp_path / "wrong").write_text("wrong passphrase")
    assert hermetic("restore", "--check", "--recovery-passphrase-file", tmp_path / "wrong").code == 4


def test_main_as_a_process_prints_help():
    done = process("--help")
    assert done.returncode == 0
    assert done.stdout.startswith(b"Usage: hermetic")


def test_on_a_terminal_init_asks_for_what_is_missing(hermetic, domain_home, tmp_path):
    folder = tmp_path / "asked"
    folder.mkdir(mode=0o700)
    ours, theirs = os.openpty()
    child = subprocess.Popen(
        [sys.executable, "-c", "from hermetic.cli.main import main; main()", "init", "--json"],
        stdin=theirs, stdout=subprocess.PIPE, stderr=theirs, cwd=folder, start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    os.write(ours, b"3\n\n")  # the insecure file, no backup
    out, _ = child.communicate(timeout=120)
    said = os.read(ours, 65536).decode()
    os.close(ours)
    assert child.returncode == 0, said
    assert "Where should the root key live?" in said
    assert {finding["code"] for finding in json.loads(out)["findings"]} == {"insecure-root", "backup-missing"}
