"""What a provider really enforces, found out by trying: `hermetic key providers --check`.

Every provider is tried for what the protocol asks of it (`CORE`); what it has beyond that, its backend module may offer:

    def probes(provider) -> Iterable[Probe]            what the backend can find out: names of `BEYOND`, or others
    def protections(provider) -> Iterable[Protection]  which algorithms stand between a recorder of today and the keys, later
    def neighbour(provider) -> Provider | None         the same kind with another root, to see that it refuses our wraps

All three are optional; each may take a second, and changes nothing that stays. A name of `BEYOND` that no probe answers is reported as
not checkable here. `promised` says that the backend's documentation, or ours, says it is enforced: a promised probe that comes out as
not enforced contradicts, and so does anything of `CORE`. Errors of a provider are outcomes, not errors of the report.
"""

from __future__ import annotations

import enum
import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from hermetic.crypto.secret import Secret
from hermetic.errors import HermeticError, IntegrityError, KeyServiceUnavailable
from hermetic.formats import canonical
from hermetic.formats.messages.base import Pair
from hermetic.formats.messages.roots import ProbeFact, ProtectionFact, ProviderReport
from hermetic.keys import in_provider, provider_wraps
from hermetic.keys.provider import ProviderState
from hermetic.providers import registry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from hermetic.keys.provider import Provider

ROUND_TRIP: Final = "round-trip"
OTHER_CONTEXT: Final = "other-context-refused"
CHANGED_WRAP: Final = "changed-wrap-refused"
OTHER_ROOT: Final = "other-root-refused"
FRESH_WRAPS: Final = "wraps-differ"
CORE: Final = (ROUND_TRIP, OTHER_CONTEXT, CHANGED_WRAP, OTHER_ROOT, FRESH_WRAPS)

CONTEXT_IN_PROVIDER: Final = "context-bound-in-provider"  # rather than by code in the caller's process
EXTRACTION: Final = "extraction-refused"  # the root cannot be taken out
DELETION_WAIT: Final = "deletion-wait"  # deleting the root takes effect after a while, and can be called back
POLICY: Final = "policy"  # the provider itself decides who may unwrap
ATTESTATION: Final = "attestation"  # the provider proves where the root is kept
AUDIT: Final = "audit"  # the provider keeps a record of unwraps of its own
KEK: Final = "kek-in-provider"  # a KEK can live in it alone (`kek: in-provider`)
BEYOND: Final = (CONTEXT_IN_PROVIDER, KEK, EXTRACTION, DELETION_WAIT, POLICY, ATTESTATION, AUDIT)

ROUNDS: Final = 200  # at most, for the rate
_LENGTH: Final = 32
_MANY: Final = 3


class Outcome(enum.StrEnum):
    """How a probe came out."""

    ENFORCED = "enforced"
    NOT_ENFORCED = "not enforced"
    NOT_CHECKABLE = "not checkable here"


@dataclass(frozen=True, slots=True)
class Probe:
    """One thing that was tried: its name, how it came out, and in a sentence how that was found out."""

    name: str
    outcome: Outcome
    how: str
    promised: bool = False

    @property
    def contradicts(self) -> bool:
        """Whether the provider does not do what it promised."""
        return self.promised and self.outcome is Outcome.NOT_ENFORCED


@dataclass(frozen=True, slots=True)
class Protection:
    """What keeps a recorder of today out, later: `part` is `wrap` (what lies in the database) or `path` (key to custody).

    `lasts` is False for what a quantum computer opens: RSA, ECDH and the like on their own. None says that it could not be found out.
    """

    part: str
    algorithm: str
    lasts: bool | None
    how: str


def measure(provider: Provider, *, seconds: float = 1.0, clock: Callable[[], int] = time.perf_counter_ns) -> ProviderReport:
    """Try a provider and return the report. A provider that is locked or unreachable is reported as such and not tried."""
    status = provider.status()
    probes: tuple[Probe, ...] = ()
    rates = (0, 0, 0, 0)
    if status.state is ProviderState.READY:
        probes = tuple(_probes(provider))
        if all(probe.outcome is Outcome.ENFORCED for probe in probes if probe.name == ROUND_TRIP):
            rates = _rates(provider, seconds, clock)
    return ProviderReport(
        provider=provider.uri,
        root=provider.root_id,
        status=status.state.value,
        detail=status.detail,
        root_in_process=status.root_in_process,
        wraps_per_s=rates[0],
        unwraps_per_s=rates[1],
        wrap_p50_us=rates[2],
        unwrap_p50_us=rates[3],
        probes=tuple(ProbeFact(one.name, one.outcome.value, one.how, one.contradicts) for one in probes),
        protections=tuple(ProtectionFact(one.part, one.algorithm, one.lasts, one.how) for one in _protections(provider)),
        findings=tuple(Pair(item.code, item.message) for item in status.findings),
    )


def _probes(provider: Provider) -> Iterator[Probe]:
    yield from _core(provider)
    offered = [*_offered(provider, "probes"), _keeps(provider)]
    yield from offered
    answered = {probe.name for probe in offered}
    for name in BEYOND:
        if name not in answered:
            yield Probe(name, Outcome.NOT_CHECKABLE, "the provider offers no way to find out")


def _protections(provider: Provider) -> tuple[Protection, ...]:
    found = tuple(item for item in _offered(provider, "protections") if isinstance(item, Protection))
    return found or (Protection("wrap", "unknown", None, "the provider does not say"),)


def _offered(provider: Provider, name: str) -> Iterable[Any]:
    """Return what the backend module of a provider offers under a name; nothing when it offers nothing, or fails."""
    function = _function(provider, name)
    if function is None:
        return ()
    try:
        return tuple(function(provider))
    except HermeticError as error:
        return (Probe(f"{name}-of-backend", Outcome.NOT_CHECKABLE, error.message),)


def _function(provider: Provider, name: str) -> Callable[[Provider], Any] | None:
    try:
        found: Callable[[Provider], Any] | None = getattr(registry.backend_of(provider.uri), name, None)
    except HermeticError:  # a provider that no URI leads to
        return None
    return found


def _core(provider: Provider) -> Iterator[Probe]:
    secret, context = Secret.random(_LENGTH), _context(provider, "here")
    try:
        first, second = provider.wrap(secret, context), provider.wrap(secret, context)
        same = provider.unwrap(first, context).same_as(secret)
    except KeyServiceUnavailable as error:
        yield Probe(ROUND_TRIP, Outcome.NOT_CHECKABLE, error.message)
        return
    except HermeticError as error:
        yield Probe(ROUND_TRIP, Outcome.NOT_ENFORCED, error.message, promised=True)
        return
    yield _said(ROUND_TRIP, same, ("32 random bytes came back", "other bytes came back than went in"))
    yield _said(FRESH_WRAPS, first != second, ("two wraps of one secret differ", "two wraps of one secret are the same bytes"))
    yield _refusal(OTHER_CONTEXT, lambda: provider.unwrap(first, _context(provider, "elsewhere")), "a wrap asked for in another place")
    yield _refusal(CHANGED_WRAP, lambda: provider.unwrap(_flipped(first), context), "a wrap with one bit changed")
    yield _other_root(provider, first, context)


def _keeps(provider: Provider) -> Probe:
    """Try what `kek: in-provider` asks of a provider: that it wraps data keys itself, many of them asked for together."""
    if not in_provider.capable(provider):
        return Probe(KEK, Outcome.NOT_ENFORCED, "its root would be in this process whenever a data key is opened")
    secrets, context = [Secret.random(2 * _LENGTH) for _ in range(_MANY)], _context(provider, "data keys")
    try:
        wraps = provider_wraps.wrap_all(provider, secrets, context)
        found = provider_wraps.unwrap_all(provider, [(wrapped, context) for wrapped in wraps])
    except KeyServiceUnavailable as error:
        return Probe(KEK, Outcome.NOT_CHECKABLE, error.message)
    except HermeticError as error:
        return Probe(KEK, Outcome.NOT_ENFORCED, error.message, promised=True)
    calls = "one call" if hasattr(provider, "unwrap_many") else "a call for each"
    same = all(one.same_as(other) for one, other in zip(found, secrets, strict=True))
    return _said(KEK, same, (f"{_MANY} data keys came back, by {calls}", "other bytes came back than went in"))


def _other_root(provider: Provider, wrapped: bytes, context: bytes) -> Probe:
    function = _function(provider, "neighbour")
    try:
        other = None if function is None else function(provider)
    except HermeticError as error:
        return Probe(OTHER_ROOT, Outcome.NOT_CHECKABLE, error.message)
    if other is None:
        return Probe(OTHER_ROOT, Outcome.NOT_CHECKABLE, "it takes a second root of this kind, and there is none")
    return _refusal(OTHER_ROOT, lambda: other.unwrap(wrapped, context), "a wrap of this root given to another one")


def _refusal(name: str, attempt: Callable[[], Secret], what: str) -> Probe:
    try:
        attempt()
    except IntegrityError:
        return Probe(name, Outcome.ENFORCED, f"{what} was refused", promised=True)
    except HermeticError as error:
        return Probe(name, Outcome.NOT_CHECKABLE, f"{what}: {error.message}")
    return Probe(name, Outcome.NOT_ENFORCED, f"{what} was opened", promised=True)


def _said(name: str, good: bool, how: tuple[str, str]) -> Probe:  # noqa: FBT001 - the outcome itself
    return Probe(name, Outcome.ENFORCED if good else Outcome.NOT_ENFORCED, how[0] if good else how[1], promised=True)


def _context(provider: Provider, place: str) -> bytes:
    """Return a context that no key of a domain has."""
    return canonical.encode({"for": "conformance", "place": place, "root": provider.root_id})


def _flipped(wrapped: bytes) -> bytes:
    """Change the lowest bit of the byte in the middle, where there is ciphertext and not the marker."""
    at = len(wrapped) // 2
    return wrapped[:at] + bytes([wrapped[at] ^ 1]) + wrapped[at + 1 :]


def _rates(provider: Provider, seconds: float, clock: Callable[[], int]) -> tuple[int, int, int, int]:
    """Return wraps and unwraps per second, then the middle time of each in microseconds; half of `seconds` for each."""
    secret, context = Secret.random(_LENGTH), _context(provider, "rate")
    try:
        wrapped = provider.wrap(secret, context)
        wraps = _times(lambda: provider.wrap(secret, context), seconds / 2, clock)
        unwraps = _times(lambda: provider.unwrap(wrapped, context), seconds / 2, clock)
    except HermeticError:  # went away meanwhile: no rate is a truthful one
        return (0, 0, 0, 0)
    middle = [int(statistics.median(found) / 1000) for found in (wraps, unwraps)]
    per_second = [int(len(found) * 1_000_000_000 / max(sum(found), 1)) for found in (wraps, unwraps)]
    return per_second[0], per_second[1], middle[0], middle[1]


def _times(call: Callable[[], object], seconds: float, clock: Callable[[], int]) -> list[int]:
    """Return how long each call took, in nanoseconds; at least one, at most ROUNDS."""
    found: list[int] = []
    end = clock() + int(seconds * 1_000_000_000)
    while len(found) < ROUNDS and (not found or clock() < end):
        began = clock()
        call()
        found.append(clock() - began)
    return found
