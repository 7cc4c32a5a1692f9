"""What a service tells of itself: every metric of the table, in a form that parsers take, with no name or id of anything in it."""

from __future__ import annotations

import json
import logging
import socket
import threading
import urllib.request
from io import StringIO
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from hermetic.cli import watched
from hermetic.custody.outbox import Wants
from hermetic.domain import config, telemetry_settings
from hermetic.domain.backing import write_state
from hermetic.domain.serving import SeparatedCustody
from hermetic.domain.unix_port import UnixPort
from hermetic.errors import (
    ApprovalNeeded,
    ConfigError,
    Conflict,
    Denied,
    HermeticError,
    InvalidName,
    Locked,
    NotAuthenticated,
    NotFound,
    PolicyDenied,
    RowTampered,
    SignatureError,
    StorageError,
    UsageError,
)
from hermetic.formats.findings import Finding
from hermetic.formats.messages.greeting import Hello
from hermetic.formats.messages.identity import CreateAuthority
from hermetic.formats.messages.measures import GatherMeasures
from hermetic.formats.messages.versions import OpenVersions
from hermetic.ids import Purpose
from hermetic.server.metrics import Figures, MetricsServer, address
from hermetic.telemetry import exposition, gauges, metrics, otlp, service_log
from hermetic.telemetry.measures import Measures, reason_of
from hermetic.telemetry.metrics import METRICS
from hermetic.telemetry.tracing import Trace, current
from hermetic.telemetry.watching import Watch
from tests import world as w
from tests.unit.domain.receivers import receiving
from tests.unit.server.serving import served

PLANTED = ("planted-asset", "planted-owner", "planted-run", "planted/path.csv")


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """A domain full of names that must not get out."""
    world = w.World.make(tmp_path_factory.mktemp("planted") / "world")
    port = world.port()
    w.enrol(port, "nobody", ("ml-engineer",))
    _, published = w.seal(port, "dataset/planted-asset", owner="planted-owner")
    w.open_(port, "dataset/planted-asset")
    port.close()
    yield world, (*PLANTED, published.version, published.asset, world.domain, "nobody")
    world.close()


@pytest.fixture
def custody(planted, monkeypatch):
    monkeypatch.setenv("HERMETIC_HOME", str(planted[0].root / "home"))
    with SeparatedCustody(planted[0].project) as opened:
        yield opened


def families(text):
    return {family.name: family for family in text_string_to_metric_families(text)}


def scrape(port, path="/metrics"):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=20) as answer:
        return answer.headers["Content-Type"], answer.read().decode()


def exercised(custody, place, watch):
    """Requests that are answered, refused and fail, over a real socket."""
    with served(custody, place) as server:
        server._watch = watch
        port = UnixPort(place, custody.domain)
        try:
            for request in (Hello(), OpenVersions(w.fresh(), ("dataset/planted-asset",), Purpose.DEBUG), GatherMeasures()):
                with pytest.raises(HermeticError):  # custody's own user is never answered
                    port.ask(request)
        finally:
            port.close()


def test_everything_exported_is_in_the_table_and_nothing_else_is_in_it(custody, planted, tmp_path):
    with watched.watched(custody, "127.0.0.1:0") as watch:
        figures = Figures(watch.measures, custody.measured, lambda: watched.findings(custody.connection))
        exercised(custody, tmp_path / "custody.sock", watch)
        watch.measures.turned_away("connections")
        watch.measures.notified("sent")
        watch.measures.released(0.003)
        figures.families()
        figures.close()
        with MetricsServer(("127.0.0.1", 0), figures) as server:
            kind, text = scrape(server.port)
            with pytest.raises(urllib.error.HTTPError):
                scrape(server.port, "/")
    assert kind == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    found = families(text)
    absent = {"hermetic_backup_age_seconds", "hermetic_certificates", "hermetic_certificate_days_left"}
    assert set(found) | absent == {metric.name for metric in METRICS}
    assert {name: family.type for name, family in found.items()} == {m.name: m.kind for m in METRICS if m.name in found}
    allowed = {metric.name: set(metric.labels) | ({"le"} if metric.kind == "histogram" else set()) for metric in METRICS}
    assert all(set(sample.labels) <= allowed[name] for name, family in found.items() for sample in family.samples)
    values = {sample.name: sample.value for family in found.values() for sample in family.samples if not sample.labels}
    assert (values["hermetic_custody_up"], values["hermetic_leases"], values["hermetic_releases_on_record"]) == (1, 2, 2)
    assert values["hermetic_request_duration_seconds_count"] == 3
    refused = {
        tuple(sample.labels.values()): sample.value for sample in found["hermetic_refusals"].samples if sample.name.endswith("_total")
    }
    assert refused == {("denied",): 3}
    assert "hermetic_findings" in found
    for word in planted[1]:
        assert word not in text, word


def test_certificates_backups_and_what_waits(tmp_path):
    """What the other domain has none of."""
    world = w.World.make(tmp_path / "world", backup=True)
    port = world.port()
    try:
        custodian = port._custodian
        custodian.outbox.wants = (Wants("chat"),)
        made = port.ask(CreateAuthority("services call")).authorities
        w.enrol(port, "nobody")
        w.enrol(port, "nobody", ())
        write_state(custodian, {"last_ms": str(w.START - w.HOUR), "anchor_size": "2", "log_size": "1"})
        measured = port.measured()
    finally:
        world.close()
    text = exposition.text(gauges.families(measured))
    found = {(sample.name, *sample.labels.values()): sample.value for family in families(text).values() for sample in family.samples}
    assert found["hermetic_certificates", "authority"] == len(made) > 0
    first = min(row.not_after_ms for row in made)
    assert found["hermetic_certificate_days_left", "authority"] == pytest.approx((first - w.START) / w.DAY, abs=0.01)
    assert found["hermetic_backup_age_seconds",] == 3600
    assert found["hermetic_log_unanchored_entries",] == found["hermetic_log_entries",] - 2
    assert (found["hermetic_notifications", "waiting"], found["hermetic_notifications", "dead"]) == (1, 0)


def test_labels_are_bounded():
    measures = Measures()
    for number in range(5000):
        measures.answered(f"word-{number}", "answered", 0.001)
        measures.answered(f"dataset/Patient {number}", "answered", 0.001)
        measures.turned_away(f"why-{number}")
        measures.refused_for(f"reason-{number}")
    text = exposition.text(measures.families())
    assert "atient" not in text
    assert len(text.splitlines()) < 1000
    found = families(text)
    assert [sample.labels for sample in found["hermetic_turned_away"].samples] == [{"why": "other"}]
    assert [sample.labels for sample in found["hermetic_refusals"].samples] == [{"reason": "other"}]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (PolicyDenied("x"), "policy-denied"),
        (Denied("x"), "denied"),
        (NotAuthenticated("x"), "not-authenticated"),
        (ApprovalNeeded("x"), "approval-needed"),
        (RowTampered("x"), "integrity"),
        (SignatureError("x"), "integrity"),
        (InvalidName("x"), "usage"),
        (Locked("x"), "locked"),
        (NotFound("x"), "not-found"),
        (StorageError("x"), "storage"),
        (HermeticError("x"), "failed"),
        (ValueError("x"), "failed"),
    ],
)
def test_reasons(error, reason):
    assert reason_of(error) == reason


def test_custody_that_cannot_be_asked_is_said_and_fails_nothing():
    def gone():
        raise StorageError("no")

    found = families(exposition.text(Figures(Measures(), gone).families()))
    assert found["hermetic_custody_up"].samples[0].value == 0
    assert "hermetic_leases" not in found


def test_custody_is_asked_now_and_then_only(custody):
    asked, now = [], [0.0]

    def gather():
        asked.append(1)
        return custody.measured()

    figures = Figures(Measures(), gather, clock=lambda: now[0])
    for at in (0.0, 1.0, 4.9, 5.1, 6.0):
        now[0] = at
        figures.families()
    assert len(asked) == 2


def test_findings_by_code_and_severity_are_looked_for_beside():
    looked = threading.Semaphore(0)

    def look():
        looked.release()
        return [Finding("backup-missing", "medium", "planted", "planted", "planted")] * 2

    figures = Figures(Measures(), lambda: (_ for _ in ()).throw(StorageError("no")), look)
    figures.families()
    assert looked.acquire(timeout=20)
    figures.close()
    text = exposition.text(figures.families())
    assert 'hermetic_findings{code="backup-missing",severity="medium"} 2' in text
    assert "planted" not in text


@pytest.mark.parametrize(
    "text", ["0.0.0.0:9464", "localhost:9464", "127.0.0.1", "127.0.0.1:x", "127.0.0.1:70000", "[::]:1", "10.0.0.1:1", ""]
)
def test_metrics_are_for_this_machine(text):
    with pytest.raises(UsageError):
        address(text)


def test_a_port_that_is_taken():
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(Conflict):
        MetricsServer(taken.getsockname(), Figures(Measures(), lambda: None))


# OpenTelemetry


def test_the_same_goes_to_a_collector_and_nothing_of_this_machine(custody, planted, monkeypatch):
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "planted=yes")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    measures = Measures()
    measures.answered("hello", "answered", 0.003)
    figures = Figures(measures, custody.measured)
    with receiving() as collector:
        exporter = otlp.Exporter(f"http://127.0.0.1:{collector.server_port}/v1/metrics", {"authorization": "Bearer secret"})
        collector.status = 200
        assert exporter.send(figures.families())
        collector.status, collector.where = 307, "/elsewhere"
        assert not exporter.send(figures.families())
        exporter.close()
    (path, headers, body), *rest = collector.got
    assert (path, headers["authorization"]) == ("/v1/metrics", "Bearer secret")
    assert {path for path, _, _ in rest} == {"/v1/metrics"}
    sent = ExportMetricsServiceRequest.FromString(body)
    (resource,) = sent.resource_metrics
    assert {item.key for item in resource.resource.attributes} == {"service.name", "service.version"}
    found = {metric.name: metric for metric in resource.scope_metrics[0].metrics}
    assert found["hermetic_requests"].sum.data_points[0].as_double + found["hermetic_requests"].sum.data_points[0].as_int == 1
    assert found["hermetic_request_duration_seconds"].histogram.data_points[0].count == 1
    assert found["hermetic_log_entries"].gauge.data_points
    for word in (*planted[1], socket.gethostname(), "planted"):
        assert word.encode() not in body, word


@pytest.mark.parametrize(
    "given",
    [
        [],
        {},
        {"otlp": "http://collector:4318/v1/metrics"},
        {"otlp": "https://u:p@h/v1/metrics"},
        {"otlp": "https://h:x/"},
        {"otlp": 7},
        {"otlp": "https://h/", "headers": "relative"},
        {"otlp": "https://h/", "every": 1},
        {"otlp": "https://h/", "every": True},
        {"otlp": "https://h/", "token": "secret"},
    ],
)
def test_telemetry_settings_that_are_refused(given):
    with pytest.raises(ConfigError):
        telemetry_settings.read(given, "config.yaml")


def test_headers_come_from_a_private_file(tmp_path):
    path = tmp_path / "headers"
    path.touch(0o600)
    path.write_text("authorization: Bearer secret\n\nx-scope: a\n")
    given = {"otlp": "https://h/v1/metrics", "headers": str(path), "every": 30}
    settings = telemetry_settings.read(given, "")
    assert telemetry_settings.headers_of(settings) == {"authorization": "Bearer secret", "x-scope": "a"}
    tmp_path.chmod(0o700)
    config.save(tmp_path, config.UserConfig(telemetry=settings))
    assert config.load(tmp_path).telemetry == settings
    path.write_text("no header\n")
    with pytest.raises(ConfigError):
        telemetry_settings.headers_of(settings)
    path.chmod(0o644)
    with pytest.raises(HermeticError):
        telemetry_settings.headers_of(settings)


# log lines


@pytest.fixture
def lines():
    """What is logged, as the formatter writes it."""
    root, before = logging.getLogger(), (logging.getLogger().handlers[:], logging.getLogger().level)
    stream = StringIO()
    yield stream
    root.handlers[:], root.level = before[0], before[1]
    root.setLevel(before[1])


def test_a_line_for_each_request_without_names_or_bodies(custody, planted, tmp_path, lines):
    service_log.set_up("json", lines)
    exercised(custody, tmp_path / "custody.sock", Watch())
    found = [json.loads(line) for line in lines.getvalue().splitlines()]
    told = [item for item in found if item["event"] == "requests"]
    assert [(item["request"], item["outcome"], item["reason"], item["level"]) for item in told] == [
        ("hello", "refused", "denied", "info"),
        ("open-versions", "refused", "denied", "info"),
        ("gather-measures", "refused", "denied", "info"),
    ]
    assert len({item["principal"] for item in told}) == 1
    assert len({item["trace"] for item in told}) == 3
    names = {"time", "level", "event", "request", "outcome", "reason", "duration_ms", "principal", "trace"}
    assert [set(item) - names for item in told] == [{"release"}, set(), set()]
    assert all(names <= set(item) for item in told)
    for word in (*planted[1], "os:0"):
        assert word not in lines.getvalue(), word


def test_pseudonyms_are_another_process_another():
    assert Watch().pseudonym("os:x:1") != Watch().pseudonym("os:x:1")


def test_lines_for_people_are_lines(lines):
    service_log.set_up("text", lines)
    logging.getLogger("hermetic.server").warning("two\nlines \x1b[31m")
    logging.getLogger("hermetic.requests").info("request", extra={"fields": {"request": "hello", "principal": None}})
    first, second = lines.getvalue().splitlines()
    assert first.endswith("WARNING server two\\nlines \\x1b[31m")
    assert second.endswith("INFO requests request=hello")


def test_a_defect_is_told_with_its_traceback(lines):
    service_log.set_up("json", lines)
    try:
        int("x")
    except ValueError:
        logging.getLogger("hermetic.server").exception("defect %s", "ab12")
    (line,) = lines.getvalue().splitlines()
    assert "ValueError: invalid literal" in json.loads(line)["traceback"]


def test_what_leaves_the_block_counts_as_failed():
    watch = Watch()
    with pytest.raises(ZeroDivisionError), watch.request(Hello(), principal=None):
        raise ZeroDivisionError
    text = exposition.text(watch.measures.families())
    assert 'hermetic_requests_total{request="hello",outcome="failed"} 1' in text
    assert "hermetic_requests_at_work 0" in text


# traces

THEIRS = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def test_a_trace_is_taken_and_passed_on():
    with Watch().request(Hello(), principal=None, traceparent=THEIRS) as seen:
        assert current.get() is seen.trace
    assert current.get() is None
    version, trace, span, flags = seen.trace.header.split("-")
    assert (version, trace, flags) == ("00", "4bf92f3577b34da6a3ce929d0e0e4736", "01")
    assert span != "00f067aa0ba902b7"


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        THEIRS.upper(),
        THEIRS + "-x",
        THEIRS.replace("00-", "ff-", 1),
        f"00-{'0' * 32}-00f067aa0ba902b7-01",
        f"00-4bf92f3577b34da6a3ce929d0e0e4736-{'0' * 16}-01",
        "cc-" + THEIRS[3:] + "-" + "x" * 1000,
        THEIRS + "\r\nX: y",
    ],
)
def test_what_is_no_trace_begins_a_new_one(header):
    made = Trace.of(header)
    assert made.trace != "4bf92f3577b34da6a3ce929d0e0e4736"
    assert len(made.header) == 55


def test_a_later_version_is_read_as_far_as_it_is_known():
    assert Trace.of("cc-" + THEIRS[3:] + "-what").trace == "4bf92f3577b34da6a3ce929d0e0e4736"


# the documentation


def test_the_table_in_the_documentation_is_that_of_the_code():
    page = (Path(__file__).resolve().parents[3] / "docs" / "how-to" / "watch-the-service.md").read_text(encoding="utf-8")
    rows = [[cell.strip(" `") for cell in line.strip("|").split("|")] for line in page.splitlines() if line.startswith("| `hermetic_")]
    assert [row for row in rows if len(row) == 4] == [[m.name, m.kind, ", ".join(m.labels), m.help] for m in METRICS]
    assert all(set(m.labels) <= set(metrics.LABELS) for m in METRICS)
