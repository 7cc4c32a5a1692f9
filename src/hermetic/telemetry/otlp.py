"""Families to an OpenTelemetry collector: OTLP over HTTP, with the library of the extra [telemetry]. Only if the settings say so.

Nothing of the environment goes along: no host name, no OTEL_RESOURCE_ATTRIBUTES, no proxy; redirects are not followed. A collector
that is out of reach costs a warning: what it misses is in the next export, since counters only grow.
"""

from __future__ import annotations

import logging
import threading
import time
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

from hermetic.errors import Unsupported
from hermetic.telemetry.metrics import BUCKETS, COUNTER, HISTOGRAM, Histogram

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from hermetic.telemetry.metrics import Family

TIMEOUT_S: Final = 10.0
_log = logging.getLogger("hermetic.telemetry")


class Exporter:
    """Sends families to one endpoint."""

    def __init__(self, endpoint: str, headers: Mapping[str, str]) -> None:
        """Raises Unsupported without the library."""
        try:
            import requests  # noqa: PLC0415 - an extra
            from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter  # noqa: PLC0415 - an extra
        except ImportError:
            raise Unsupported("OpenTelemetry's library is not installed", hint="pip install '.[telemetry]'") from None
        session = requests.Session()
        session.trust_env, session.max_redirects = False, 0
        self._exporter = OTLPMetricExporter(endpoint=endpoint, headers=dict(headers), timeout=TIMEOUT_S, session=session)
        self._since = time.time_ns()

    def send(self, families: Iterable[Family]) -> bool:
        """Send once; tell whether it was taken."""
        from opentelemetry.sdk.metrics.export import MetricExportResult  # noqa: PLC0415 - an extra

        return self._exporter.export(self._data(families), timeout_millis=TIMEOUT_S * 1000) is MetricExportResult.SUCCESS

    def close(self) -> None:
        """Let go of the connection."""
        self._exporter.shutdown(timeout_millis=1000)

    def _data(self, families: Iterable[Family]) -> Any:
        from opentelemetry.sdk.metrics import export  # noqa: PLC0415 - an extra
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 - an extra
        from opentelemetry.sdk.util.instrumentation import InstrumentationScope  # noqa: PLC0415 - an extra

        now = time.time_ns()
        metrics = [
            export.Metric(name=family.metric.name, description=family.metric.help, unit="", data=self._points(export, family, now))
            for family in families
        ]
        scope = export.ScopeMetrics(scope=InstrumentationScope("hermetic"), metrics=metrics, schema_url="")
        about = Resource({"service.name": "hermetic", "service.version": version("hermetic")})
        return export.MetricsData([export.ResourceMetrics(resource=about, scope_metrics=[scope], schema_url="")])

    def _points(self, export: Any, family: Family, now: int) -> Any:
        cumulative = export.AggregationTemporality.CUMULATIVE
        points = []
        for point in family.points:
            span = {
                "attributes": dict(zip(family.metric.labels, point.labels, strict=True)),
                "start_time_unix_nano": self._since,
                "time_unix_nano": now,
            }
            if isinstance(point.value, Histogram):
                points.append(_histogram(export, point.value, span))
            else:
                points.append(export.NumberDataPoint(value=point.value, **span))
        if family.metric.kind == HISTOGRAM:
            return export.Histogram(points, cumulative)
        return export.Sum(points, cumulative, is_monotonic=True) if family.metric.kind == COUNTER else export.Gauge(points)


def _histogram(export: Any, value: Histogram, span: dict[str, Any]) -> Any:
    return export.HistogramDataPoint(
        count=sum(value.counts),
        sum=value.total,
        bucket_counts=list(value.counts),
        explicit_bounds=list(BUCKETS),
        min=0.0,
        max=0.0,
        **span,
    )


class ExportThread:
    """Sends every so many seconds, and once more at the end."""

    def __init__(self, exporter: Exporter, families: Callable[[], Iterable[Family]], every_s: float) -> None:
        self._exporter, self._families, self._every_s = exporter, families, every_s
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="telemetry", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Send once more, and end."""
        self._stopping.set()
        self._thread.join()
        self._exporter.close()

    def _run(self) -> None:
        while True:
            over = self._stopping.wait(self._every_s)
            if not self._exporter.send(list(self._families())):
                _log.warning("the telemetry endpoint did not take the metrics")
            if over:
                return
