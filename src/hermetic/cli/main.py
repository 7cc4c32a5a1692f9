"""The program `hermetic`: run a command, and turn every way it can end into lines on stderr and an exit code."""

from __future__ import annotations

import gc
import os
import resource
import sys
from typing import TYPE_CHECKING

import click

from hermetic.cli import failure
from hermetic.cli.lazy import RootGroup
from hermetic.errors import HermeticError

if TYPE_CHECKING:
    from collections.abc import Sequence

COMPLETION = "_HERMETIC_COMPLETE"  # eval "$(_HERMETIC_COMPLETE=bash_source hermetic)"
EPILOG = "Exit codes: 0 ok, 1 failed, 2 usage, 3 denied, 4 integrity, 5 approval needed, 6 key service unavailable, 7 findings."


def _print_version(ctx: click.Context, _parameter: click.Parameter, wanted: bool) -> None:  # noqa: FBT001 - click calls it so
    if wanted:
        from importlib.metadata import version  # noqa: PLC0415 - costs more than the rest of `--help`

        click.echo(f"hermetic {version('hermetic')}")
        ctx.exit()


@click.group(cls=RootGroup, epilog=EPILOG, context_settings={"max_content_width": 100})
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="Show the version.")
@click.option("-C", "directory", metavar="DIR", help="Work as if started in DIR.", type=click.Path(exists=True, file_okay=False))
@click.option("--debug", is_flag=True, help="Show the traceback of a failure.")
def root(directory: str | None, *, debug: bool) -> None:  # noqa: ARG001 - main() reads --debug before click does
    """Keep everything an AI pipeline touches sealed from ingestion to inference, and prove it."""
    if directory is not None:
        os.chdir(directory)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line `arguments` (default: the process's own) and exit with its code."""
    gc.set_threshold(
        100_000, 50, 50
    )  # imports make many objects that stay: an eighth of a short command's time went into counting them
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))  # a crash must not write keys to a disk
    given = list(sys.argv[1:] if arguments is None else arguments)
    sys.exit(run(given))


def run(arguments: list[str]) -> int:
    """Run the command line `arguments` and return its exit code. Lets an exception pass that is not an error of ours or of click."""
    own = arguments[: arguments.index("--")] if "--" in arguments else arguments
    as_json, debug = "--json" in own, "--debug" in own or bool(os.environ.get("HERMETIC_DEBUG"))
    failure.install_hook(debug=debug)
    try:
        code = _invoke(arguments)
        sys.stdout.flush()
    except HermeticError as error:
        return failure.report(error, as_json=as_json, debug=debug)
    except click.ClickException as error:
        return failure.report_usage(error, as_json=as_json)
    except (KeyboardInterrupt, click.Abort):
        click.echo("hermetic: interrupted", err=True)
        return failure.INTERRUPTED
    except BrokenPipeError:
        # Python would complain once more when it closes stdout at exit: give it somewhere to write.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return failure.PIPE_CLOSED
    return code


def _invoke(arguments: list[str]) -> int:
    """Run what `arguments` name. Not `root.main`, which would turn a closed pipe into exit code 1."""
    if instruction := os.environ.get(COMPLETION):
        return _complete(instruction)
    try:
        with root.make_context("hermetic", arguments) as context:
            code = root.invoke(context)
    except click.exceptions.Exit as ended:
        return ended.exit_code
    return code if isinstance(code, int) else 0


def _complete(instruction: str) -> int:
    """Answer the shell, which wants to complete a command line."""
    from click.shell_completion import shell_complete  # noqa: PLC0415 - only the shell asks

    return shell_complete(root, {}, "hermetic", COMPLETION, instruction)
