"""`hermetic bench`: what sealing costs on this machine."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hermetic.cli import findings as findings_blocks
from hermetic.cli.blocks import Block, Facts, Mark, Table
from hermetic.cli.files import write_new
from hermetic.cli.options import ANY_PATH, byte_count, exit_with, output
from hermetic.cli.session import workspace
from hermetic.cli.words import count, size
from hermetic.errors import Conflict, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hermetic.bench.budgets import Limit
    from hermetic.bench.measuring import Summary
    from hermetic.bench.report import Figure, Report
    from hermetic.bench.running import Plan
    from hermetic.bench.shape import Shape
    from hermetic.cli.out import Out
    from hermetic.formats.findings import Finding

_NEAR, _FAR = 1.1, 2.0  # ratios shown as good up to the one, as worth a look above the other


def _numbers(value: str) -> tuple[int, ...]:
    """Read `1,2,8`."""
    words = value.split(",")
    if not all(word.isascii() and word.isdecimal() and 0 < int(word) <= 1024 for word in words):
        raise click.BadParameter(f"{value[:40]!r} is not a list of thread counts: write 1,2")
    return tuple(dict.fromkeys(int(word) for word in words))


def _words(value: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(word for word in value.split(",") if word))


@click.command()
@click.argument("file", required=False, type=ANY_PATH)
@click.option("--like", metavar="REF", help="Synthetic files with the sizes of a version; only the catalogue is read.")
@click.option("--size", "total", type=byte_count, metavar="SIZE", help="Synthetic bytes in all; 256MiB unless --like says otherwise.")
@click.option("--only", "works", type=_words, metavar="WORKS", help="Some of seal,expose,load,lazy,tensors,tensor,epoch,release.")
@click.option(
    "--suite",
    "suites",
    type=_words,
    metavar="SUITES",
    default="blake3,sha256",
    show_default=True,
    help="Suites by digest, or by full name.",
)
@click.option("--threads", type=_numbers, metavar="COUNTS", help="Thread counts; 1, 2, 4, … up to the processors by default.")
@click.option("--rounds", type=click.IntRange(min=7), default=7, show_default=True, help="Measurements of each, in turns; at least 7.")
@click.option("--folder", type=ANY_PATH, metavar="DIR", help="Where the temporary folder is made; TMPDIR by default.")
@click.option("--plot", type=ANY_PATH, metavar="FILE.svg", help="Draw the figures.")
@click.option("--budget", type=ANY_PATH, metavar="FILE", help="Compare with limits; exits with 7 when one is exceeded.")
@click.option("--record", type=ANY_PATH, metavar="FILE", help="Write limits that this run keeps within, with some slack.")
@output
def bench(  # noqa: PLR0913 - one argument for each option
    out: Out,
    *,
    file: Path | None,
    like: str | None,
    total: int | None,
    works: tuple[str, ...] | None,
    suites: tuple[str, ...],
    threads: tuple[int, ...] | None,
    rounds: int,
    folder: Path | None,
    plot: Path | None,
    budget: Path | None,
    record: Path | None,
) -> int:
    """Measure what sealing costs here, against plain files.

    Seal, expose, load, a lazy read, a training epoch and the release of a key, each in turns with the same work on plain files, under
    each suite and thread count: medians, spread, peak memory. FILE may be a file or folder of yours; it is only read. Everything is
    done in a throw-away domain in a temporary folder, which is removed at the end.
    """
    from hermetic.bench import budgets, running  # noqa: PLC0415 - only a benchmark needs it

    for path in (plot, record):
        _must_be_new(path)
    plan = _plan(_shape(file, like, total), works, suites, threads=threads, rounds=rounds, folder=folder)
    limits: tuple[Limit, ...] = ()
    if budget is not None:
        limits = budgets.read(budget)
        budgets.check_names(limits, running.metrics(plan), str(budget))
    with out.progress("measuring", sum(1 for _ in plan.cells())) as advance:
        report = running.run(plan, advance=advance)
    over = budgets.check(limits, report, str(budget)) if budget is not None else ()
    _say(out, report, None if budget is None else over)
    if plot is not None:
        _draw(report, plot, out)
    if record is not None:
        _record(report, record, out)
    return exit_with(over)


def _must_be_new(path: Path | None) -> None:
    if path is not None and path.exists():
        raise Conflict(f"{path} exists already", hint="name another file, or remove it first")
    if path is not None and not path.parent.is_dir():
        raise UsageError(f"there is no folder {str(path.parent)!r}", hint="make it first")


def _shape(file: Path | None, like: str | None, total: int | None) -> Shape:
    from hermetic.bench import shape  # noqa: PLC0415 - see bench

    if file is not None:
        if like is not None or total is not None:
            raise UsageError("a file has the size it has", hint="leave out --like and --size, or FILE")
        return shape.of_path(file)
    if like is None:
        return shape.default(total) if total is not None else shape.default()
    with workspace() as h:
        sizes = [member.length for member in h.members(like)]
    return shape.of_sizes(f"like {like}", sizes, total=total)


def _plan(
    shape: Shape,
    works: tuple[str, ...] | None,
    suites: tuple[str, ...],
    *,
    threads: tuple[int, ...] | None,
    rounds: int,
    folder: Path | None,
) -> Plan:
    from hermetic.bench import domains, running  # noqa: PLC0415 - see bench

    names = tuple(dict.fromkeys(domains.suite_name(word) for word in suites))
    if not names or works == ():
        raise UsageError("there is nothing to measure", hint="leave out --only and --suite")
    chosen = threads if threads is not None else running.thread_counts(running.processors())
    where = folder if folder is not None else Path(tempfile.gettempdir())
    wanted = running.default_works(shape) if works is None else works
    return running.Plan(shape, tuple(wanted), names, threads=chosen, rounds=rounds, folder=where)


def _draw(report: Report, path: Path, out: Out) -> None:
    from hermetic.bench.plot import render  # noqa: PLC0415 - see bench

    write_new(path, render(report).encode("utf-8"))
    out.note(f"wrote {path}")


def _record(report: Report, path: Path, out: Out) -> None:
    from hermetic.bench.budgets import record  # noqa: PLC0415 - see bench

    text = record(report)
    write_new(path, text.encode("utf-8"))
    out.note(f"wrote {path}")


def _say(out: Out, report: Report, over: Sequence[Finding] | None) -> None:
    machine = report.machine
    document = {
        "label": report.label,
        "sizes": report.sizes,
        "rounds": report.rounds,
        "epochs_through": report.loader,
        "machine": machine,
        "figures": [figure.to_json() for figure in report.figures],
        "notes": report.notes(),
        "over_budget": over,
    }
    columns = ("work", "suite", "threads", "sealed", "spread", "speed", "plain", "ratio", "memory", "plain memory", "")
    right = frozenset(columns[2:-1])
    blocks: list[Block] = [
        Facts(
            [
                ("measured", f"{report.label}: {size(sum(report.sizes))} in {count(len(report.sizes), 'file')}"),
                (
                    "machine",
                    f"{machine.processor}, {count(machine.processors, 'processor')}, {machine.file_system or 'unknown file system'}",
                ),
                ("how", f"medians of {report.rounds} in turns; epochs through {report.loader}"),
            ]
        ),
        Table(columns, [_row(figure) for figure in report.figures], right),
    ]
    if over is not None:
        blocks += findings_blocks.blocks(over, title="Over budget", none="Every metric is within its budget.")
    out.emit(document, *blocks)
    for note in report.notes():
        out.warn(note)


def _row(figure: Figure) -> tuple[str | int | Mark | None, ...]:
    style = "good" if figure.ratio <= _NEAR else "warn" if figure.ratio > _FAR else "dim"
    one = figure.work == "release"
    return (
        Mark(figure.work, "name"),
        None if one else figure.suite,
        None if one else figure.threads or None,
        _time(figure.sealed.median),
        f"{figure.sealed.spread:.0%}",
        _speed(figure),
        _time(figure.plain.median),
        Mark(f"{figure.ratio:.2f}", style),
        _memory(figure.sealed),
        _memory(figure.plain),
        Mark("noisy", "warn") if figure.noisy else " ",
    )


def _time(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1000:.3g} ms"


def _speed(figure: Figure) -> str:
    if not figure.bytes:
        return f"{1 / figure.sealed.median:,.0f}/s"
    return f"{size(round(figure.bytes / figure.sealed.median))}/s"


def _memory(side: Summary) -> str | None:
    return None if side.memory is None else size(side.memory)
