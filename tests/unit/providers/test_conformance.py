"""The conformance report: what is tried, and what comes out for providers that do not keep their word."""

from __future__ import annotations

import itertools

import pytest

from hermetic.errors import KeyServiceUnavailable
from hermetic.keys.provider import RootId
from hermetic.providers import conformance, registry
from hermetic.providers.conformance import BEYOND, CORE, Outcome, Probe, Protection
from hermetic.providers.place import Place
from hermetic.testing.fake_provider import FakeProvider, Fault

DOMAIN, ROOT = "d" + "a" * 25, RootId("r" + "a" * 25)


class Backend:
    """What a backend module may offer."""

    def __init__(self, probes=(), protections=(), neighbour=None):
        self._probes, self._protections, self._neighbour = probes, protections, neighbour

    def probes(self, _provider):
        if isinstance(self._probes, Exception):
            raise self._probes
        yield from self._probes

    def protections(self, _provider):
        return self._protections

    def neighbour(self, _provider):
        return self._neighbour


@pytest.fixture
def backend():
    yield lambda *args, **given: registry.register("fake", Backend(*args, **given))
    registry.register("fake", None)


def outcomes(report):
    return {probe.name: probe.outcome for probe in report.probes}


def contradictions(report):
    return [probe.name for probe in report.probes if probe.contradicts]


def measure(provider):
    """With a clock that goes a millisecond a look."""
    ticks = itertools.count(step=1_000_000)
    return conformance.measure(provider, seconds=0.01, clock=lambda: next(ticks))


def test_a_local_root(tmp_path):
    tmp_path.chmod(0o700)
    provider = registry.create_root("local:insecure-file", Place(tmp_path, DOMAIN, ROOT))
    report = measure(provider)
    found = outcomes(report)
    assert {found[name] for name in CORE} == {"enforced"}
    assert {found[name] for name in BEYOND} == {"not enforced"}
    assert contradictions(report) == [], "nobody promised those"
    assert report.root_in_process
    assert (report.wraps_per_s, report.wrap_p50_us) == (1000, 1000)
    assert ("wrap", "AES-256-GCM", True) in {(item.part, item.algorithm, item.lasts) for item in report.protections}
    assert [pair.name for pair in report.findings] == ["insecure-root"]


def test_what_a_backend_says_is_believed_and_what_it_does_not_say_is_not_checkable(backend):
    probes = [
        Probe(conformance.EXTRACTION, Outcome.ENFORCED, "the token refused C_GetAttributeValue", promised=True),
        Probe(conformance.AUDIT, Outcome.NOT_ENFORCED, "no audit device is on", promised=True),
        Probe("replication", Outcome.NOT_ENFORCED, "one region only"),
    ]
    backend(probes, [Protection("path", "TLS 1.3, X25519MLKEM768", lasts=True, how="the handshake")], FakeProvider())
    report = measure(FakeProvider())
    assert {outcomes(report)[name] for name in CORE} == {"enforced"}
    assert outcomes(report)[conformance.EXTRACTION] == "enforced"
    assert outcomes(report)[conformance.DELETION_WAIT] == "not checkable here"
    assert outcomes(report)["replication"] == "not enforced"
    assert contradictions(report) == [conformance.AUDIT]
    assert [item.algorithm for item in report.protections] == ["TLS 1.3, X25519MLKEM768"]


@pytest.mark.parametrize(
    ("fault", "name"), [(Fault.FORGETS_CONTEXT, conformance.OTHER_CONTEXT), (Fault.WRONG_SECRET, conformance.ROUND_TRIP)]
)
def test_a_provider_that_breaks_the_protocol(backend, fault, name):
    backend()
    provider = FakeProvider()
    provider.fault = fault
    report = measure(provider)
    assert contradictions(report) == [name] if fault is Fault.FORGETS_CONTEXT else name in contradictions(report)


def test_a_root_that_opens_the_wraps_of_another(backend):
    provider = FakeProvider()
    backend(neighbour=FakeProvider(root=provider._root))
    assert contradictions(measure(provider)) == [conformance.OTHER_ROOT]


def test_without_a_second_root_it_is_not_checkable(backend):
    backend()
    report = measure(FakeProvider())
    assert outcomes(report)[conformance.OTHER_ROOT] == "not checkable here"
    assert [(item.algorithm, item.lasts) for item in report.protections] == [("unknown", None)]
    assert contradictions(report) == []


@pytest.mark.parametrize("fault", [Fault.UNREACHABLE, Fault.LOCKED])
def test_one_that_is_away_is_not_tried(backend, fault):
    backend([Probe("audit", Outcome.NOT_ENFORCED, "x", promised=True)])
    provider = FakeProvider()
    provider.fault = fault
    report = measure(provider)
    assert (report.status, report.probes, report.wraps_per_s) == (fault.value, (), 0)
    assert provider.calls == []


def test_one_that_goes_away_meanwhile(backend):
    backend()
    provider = FakeProvider()
    provider.fail_next(Fault.UNREACHABLE)
    report = measure(provider)
    assert outcomes(report)[conformance.ROUND_TRIP] == "not checkable here"
    assert contradictions(report) == []
    assert report.wraps_per_s == 0


def test_probes_that_fail_are_no_error(backend):
    backend(KeyServiceUnavailable("the audit log cannot be read"))
    report = measure(FakeProvider())
    assert outcomes(report)["probes-of-backend"] == "not checkable here"


def test_no_secret_in_the_report(tmp_path):
    tmp_path.chmod(0o700)
    provider = registry.create_root("local:insecure-file", Place(tmp_path, DOMAIN, ROOT))
    root = bytes(provider.load_root().view())
    assert root.hex() not in repr(measure(provider))
    assert repr(root) not in repr(measure(provider))


def test_a_root_is_wiped_with_what_a_crash_left_of_it(tmp_path):
    tmp_path.chmod(0o700)
    place = Place(tmp_path, DOMAIN, ROOT)
    registry.create_root("local:insecure-file", place)
    left = tmp_path / f".root-{ROOT}.json.{'0' * 16}"
    left.write_bytes(b"half of a root")
    (tmp_path / "hard-link").hardlink_to(tmp_path / f"root-{ROOT}.json")
    before = (tmp_path / "hard-link").read_bytes()
    assert registry.remove_root("local:insecure-file", place) == "its file was overwritten and removed"
    assert registry.remove_root("local:insecure-file", place) == "its file was gone already"
    assert {path.name for path in tmp_path.iterdir()} == {"hard-link"}
    after = (tmp_path / "hard-link").read_bytes()
    assert len(after) == len(before)
    assert b"secret" not in after


def test_a_provider_without_remove_keeps_its_root(backend, tmp_path):
    backend()
    assert registry.remove_root("fake:x", Place(tmp_path, DOMAIN, ROOT)) == registry.KEPT
