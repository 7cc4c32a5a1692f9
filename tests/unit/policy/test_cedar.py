"""Cedar files: what is refused when they are loaded, and where."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from hermetic.errors import ConfigError
from hermetic.policy import cedar, defaults
from hermetic.policy.cedar import Engine
from hermetic.policy.request import Action
from tests.unit.policy.values import request, shipped

HEAD = "// first line\n\n"
PLACES = [
    ('@id("x") permit (principal, action == Action::"open", resource) when { resource.clas == 1 };', 3, 81, "attribute `clas`"),
    ('@id("x")\npermit (principal, action == Action::"decrpyt", resource);', 4, 30, "unrecognized action"),
    ('@id("x")\npermit (\n  principal in Role::"auditr", action, resource);', 5, 16, '`"auditr"` is not declared'),
    (
        '@id("x") permit (principal, action == Action::"open", resource) when { resource.class == Class::"restrcted" };',
        3,
        90,
        "is not declared",
    ),
    (
        '@id("x") permit (principal, action == Action::"open", resource) when { resource.class == "restricted" };',
        3,
        1,
        "not compatible",
    ),
    (
        '@id("x") forbid (principal, action == Action::"open", resource) when { context.mfa_age > duration("1h") };',
        3,
        80,
        "optional attribute",
    ),
    ('@id("x") permit (principal, action == Action::"enrol", resource) when { resource.owner == "a" };', 3, 82, "attribute `owner`"),
    ("permit (principal, action, resource);", 3, 1, "this policy has no @id"),
    ('@id("") permit (principal, action, resource);', 3, 1, "this policy has no @id"),
    ('@id("Upper Case") permit (principal, action, resource);', 3, 1, "'Upper Case' is not a policy id"),
    ('@id("x") permit (principal == ?principal, action, resource);', 3, 1, "templates decide nothing here"),
    ('@id("x")\npermit (principal, action resource);', 4, 27, "unexpected token"),
    ('@id("x") permit (principal, action, resource)', 3, 1, "not a Cedar policy"),
    ("hello", 3, 1, "not a Cedar policy"),
    (";", 3, 1, "not a Cedar policy"),
    ('@id("x") @id("y") permit (principal, action, resource);', 3, 1, "duplicate annotation"),
    (
        '@id("x") permit (principal, action, resource) when { ' + "(" * 30 + "true" + ")" * 30 + " };",
        3,
        1,
        "too large to be judged safely",
    ),
    (
        '@id("x") permit (principal, action, resource) when { ' + "if true then " * 20 + "true" + " else true" * 20 + " };",
        3,
        1,
        "too large",
    ),
    ('@id("x") permit (principal, action, resource) when { ' + "true && " * 2000 + "true };", 3, 1, "too large"),
    ('@id("x") permit (principal, action, resource) when { ' + "true&&" * 1000 + "true };", 3, 1, "95 operators in a row"),
    ('@id("x") permit (principal, action, resource) when { 1' + "+1" * 4000 + " > 0 };", 3, 1, "operators in a row"),
    (  # the engine's strings go over the end of a line, and its comments end at a carriage return
        '@id("x") permit (principal, action, resource) when { "a\n" == "b" || ' + "(" * 30 + '"c" == "c"' + ")" * 30 + " };",
        3,
        1,
        "too large to be judged",
    ),
    (
        '@id("x") permit (principal, action, resource) when { true // c\r || ' + "(" * 30 + "true" + ")" * 30 + "\n };",
        3,
        1,
        "too large to be",
    ),
    ("\x00", 1, 1, "control characters or broken Unicode"),
    ("\ud800", 1, 1, "control characters or broken Unicode"),
    ("x" * 70_000, 1, 1, "over the limit"),
]


@pytest.mark.parametrize(("text", "line", "column", "message"), PLACES, ids=[row[3] for row in PLACES])
def test_a_mistake_is_told_with_its_place(text: str, line: int, column: int, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Engine({"policies/mine.cedar": HEAD + text})
    error = caught.value
    assert message in error.message
    assert (error.file, error.line, error.column) == ("policies/mine.cedar", line, column)
    assert error.hint


def test_an_id_is_used_once_in_all_files() -> None:
    text = '@id("same") permit (principal, action, resource);'
    with pytest.raises(ConfigError, match=r"'same' is also in a\.cedar:1") as caught:
        Engine({"a.cedar": text, "b.cedar": "\n" + text})
    assert (caught.value.file, caught.value.line) == ("b.cedar", 2)


def test_mistakes_of_all_files_are_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        Engine({"a.cedar": "permit (principal, action, resource);", "b.cedar": "nonsense"})
    assert str(caught.value) == "a.cedar:1:1: this policy has no @id (and 1 more)"
    assert "b.cedar:1:1: not a Cedar policy" in (caught.value.hint or "")


def test_comments_and_strings_do_not_confuse_the_places() -> None:
    first = '// a; b (\n@id("one") permit (principal, action == Action::"open", resource) when { resource.name == "; ( \\" //" };'
    text = first + '\n\n@id("two")\nforbid (principal, action, resource);'
    engine = Engine({"a.cedar": text})
    assert [(policy.id, policy.effect, policy.line) for policy in engine.policies] == [("one", "permit", 2), ("two", "forbid", 4)]


def test_no_policies_refuse_everything() -> None:
    engine = Engine({})
    for action in Action:
        decision = engine.decide(request(action, "domain-owner"))
        assert (decision.allowed, decision.errors, decision.policies) == (False, (), ())
        assert decision.reasons == ("no policy permits it",)


def test_roles_of_ones_own_are_known_when_they_are_declared() -> None:
    text = '@id("label") permit (principal in Role::"annotator", action == Action::"open", resource);'
    with pytest.raises(ConfigError, match="annotator"):
        Engine({"a.cedar": text})
    assert Engine({"a.cedar": text}, roles=["annotator"]).decide(request(Action.OPEN, "annotator")).policies == ("label",)


def test_a_forbid_of_a_group_and_of_all_actions_counts_for_each() -> None:
    """Policies are set aside by the action in their head; this would fail if too much were set aside."""
    for head, closed in (
        ('action in Action::"release"', {Action.OPEN}),
        ("action", {Action.OPEN, Action.SEAL}),
        ('action in [Action::"seal"]', {Action.SEAL}),
    ):
        engine = Engine(
            {"a.cedar": f'@id("all") permit (principal, action, resource); @id("none") forbid (principal, {head}, resource);'}
        )
        for action in (Action.OPEN, Action.SEAL):
            assert engine.decide(request(action)).allowed is (action not in closed), (head, action)


def test_an_action_in_a_condition_is_evaluated() -> None:
    engine = Engine({"a.cedar": '@id("a") permit (principal, action, resource) when { action in [Action::"open", Action::"seal"] };'})
    assert engine.decide(request(Action.OPEN)).allowed
    assert not engine.decide(request(Action.SIGN)).allowed


def test_an_engine_is_shared_between_threads() -> None:
    engine = Engine(defaults.cedar_texts())
    with ThreadPoolExecutor(8) as pool:
        decisions = list(pool.map(engine.decide, [request(Action.OPEN, "domain-owner"), request(Action.OPEN, "auditor")] * 200))
    assert [decision.allowed for decision in decisions] == [True, False] * 200


def test_an_engine_is_not_pickled() -> None:
    with pytest.raises(TypeError, match="policy texts"):
        pickle.dumps(shipped().engine)


@pytest.mark.parametrize(
    ("condition", "moving"),
    [
        ("context.run", set()),
        ("context has network && context.network.isLoopback()", set()),
        ('context.now > datetime("2026-01-01")', {"now"}),
        ("context has mfa_age", {"mfa_age"}),
        ('context has "purpose"', {"now", "mfa_age"}),
        ('context["run"]', {"now", "mfa_age"}),
        ("context == context", {"now", "mfa_age"}),
    ],
)
def test_the_time_is_part_of_a_question_where_a_policy_can_read_it(condition, moving):
    engine = Engine({"a.cedar": f'@id("a") permit (principal, action == Action::"open", resource) when {{ {condition} }};'})
    assert engine._read_of(Action.OPEN) == moving
    assert engine._read_of(Action.GRANT) == set()


def test_the_same_question_is_asked_once(monkeypatch):
    engine, asked = Engine(defaults.cedar_texts()), request(Action.OPEN, "data-steward")
    first = engine.decide(asked)
    monkeypatch.setattr(cedar.cedarpy, "is_authorized", lambda *_: pytest.fail("asked again"))
    assert engine.decide(replace(asked, context=replace(asked.context, now_ms=asked.context.now_ms + 1))) == first
