"""hermetic.yaml that is over a limit, or says what it must not say: each is told with its place."""

from __future__ import annotations

import pytest

from hermetic.errors import ConfigError
from hermetic.policy import document
from hermetic.policy._collections import MAX_ITEMS
from hermetic.policy._units import spell_ms
from hermetic.policy.globs import MAX_SEGMENTS
from tests.unit.policy.values import HEAD

RULE = "rules:\n  - {path: data/**, kind: dataset, class: internal}\n"


def only(body: str) -> str:
    (problem,) = document.problems(HEAD + body)
    assert problem.line > 3
    assert problem.remedy
    return problem.message


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("rules: 7\n", "expected a list of rules"),
        ("rules: {path: a}\n", "expected a list of rules"),
        ("tls: {suites: []}\n", "a list of 0 suites; there must be 1"),
        ("stores:\n" + "".join(f"  s{number}: {{kind: named}}\n" for number in range(MAX_ITEMS + 1)), "over the limit of 1000"),
        ("stores: {password: {kind: named}}\n", "does not belong in a project file"),
        ("tls: {warn_before: 60d, certificate_lifetime: 30d}\n", "every certificate would be a finding"),
        ("pipeline: {training: {stores: [gone]}}\n", "no store is named 'gone'"),
        ('roles: {annotator: {description: "a\\u200bb", duty: data}}\n', "control or unprintable characters"),
        ("rules:\n  - {path: a, kind: dataset, class: internal, owner: a/b}\n", "is not a principal's name"),
        ("rules:\n  - {path: a, kind: dataset, class: internal, name: 's3://x'}\n", "a location outside the project"),
        ("budgets:\n  - {asset: dataset/a, epsilon: true}\n", "expected a number over 0 and up to 1000"),
        ("budgets:\n  - {asset: dataset/a, epsilon: 0}\n", "expected a number over 0 and up to 1000"),
    ],
)
def test_told_with_its_place(body, message):
    assert message in only(body)


@pytest.mark.parametrize(
    ("glob", "message"),
    [
        ("a//b", "segments are not allowed"),
        ("../a", "segments are not allowed"),
        ("/".join("a" * (MAX_SEGMENTS + 1)), f"more than {MAX_SEGMENTS} segments"),
        ("a/b**", "** stands alone"),
        ("a/[bc]", "brackets, braces and backslashes"),
    ],
)
def test_a_glob_that_means_something_else_elsewhere(glob, message):
    assert message in only(RULE.replace("data/**", f"'{glob}'"))


def test_more_mistakes_than_one_error_can_tell_are_counted():
    body = "rules:\n" + "".join(f"  - {{path: a{number}, class: internal}}\n" for number in range(30))
    with pytest.raises(ConfigError, match=r"\(and 29 more\)") as found:
        document.parse(HEAD + body)
    assert found.value.hint.endswith("and 10 more after these")


@pytest.mark.parametrize(("value", "text"), [(86_400_000, "1d"), (900_000, "15m"), (5_000, "5s"), (1_500, "1500ms"), (0, "0ms")])
def test_times_are_spelled_in_the_largest_unit(value, text):
    assert spell_ms(value) == text
