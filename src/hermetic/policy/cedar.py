"""The access policy: Cedar text checked once against the schema, then decisions of about a tenth of a millisecond.

Cedar skips a policy whose evaluation fails, so that a `forbid` which meets an attribute of the wrong type would silently not
forbid. Three things prevent that here: policies are validated strictly when they are loaded, every request and every entity is
checked against the schema when it is decided, and a decision that reports any error is a refusal whatever else it says.

What Cedar says follows from policies, principal, resource and context alone, so that the same question has the same answer, which is
kept. No question is the same as another while the time is part of it; where no policy about an action can read it, it is left out
of the question (`_read_of`).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import cedarpy

from hermetic.policy import _cedar_text, cedar_schema
from hermetic.policy._cedar_request import context_of, entities_of
from hermetic.policy._class_defaults import ROLES
from hermetic.policy._yaml import Place, Wrong
from hermetic.policy.document import Problem, error_of
from hermetic.policy.request import PART_OF, RELEASES, Action, AssetResource, Decision

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from hermetic.policy._cedar_text import Piece
    from hermetic.policy.request import DecisionRequest

MAX_FILES = 64
MAX_POLICIES = 500
_CACHED = 512  # parsed pairs of principal and resource
_ANSWERS = 1024  # that are kept
_MOVING = ("now", "mfa_age")  # what is another in every question
_STILL: dict[str, Any] = {"now": {"__extn": {"fn": "datetime", "arg": "1970-01-01T00:00:00.000Z"}}}  # the schema wants one

_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,79}")
_CONTEXT = re.compile(r"\bcontext\b(?!\s*\.\s*[a-z_]+|\s+has\s+[a-z_]+)")  # the context as a whole, or by something worked out
_QUOTED = re.compile(r"`([^`]+)`")
_OF_POLICY = re.compile(r"^for policy `policy\d+`[,:]\s*")


@dataclass(frozen=True, slots=True)
class PolicyText:
    """One policy as it stands in its file. `effect` is permit or forbid; `actions` are those its head lets through."""

    id: str
    effect: str
    actions: frozenset[str]
    file: str
    line: int
    text: str


class Engine:
    """Cedar policies in force. Immutable, and safe to share between threads."""

    def __init__(self, policy_texts: Mapping[str, str], *, roles: Iterable[str] = tuple(ROLES)) -> None:
        """Load policies: file name to text. `roles` are the names that policies may use.

        Raises ConfigError, with all mistakes, for syntax, unknown attributes, actions, roles or words, unsafe access to optional
        attributes, templates, a missing or repeated @id, or text over the limits.
        """
        self._schema = cedarpy.Schema.from_str(cedar_schema.generate(roles))
        found: list[Problem] = []
        loaded = [item for file, text in sorted(policy_texts.items()) for item in self._load(file, text, found)]
        found += _numbers(policy_texts, loaded)
        if found:
            raise error_of(tuple(found))
        self.policies: tuple[PolicyText, ...] = tuple(loaded)
        self._set_for = lru_cache(maxsize=len(Action))(lambda action: _set_of(loaded, action))
        self._read_of = lru_cache(maxsize=len(Action))(lambda action: _read_of(loaded, action))
        self._answered = lru_cache(maxsize=_ANSWERS)(self._ask)
        self._parsed = lru_cache(maxsize=_CACHED)(self._parse_entities)

    def _parse_entities(self, text: str) -> cedarpy.Entities:
        """Check entities against the schema. The cache goes by the exact text, so that nothing unchecked can take another's place."""
        return cedarpy.Entities.from_json_str(text, self._schema)

    def __reduce__(self) -> Any:
        """Engines are rebuilt from text, never pickled."""
        raise TypeError("an Engine cannot be pickled; build it from its policy texts")

    def _load(self, file: str, text: str, found: list[Problem]) -> list[PolicyText]:
        loaded: list[PolicyText] = []
        try:
            for piece in _cedar_text.pieces(text):
                try:
                    loaded.append(_policy(file, piece, self._schema))
                except Wrong as error:
                    found.append(_problem(file, error))
        except Wrong as error:
            found.append(_problem(file, error))
        return loaded

    def decide(self, request: DecisionRequest) -> Decision:
        """Return what the policies say. Never raises for what a request holds: what cannot be judged is refused, with the reason."""
        entities = ""
        try:
            entities = json.dumps(entities_of(request))
            context = context_of(request)
            moving = {name: value for name, value in context.items() if name not in _MOVING or name in self._read_of(request.action)}
            names = (request.principal.id, str(request.action), _type_of(request), request.resource.id)
            return self._answered(names, entities, json.dumps(_STILL | moving))
        except (TypeError, ValueError, AttributeError, KeyError, OverflowError) as error:
            detail = _without(entities, str(error)) if entities else type(error).__name__
            return _refusal((f"the request does not fit the schema: {detail}",))

    def _ask(self, names: tuple[str, str, str, str], entities: str, context: str) -> Decision:
        """Ask Cedar. Raises as it does for a request that does not fit the schema."""
        principal, action, kind, resource = names
        question = {
            "principal": {"type": "Principal", "id": principal},
            "action": {"type": "Action", "id": action},
            "resource": {"type": kind, "id": resource},
            "context": context,
        }
        answer = cedarpy.is_authorized(question, self._set_for(Action(action)), self._parsed(entities), self._schema)
        errors = tuple(_without(entities, error) for error in answer.diagnostics.errors)
        if errors:
            return _refusal(errors)
        ids = answer.diagnostics.id_annotations_by_reason
        return _decision(answer.decision, tuple(sorted(ids.get(reason, reason) for reason in answer.diagnostics.reasons)))


def _decision(decision: cedarpy.Decision, policies: tuple[str, ...]) -> Decision:
    listed = ", ".join(policies)
    if decision is cedarpy.Decision.Allow and policies:
        return Decision(allowed=True, policies=policies, reasons=(f"permitted by {listed}",))
    if decision is cedarpy.Decision.Deny:
        return Decision(allowed=False, policies=policies, reasons=(f"forbidden by {listed}" if policies else "no policy permits it",))
    return _refusal(("the policy engine gave no decision",))


def _set_of(policies: list[PolicyText], action: Action) -> cedarpy.PolicySet:
    """Only policies whose head names the action can say anything about it; leaving the others out saves evaluating them."""
    return cedarpy.PolicySet.from_str("\n".join(policy.text for policy in policies if action in policy.actions))


def _read_of(policies: list[PolicyText], action: Action) -> frozenset[str]:
    """Return what of the moving circumstances policies about an action may read: too much rather than too little."""
    texts = [policy.text for policy in policies if action in policy.actions]
    if any(_CONTEXT.search(text) for text in texts):
        return frozenset(_MOVING)
    return frozenset(name for name in _MOVING if any(name in text for text in texts))


def _type_of(request: DecisionRequest) -> str:
    return "Asset" if isinstance(request.resource, AssetResource) else "Domain"


def _refusal(errors: tuple[str, ...]) -> Decision:
    return Decision(allowed=False, errors=errors, reasons=tuple(f"evaluation failed: {error}" for error in errors))


def _without(entities: str, error: str) -> str:
    """Error texts go into the log and must not repeat the entity data."""
    text = error.replace(entities, "the request")
    return " ".join(text.split())[:300]


def _policy(file: str, piece: Piece, schema: cedarpy.Schema) -> PolicyText:
    try:
        text = cedarpy.policies_to_json_str(piece.text)
    except ValueError as error:
        raise _syntax(piece, str(error)) from None
    _cedar_text.check_depth(piece, text)
    parsed = json.loads(text)
    if parsed.get("templates"):
        raise Wrong(piece.place, "templates decide nothing here", "write the principal or resource instead of ?principal or ?resource")
    static: dict[str, Any] = next(iter(parsed["staticPolicies"].values()), {})
    name = (static.get("annotations") or {}).get("id")
    if not isinstance(name, str) or not _ID.fullmatch(name):
        remedy = 'write @id("some-name") before it, in lower case with dashes; decisions and the log call it by that name'
        raise Wrong(piece.place, "this policy has no @id" if not name else f"{name!r} is not a policy id", remedy)
    for mistake in cedarpy.validate_policies(piece.text, schema).errors:
        raise _invalid(piece, mistake.error)
    return PolicyText(name, static["effect"], _actions(static["action"]), file, piece.place.line, piece.text)


def _actions(scope: dict[str, Any]) -> frozenset[str]:
    """Return the actions that the head of a policy lets through; all of them where that is not plain to see."""
    named = scope.get("entities") or [scope.get("entity")]
    if scope.get("op") not in ("==", "in") or not all(isinstance(entity, dict) for entity in named):
        return frozenset(Action)
    names = {entity["id"] for entity in named}
    parts = {part for part, whole in PART_OF.items() if whole in names}
    return frozenset(names | parts | (RELEASES if "release" in names else frozenset()))


def _syntax(piece: Piece, message: str) -> Wrong:
    quoted = _QUOTED.search(message)
    return Wrong(
        piece.place_of(quoted[1] if quoted else ""),
        f"not a Cedar policy: {message}",
        "policies end with a semicolon; see the shipped ones",
    )


def _invalid(piece: Piece, message: str) -> Wrong:
    plain = _OF_POLICY.sub("", message)
    words = [word for word in _QUOTED.findall(plain) if word in piece.text]
    remedy = f"use what {cedar_schema.FILE} declares; test optional attributes with `has` first"
    return Wrong(piece.place_of(words[0] if words else ""), plain, remedy)


def _numbers(texts: Mapping[str, str], loaded: list[PolicyText]) -> list[Problem]:
    """What is wrong with the policies together."""
    found: list[Problem] = []
    if len(texts) > MAX_FILES or len(loaded) > MAX_POLICIES:
        remedy = "merge files, or write policies over roles instead of people"
        found.append(Problem("policies", 1, 1, f"over {MAX_FILES} files or {MAX_POLICIES} policies", remedy))
    first: dict[str, PolicyText] = {}
    for policy in loaded:
        other = first.setdefault(policy.id, policy)
        if other is not policy:
            message = f"@id {policy.id!r} is also in {other.file}:{other.line}"
            found.append(Problem(policy.file, policy.line, 1, message, "give each policy an id of its own"))
    return found


def _problem(file: str, error: Wrong) -> Problem:
    place: Place = error.place
    return Problem(file, place.line, place.column, error.message, error.remedy)
