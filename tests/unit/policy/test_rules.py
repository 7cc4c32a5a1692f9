"""Rules: which asset a path is."""

from __future__ import annotations

import pytest

from hermetic.errors import InvalidName
from hermetic.ids import AssetName, DataClass, Environment, Kind, Purpose
from hermetic.policy import document, globs, rules
from tests.unit.policy.values import HEAD

RULES = (
    HEAD
    + """\
rules:
  - path: data/raw/patients*.parquet
    kind: dataset
    class: restricted
    owner: ana
    purposes: [ingest, prepare, train]
    name: patients-{stem}
  - {path: data/**, kind: dataset, class: internal, name: "{path}"}
  - {path: models/**/*.safetensors, kind: model, class: confidential, name: "{parent}/{stem}", project: other, environment: staging}
  - {path: in/**, store: sealed, kind: payload, class: confidential}
  - {asset: dataset/data/hot/**, class: restricted, owner: bob, purposes: [train]}
  - {asset: "model/**", class: internal, purposes: [serve]}
"""
)
DOCUMENT = document.parse(RULES)


def test_the_first_rule_that_matches_decides() -> None:
    found = rules.match(DOCUMENT, "data/raw/patients_2025.parquet")
    assert found is not None
    assert str(found.name) == "dataset/patients-patients_2025"
    assert (found.kind, found.data_class, found.owner, found.project) == (Kind.DATASET, DataClass.RESTRICTED, "ana", "risk")
    assert found.purposes == (Purpose.INGEST, Purpose.PREPARE, Purpose.TRAIN)
    assert found.environment is Environment.DEVELOPMENT
    assert found.line == 5


def test_the_stricter_class_holds_when_a_rule_over_assets_matches_too() -> None:
    cold, hot = rules.match(DOCUMENT, "data/cold/x.csv"), rules.match(DOCUMENT, "data/hot/x.csv")
    assert cold is not None
    assert hot is not None
    assert (str(cold.name), cold.data_class, cold.owner) == ("dataset/data/cold/x", DataClass.INTERNAL, None)
    assert (str(hot.name), hot.data_class, hot.owner, hot.purposes) == (
        "dataset/data/hot/x",
        DataClass.RESTRICTED,
        "bob",
        (Purpose.TRAIN,),
    )


def test_a_rule_over_assets_cannot_lower_the_class_of_a_path() -> None:
    found = rules.match(DOCUMENT, "models/a/risk.safetensors")
    assert found is not None
    assert (str(found.name), found.data_class) == ("model/a/risk", DataClass.CONFIDENTIAL)
    assert (found.project, found.environment) == ("other", Environment.STAGING)


def test_assets_are_matched_by_name() -> None:
    found = rules.match(DOCUMENT, AssetName.parse("model/anything/at/all"))
    assert found is not None
    assert (found.data_class, found.purposes) == (DataClass.INTERNAL, (Purpose.SERVE,))
    assert rules.match(DOCUMENT, AssetName.parse("dataset/other")) is None


def test_paths_of_a_store_are_apart_from_paths_of_the_project() -> None:
    assert rules.match_path(DOCUMENT, "in/x.json") is None
    found = rules.match_path(DOCUMENT, "in/x.json", store="sealed")
    assert found is not None
    assert found.kind is Kind.PAYLOAD


def test_purposes_are_limited_by_both_rules() -> None:
    first = "- {path: x, kind: dataset, class: public, purposes: [train, serve]}\n"
    second = "- {asset: dataset/x, class: public, purposes: [serve, debug]}\n"
    text = HEAD + "rules:\n" + first + second
    found = rules.match(document.parse(text), "x")
    assert found is not None
    assert found.purposes == (Purpose.SERVE,)


def test_a_path_that_makes_no_name_is_refused_with_the_rule_to_change() -> None:
    with pytest.raises(InvalidName) as caught:
        rules.match(DOCUMENT, "data/with space.csv")
    assert "line 11" in (caught.value.hint or "")


@pytest.mark.parametrize(
    "path", ["new/file.csv", "weights/a b.safetensors", "a{b}[c]/x.yaml", "it's/here.log", "3.5", "-x", "ünï/cödé.txt"]
)
def test_the_suggested_rule_is_valid_and_matches(path: str) -> None:
    assert rules.match(DOCUMENT, path) is None
    parsed = document.parse(HEAD + "rules:\n" + rules.suggest_rule(path) + "\n")
    assert rules.match(parsed, path) is not None


def test_a_suggested_name_keeps_what_it_can_of_the_file_name() -> None:
    assert rules.suggest_rule("data/Übersicht größe 2025.csv").endswith(", name: 'Ubersicht-grosse-2025'}")
    assert rules.suggest_rule("data/数据.csv").endswith(", name: 'data'}")


@pytest.mark.parametrize(
    ("glob", "path", "expected"),
    [
        ("a/*.csv", "a/b.csv", True),
        ("a/*.csv", "a/b/c.csv", False),
        ("a/**/c.csv", "a/c.csv", True),
        ("a/**/c.csv", "a/b/b/c.csv", True),
        ("a/**", "a", True),
        ("a/**", "ab", False),
        ("**/x", "x", True),
        ("**", "any/thing", True),
        ("?.csv", "a.csv", True),
        ("?.csv", "ab.csv", False),
        ("*a*b*", "xxaxxbxx", True),
        ("*a*b*", "xxbxxaxx", False),
        ("A", "a", False),
        ("**/a/**/b", "a/a/x/b/b", True),
    ],
)
def test_globs(glob: str, path: str, expected: bool) -> None:
    assert globs.matches(glob, path) is expected


def test_a_hostile_glob_costs_little() -> None:
    assert not globs.matches("/".join(["**", "a*a*a*a*a*b"] * 16), "/".join(["a" * 100] * 60))


@pytest.mark.parametrize(
    ("wide", "narrow", "expected"),
    [
        ("**", "a/b", True),
        ("a/**", "a/*/c", True),
        ("a/*", "a/**", False),
        ("a*", "ab*", True),
        ("ab*", "a*", False),
        ("?", "*", False),
        ("*", "?", True),
        ("a/**/b", "a/b", True),
        ("*.csv", "x*.csv", True),
        ("x*.csv", "*.csv", False),
    ],
)
def test_covering_is_never_claimed_falsely(wide: str, narrow: str, expected: bool) -> None:
    assert globs.covers(wide, narrow) is expected
