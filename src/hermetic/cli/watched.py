"""What the services of `hermetic serve` are watched by: log lines, metrics on a loopback address, and export, as asked for."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import click

from hermetic.assets.naming import document_in_force
from hermetic.assets.session import Session
from hermetic.domain import telemetry_settings
from hermetic.evidence import status
from hermetic.evidence.machine import swap_areas
from hermetic.evidence.surroundings import Anchoring, Surroundings
from hermetic.formats.messages.domain import GatherFacts
from hermetic.server.metrics import Figures, MetricsServer, address
from hermetic.telemetry import service_log
from hermetic.telemetry.otlp import Exporter, ExportThread
from hermetic.telemetry.watching import Watch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hermetic.domain.connect import Connection
    from hermetic.domain.serving import SeparatedCustody
    from hermetic.formats.findings import Finding


@contextmanager
def watched(custody: SeparatedCustody, metrics: str | None) -> Iterator[Watch]:
    """Yield what servers tell of requests; metrics are there while it lasts. Raises UsageError, Conflict, ConfigError, Unsupported."""
    watch = Watch()
    custody.notifier.count = watch.measures.notified
    figures = Figures(watch.measures, custody.measured, lambda: findings(custody.connection))
    with ExitStack() as stack:
        stack.callback(figures.close)
        if metrics is not None:
            server = stack.enter_context(MetricsServer(address(metrics), figures))
            click.echo(f"hermetic: metrics at http://{metrics.rpartition(':')[0]}:{server.port}/metrics", err=True)
        settings = custody.connection.config.telemetry
        if settings is not None:
            exporter = Exporter(settings.endpoint, telemetry_settings.headers_of(settings))
            export = ExportThread(exporter, figures.families, settings.every_s)
            export.start()
            stack.callback(export.stop)
        yield watch


def findings(connection: Connection) -> tuple[Finding, ...]:
    """Return the findings that `status` has without looking into stores and folders. Raises HermeticError."""
    facts = connection.ask(GatherFacts())
    around = Surroundings(
        root=str(connection.project.root),
        document=document_in_force(Session(connection)),
        edited_policy=connection.project.bundle().digest(),
        anchoring=Anchoring(pinned_size=connection.pins.size),
        swap=swap_areas(),
    )
    return status.report(facts, connection.welcome, around).findings


def log_as(style: str) -> None:
    """Write log lines as `json` or `text` from now on."""
    service_log.set_up(style)
