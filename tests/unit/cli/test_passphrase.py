"""Passphrases come from a private file or a terminal, from nowhere else."""

from __future__ import annotations

import getpass
import os

import pytest

from hermetic.cli import passphrase
from hermetic.errors import Denied, NotFound, UsageError
from hermetic.keys import passphrase_wrap


def written(tmp_path, content, mode=0o600):
    path = tmp_path / "passphrase"
    path.write_bytes(content)
    path.chmod(mode)
    return path


@pytest.mark.parametrize("content", [b"correct horse", b"correct horse\n", b"correct horse\r\n"])
def test_a_private_file_is_read_without_its_line_end(tmp_path, content):
    assert bytes(passphrase.asker(written(tmp_path, content))().view()) == b"correct horse"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o666])
def test_a_file_that_others_may_read_is_refused(tmp_path, mode):
    with pytest.raises(Denied) as refused:
        passphrase.from_file(written(tmp_path, b"x", mode))
    assert refused.value.hint.startswith("chmod 600")


@pytest.mark.parametrize("content", [b"", b"\n", b"two\nlines\n", b"x" * 1025])
def test_a_file_without_one_line_is_refused(tmp_path, content):
    with pytest.raises(UsageError):
        passphrase.from_file(written(tmp_path, content))


def test_links_pipes_folders_and_missing_files_are_refused(tmp_path):
    link, pipe = tmp_path / "link", tmp_path / "pipe"
    link.symlink_to(written(tmp_path, b"x"))
    os.mkfifo(pipe, 0o600)
    with pytest.raises(NotFound):
        passphrase.from_file(link)
    with pytest.raises(UsageError):
        passphrase.from_file(pipe)
    with pytest.raises(UsageError):
        passphrase.from_file(tmp_path)
    with pytest.raises(NotFound):
        passphrase.from_file(tmp_path / "nothing")


def test_nobody_is_asked_without_a_terminal(monkeypatch):
    monkeypatch.setattr(getpass, "getpass", lambda *_, **__: pytest.fail("asked"))
    with pytest.raises(UsageError) as refused:
        passphrase.asker(None)("passphrase: ")
    assert refused.value.hint == "use --passphrase-file FILE (mode 0600)"


def test_whoever_needs_another_passphrase_is_told_its_own_option():
    with pytest.raises(UsageError, match="a recovery passphrase is needed") as refused:
        passphrase.asker(None, option=passphrase.RECOVERY_OPTION)()
    assert refused.value.hint == "use --recovery-passphrase-file FILE (mode 0600)"


@pytest.fixture
def typed(monkeypatch):
    """What somebody types, one answer after the other; the prompts they saw."""
    answers, prompts = [], []

    def answer(prompt, **_):
        prompts.append(prompt)
        return answers.pop(0)

    monkeypatch.setattr(passphrase, "has_terminal", lambda: True)
    monkeypatch.setattr(getpass, "getpass", answer)
    return answers, prompts


def test_on_a_terminal_a_new_passphrase_is_asked_twice(typed):
    answers, prompts = typed
    answers += ["long enough now"] * 2
    assert bytes(passphrase.asker(None, confirm=True, label="for the root")("new: ").view()) == b"long enough now"
    assert prompts == ["for the root (at least 12 characters): ", "for the root, again: "]


def test_a_new_passphrase_that_will_not_do_is_asked_for_again(typed, capsys):
    answers, _ = typed
    answers += ["short", "long enough now", "long enough nwo", *["long enough now"] * 2]
    assert bytes(passphrase.asker(None, confirm=True)("new: ").view()) == b"long enough now"
    assert capsys.readouterr().err.splitlines() == [
        "a passphrase has at least 12 characters: five or six random words are easy to keep and hard to guess",
        "the two passphrases differ",
    ]


def test_asking_for_a_new_passphrase_ends(typed):
    answers, _ = typed
    answers += ["one", "two", "long enough now", "long enough nwo"]
    with pytest.raises(UsageError, match="differ"):
        passphrase.asker(None, confirm=True)("new: ")
    assert not answers


def test_an_empty_passphrase_opens_nothing(typed):
    answers, _ = typed
    answers += [""]
    with pytest.raises(UsageError, match="empty"):
        passphrase.asker(None)()


@pytest.mark.parametrize("confirm", [False, True])
def test_an_input_that_ends_is_no_defect(monkeypatch, confirm):
    def ended(*_, **__):
        raise EOFError

    monkeypatch.setattr(passphrase, "has_terminal", lambda: True)
    monkeypatch.setattr(getpass, "getpass", ended)
    with pytest.raises(UsageError, match="no passphrase was typed"):
        passphrase.asker(None, confirm=confirm)()


def test_the_shortest_new_passphrase_is_that_of_the_wrap():
    assert passphrase.MINIMUM == passphrase_wrap.MINIMUM
