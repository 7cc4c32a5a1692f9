"""Every way to fail: the words on stderr, the exit code, the JSON document."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from hermetic import errors
from hermetic.cli import failure, main
from hermetic.formats.messages.catalogue import ListAssets

TREE = [
    cls
    for cls in vars(errors).values()
    if isinstance(cls, type) and issubclass(cls, errors.HermeticError) and cls is not errors.HermeticError
]


@pytest.mark.parametrize("kind", TREE)
def test_each_error_has_its_exit_code_words_and_document(hermetic, custody, kind):
    custody.answers[ListAssets] = kind("something is wrong", hint="do this")
    done = hermetic("ls")
    assert done == (kind.exit_code, "", "hermetic: error: something is wrong\nhint: do this\n")
    document = hermetic("ls", "--json").json["error"]
    assert document["exit_code"] == kind.exit_code
    assert document["message"] == "something is wrong"
    assert document["hint"] == "do this"


def test_exit_codes_are_those_of_the_design():
    codes = {kind.__name__: kind.exit_code for kind in TREE}
    assert {codes["UsageError"], codes["PolicyDenied"], codes["LogTampered"], codes["ApprovalNeeded"], codes["Locked"]} == {
        2,
        3,
        4,
        5,
        6,
    }
    assert codes["FindingsError"] == 7


def test_reasons_of_a_denial_are_told(hermetic, custody):
    custody.answers[ListAssets] = errors.PolicyDenied("denied", reasons=("deny-debug-restricted",))
    assert "  because: deny-debug-restricted\n" in hermetic("ls").err
    error = hermetic("ls", "--json").json["error"]
    assert (error["kind"], error["reasons"]) == ("policy-denied", ["deny-debug-restricted"])


def test_a_reason_that_the_message_gives_is_not_told_twice(hermetic, custody):
    custody.answers[ListAssets] = errors.PolicyDenied("refused: not for train", reasons=("not for train", "mfa"))
    assert hermetic("ls").err == "hermetic: error: refused: not for train\n  because: mfa\n"
    assert hermetic("ls", "--json").json["error"]["reasons"] == ["not for train", "mfa"]


def test_an_option_without_its_value_has_a_hint(hermetic):
    done = hermetic("seal", "--from-scan")
    assert (done.code, done.err.splitlines()[-1]) == (2, "hint: add --help to see what the command takes")


@pytest.mark.parametrize("arguments", [(), ("key",), ("log",)])
def test_a_group_alone_shows_its_help(hermetic, arguments):
    done = hermetic(*arguments)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("Usage: hermetic")


def test_choices_of_a_missing_option_stand_in_one_line(hermetic):
    done = hermetic("access", "grant", "ben", "open", "dataset/*", "--for", "8h", "--reason", "x")
    assert done.err.splitlines()[0].startswith("hermetic: error: missing option '--purpose'. Choose from: ingest, prepare, train,")


@pytest.mark.parametrize("root", ["foo", "passphrase"])
def test_init_says_what_a_root_can_be(hermetic, root):
    done = hermetic("init", "--root", root)
    assert done.code == 2
    assert "hint: write local:passphrase, local:keyring, local:insecure-file" in done.err


def test_a_config_error_names_its_line(hermetic, custody):
    custody.answers[ListAssets] = errors.ConfigError("no such class", file="hermetic.yaml", line=3, column=7, hint="write public")
    assert hermetic("ls").err == "hermetic: error: hermetic.yaml:3:7: no such class\nhint: write public\n"


def test_a_mistyped_command_gets_a_tip(hermetic):
    done = hermetic("stauts")
    assert done.code == 2
    assert (
        done.err == "hermetic: error: there is no command 'stauts'\ntip: a similar command exists: status\nhint: see hermetic --help\n"
    )


def test_a_mistyped_subcommand_gets_a_tip(hermetic):
    done = hermetic("key", "rewra")
    assert done.code == 2
    assert "tip: a similar command exists: rewrap\nhint: see hermetic key --help\n" in done.err


@pytest.mark.parametrize(
    "arguments",
    [("seal", "--clas", "x"), ("cat",), ("expose", "a", "b", "--for", "soon"), ("run", "x", "--purpose", "fun", "--", "true")],
)
def test_usage_errors_are_2_in_our_words(hermetic, arguments):
    done = hermetic(*arguments)
    assert done.code == 2
    assert done.err.startswith("hermetic: error: ")
    assert f"hint: see hermetic {arguments[0]} --help" in done.err
    assert hermetic(*arguments[:1], "--json", *arguments[1:]).json["error"]["kind"] == "usage-error"


def test_names_cannot_steer_the_terminal(hermetic, custody):
    custody.answers[ListAssets] = errors.NotFound("no \x1b[2J\u202e here")
    assert hermetic("ls").err == "hermetic: error: no \\x1b[2J\\u202e here\n"


def test_an_interrupt_is_130(hermetic, custody):
    def interrupt(_request):
        raise KeyboardInterrupt

    custody.answers[ListAssets] = interrupt
    assert hermetic("ls").code == 130


def test_an_unforeseen_exception_is_not_swallowed(hermetic, custody, capfd):
    custody.answers[ListAssets] = ZeroDivisionError("odd")
    with pytest.raises(ZeroDivisionError):
        hermetic("ls")
    assert sys.excepthook is failure._unforeseen
    sys.excepthook(ZeroDivisionError, ZeroDivisionError("odd\nthing"), None)
    assert capfd.readouterr().err.startswith("hermetic: error: unexpected ZeroDivisionError: odd thing\nhint: ")


def test_with_debug_python_tells_of_it(hermetic, custody):
    custody.answers[ListAssets] = ZeroDivisionError("odd")
    before = sys.excepthook
    with pytest.raises(ZeroDivisionError):
        hermetic("--debug", "ls")
    assert sys.excepthook is before


def test_debug_shows_the_traceback_of_our_own_errors(hermetic, custody):
    custody.answers[ListAssets] = errors.NotFound("no such thing")
    done = hermetic("--debug", "ls")
    assert "Traceback" in done.err
    assert done.err.endswith("hermetic: error: no such thing\n")
    assert "Traceback" in hermetic("ls", "--debug").err


def process(*arguments, **given):
    return subprocess.run(
        [sys.executable, "-m", "hermetic.cli.main", *arguments], capture_output=True, text=True, check=False, **given
    )


def test_an_unforeseen_exception_ends_a_process_with_1():
    code = "import click\nfrom hermetic.cli import main\nmain.root.callback = lambda **_: 1 / 0\nmain.main(['ls'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("hermetic: error: unexpected ZeroDivisionError")


def test_a_reader_that_goes_away_is_no_noise():
    ours, theirs = os.pipe()
    os.close(ours)
    done = subprocess.run(
        [sys.executable, "-c", "from hermetic.cli.main import main; main(['--help'])"],
        stdout=theirs, stderr=subprocess.PIPE, check=False, restore_signals=False,
    )  # fmt: skip
    os.close(theirs)
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, b"")


def test_json_after_the_double_dash_belongs_to_the_program_that_is_run(hermetic):
    done = hermetic("run", "x", "--purpose", "fun", "--", "tool", "--json")
    assert done.code == 2
    assert done.out == ""


def test_main_exits_with_the_code(monkeypatch):
    monkeypatch.setattr(main, "run", lambda _arguments: 7)
    with pytest.raises(SystemExit) as ended:
        main.main(["status"])
    assert ended.value.code == 7
