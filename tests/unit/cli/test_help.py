"""The table of commands, help, and what `hermetic --help` may not import."""

from __future__ import annotations

import subprocess
import sys

import click
import pytest

from hermetic.cli.commands import COMMANDS
from hermetic.cli.main import root
from hermetic.ids import Purpose


def commands(group=root, path=()):
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


ALL = dict(commands())
STAYS = {("serve",)}  # runs until it is stopped, and has no result to write as one document


@pytest.mark.parametrize("name", COMMANDS)
def test_the_table_says_what_the_command_says(name):
    command = ALL[name,]
    assert command.name == name
    assert command.help.partition("\n\n")[0].replace("\n", " ") == COMMANDS[name].summary


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_every_command_has_help_and_every_leaf_has_json(path):
    command = ALL[path]
    assert command.help
    if not isinstance(command, click.Group) and path not in STAYS:
        assert any("--json" in parameter.opts for parameter in command.params)


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_no_option_takes_a_secret(path):
    for parameter in ALL[path].params:
        for name in parameter.opts:
            secret = any(word in name for word in ("passphrase", "secret", "password", "token"))
            assert not secret or name.endswith("-file")


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_every_option_says_what_it_does(path):
    assert all(item.help for item in ALL[path].params if isinstance(item, click.Option))


def test_purposes_are_those_of_the_design():
    purpose = next(item for item in ALL["cat",].params if item.name == "purpose")
    assert list(purpose.type.choices) == [word.value for word in Purpose]


def test_help_lists_every_command(hermetic):
    done = hermetic("--help")
    assert done.code == 0
    for name in COMMANDS:
        assert f"\n  {name} " in done.out


def test_help_imports_nothing_heavy():
    heavy = {"sqlalchemy", "cryptography", "rich", "cedarpy", "pydantic", "ruamel", "hermetic.domain", "hermetic.assets"}
    code = (
        f"import sys; from hermetic.cli.main import run; run(['--help']); print(sorted({heavy} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
