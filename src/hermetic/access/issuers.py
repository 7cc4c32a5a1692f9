"""Issuers of tokens that the custody host trusts, and the keys that they publish (OpenID Connect Discovery, RFC 7517).

What is fetched comes in by a port, `fetch`: an address in, bytes out. Keys are kept for ten minutes, so that one that an issuer takes
back is good no longer than that; with the issuer out of reach after them, nobody gets in. A key that is not known is asked for again,
but not more often than once a minute: whoever makes up key ids does not make custody call its issuers.
"""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from hermetic.errors import HermeticError, KeyServiceUnavailable, NotAuthenticated

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

PERSON, WORKLOAD = "person", "workload"
DISCOVERY: Final = "/.well-known/openid-configuration"
FRESH_MS: Final = 600_000
UNKNOWN_MS: Final = 60_000  # between two fetches
FAILED_MS: Final = 5_000  # after one that failed
KEYS: Final = 100


@dataclass(frozen=True, slots=True)
class Rule:
    """A token with exactly these claims is of the enrolled principal with this name."""

    name: str
    claims: Mapping[str, str | int | bool]

    def fits(self, claims: Mapping[str, Any]) -> bool:
        """Whether the claims are these, of the same types: a list that has a value in it is not that value."""
        return all(type(claims.get(name)) is type(value) and claims[name] == value for name, value in self.claims.items())


@dataclass(frozen=True, slots=True)
class Issuer:
    """One trusted issuer. `jwks` is where its keys are, None where discovery says it; `most_s` is how old a token may be."""

    url: str
    audience: str
    kind: str
    rules: tuple[Rule, ...]
    jwks: str | None
    most_s: int


@dataclass(slots=True)
class _Kept:
    keys: tuple[Mapping[str, Any], ...] | None = None
    at: int = 0  # when they were fetched
    next: int = 0  # no further fetch before


@dataclass(slots=True)
class IssuerKeys:
    """The keys of an issuer. Thread safe; one thread at a time fetches. `clock` gives milliseconds that only go forward."""

    issuer: Issuer
    fetch: Callable[[str], bytes] = field(repr=False)
    clock: Callable[[], int] = field(repr=False)
    _kept: _Kept = field(default_factory=_Kept, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def named(self, kid: str) -> tuple[Mapping[str, Any], ...]:
        """Return the keys with this id, at least one. Raises NotAuthenticated, KeyServiceUnavailable."""
        with self._lock:
            now = self.clock()
            found = self._known(kid, now)
            if not found and now >= self._kept.next:
                self._renew(now)
                found = self._known(kid, now)
            if found:
                return found
            if self._kept.keys is None or now - self._kept.at >= FRESH_MS:
                raise _away(self.issuer)
        raise NotAuthenticated("the token is signed with a key that its issuer does not publish", hint="is it from that issuer?")

    def _known(self, kid: str, now: int) -> tuple[Mapping[str, Any], ...]:
        if self._kept.keys is None or now - self._kept.at >= FRESH_MS:
            return ()
        return tuple(key for key in self._kept.keys if key.get("kid") == kid)

    def _renew(self, now: int) -> None:
        self._kept.next = now + FAILED_MS
        try:
            keys = _keys_in(strict_json(self.fetch(self._place())))
        except (HermeticError, ValueError) as error:
            raise _away(self.issuer) from error
        self._kept.keys, self._kept.at, self._kept.next = keys, now, now + UNKNOWN_MS

    def _place(self) -> str:
        """Return where the keys are. Raises ValueError for a discovery document of somebody else."""
        if self.issuer.jwks is not None:
            return self.issuer.jwks
        said = strict_json(self.fetch(self.issuer.url.rstrip("/") + DISCOVERY))
        place = said.get("jwks_uri")
        if said.get("issuer") != self.issuer.url or not isinstance(place, str) or not place.startswith("https://"):
            raise ValueError("not what this issuer should say")
        return place


def strict_json(raw: bytes) -> dict[str, Any]:
    """Return a JSON object in which no name stands twice. Raises ValueError."""
    try:
        found = json.loads(raw.decode("utf-8"), object_pairs_hook=_once, parse_constant=_no_number)
    except RecursionError:
        raise ValueError("too deep") from None
    if not isinstance(found, dict):
        raise ValueError("no object")  # noqa: TRY004 - bytes that are not what they should be
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice")
    return found


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is no number")


def _keys_in(said: dict[str, Any]) -> tuple[Mapping[str, Any], ...]:
    found = said.get("keys")
    if not isinstance(found, list) or len(found) > KEYS:
        raise ValueError("no key set")
    return tuple(key for key in found if isinstance(key, dict) and isinstance(key.get("kid"), str))


def _away(issuer: Issuer) -> KeyServiceUnavailable:
    return KeyServiceUnavailable(f"the keys of {issuer.url} cannot be had", hint="try again; the service's log says why")
