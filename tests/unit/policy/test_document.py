"""hermetic.yaml: what is read, and where every mistake is found."""

from __future__ import annotations

import pytest

from hermetic.errors import ConfigError
from hermetic.formats.padding import Padding
from hermetic.ids import DataClass, Enforcement, Environment, Kind, Purpose, Stage
from hermetic.policy import document, regions
from hermetic.policy.model import Duty, KekPlace, Original, StoreKind
from hermetic.policy.request import Action
from tests.unit.policy.values import DOMAIN, HEAD, NOW


def problems(body: str, **arguments: int) -> list[tuple[int, int, str]]:
    found = document.problems(HEAD + body, **arguments)
    return [(problem.line, problem.column, problem.message) for problem in found]


def test_the_smallest_file_has_all_classes_environments_and_roles() -> None:
    parsed = document.parse(HEAD)
    assert set(parsed.classes) == set(DataClass)
    assert set(parsed.environments) == set(Environment)
    assert parsed.classes[DataClass.RESTRICTED].default_purpose is None
    assert parsed.classes[DataClass.INTERNAL].default_purpose is Purpose.PREPARE
    assert parsed.environments[Environment.PRODUCTION].require_enforcement is Enforcement.SEPARATED
    assert "domain-owner" in parsed.roles
    assert (parsed.domain, parsed.project) == (DOMAIN, "risk")


def test_a_whole_file() -> None:
    parsed = document.parse(
        HEAD
        + """\
algorithms: approved-only
environment: staging
stores:
  here: {kind: local, path: data/sealed}
  lake: {kind: named}
  vault: {kind: named}
environments:
  development: {store: here, allow_insecure_root: true}
  staging: {store: lake}
  production: {store: vault, require_enforcement: service}
classes:
  restricted:
    suite: FLOE-AES256-GCM-64K-SHA256
    padding: segment
    lease: {check: 2s, offline: 1m}
    retention: 90d
    rotate_after: 4w
    kek: in-provider
    original: report
    require_enforcement: separated
    require_attestation: true
    approvals: {share: 2, open: 1}
    mfa: {open: 10m}
roles:
  annotator: {description: labels images, duty: data, purposes: [prepare]}
rules:
  - {path: data/**, kind: dataset, class: restricted, name: "raw/{stem}", owner: Ana Müller, purposes: [train], store: lake}
  - {asset: [model/**, checkpoint/*], class: confidential, project: other, environment: production}
exceptions:
  - {id: e1, finding: plaintext-file, subject: a/*, reason: invented, approver: ana, expires: 2027-01-31}
budgets:
  - {asset: dataset/**, releases_per_day: 10, epsilon: 3.5, delta: 0.00001}
tls: {suites: [TLS_AES_256_GCM_SHA384], certificate_lifetime: 30d, warn_before: 3d}
pipeline:
  ingestion: {stores: [lake], compute: [laptop], flows: [{from: clinic, to: lake, over: mtls}]}
pickles: [numpy.dtype, numpy._core.multiarray._reconstruct]
"""
    )
    assert parsed.pickles == {"numpy.dtype", "numpy._core.multiarray._reconstruct"}
    rules = parsed.classes[DataClass.RESTRICTED]
    assert (rules.suite, rules.padding) == ("FLOE-AES256-GCM-64K-SHA256", Padding.SEGMENT)
    assert (rules.lease_check_ms, rules.lease_offline_ms) == (2_000, 60_000)
    assert (rules.retention_days, rules.rotate_after_days) == (90, 28)
    assert (rules.kek, rules.original) == (KekPlace.IN_PROVIDER, Original.REPORT)
    assert rules.approvals == {Action.SHARE: 2, Action.OPEN: 1}
    assert rules.mfa_ms == {Action.OPEN: 600_000}
    assert parsed.classes[DataClass.PUBLIC].suite == "FLOE-AES256-GCM-1M-SHA256"
    assert parsed.stores["here"].kind is StoreKind.LOCAL
    assert parsed.store_for(Environment.STAGING) == "lake"
    assert parsed.roles["annotator"].duty is Duty.DATA
    assert parsed.rules[0].paths == ("data/**",)
    assert parsed.rules[0].kind is Kind.DATASET
    assert parsed.rules[1].assets == ("model/**", "checkpoint/*")
    assert parsed.budgets[0].epsilon == 3.5
    assert parsed.pipeline[Stage.INGESTION].flows[0].over == "mtls"
    assert not any("CHACHA20" in suite for suite in parsed.tls.suites)


def test_enforcement_is_the_stricter_of_class_and_environment() -> None:
    parsed = document.parse(HEAD + "classes: {restricted: {require_enforcement: service}}")
    assert parsed.enforcement_for(DataClass.RESTRICTED, Environment.DEVELOPMENT) is Enforcement.SERVICE
    assert parsed.enforcement_for(DataClass.PUBLIC, Environment.PRODUCTION) is Enforcement.SEPARATED
    assert parsed.enforcement_for(DataClass.PUBLIC, Environment.STAGING) is Enforcement.COOPERATIVE


def test_an_asset_can_shorten_the_retention_of_its_class_but_not_lengthen_it() -> None:
    parsed = document.parse(HEAD + "classes: {restricted: {retention: 10d}}")
    day = 86_400_000
    assert parsed.retention_ends(DataClass.RESTRICTED, NOW) == NOW + 10 * day
    assert parsed.retention_ends(DataClass.RESTRICTED, NOW, 3) == NOW + 3 * day
    assert parsed.retention_ends(DataClass.RESTRICTED, NOW, 30) == NOW + 10 * day
    assert parsed.retention_ends(DataClass.PUBLIC, NOW) is None
    assert parsed.retention_ends(DataClass.PUBLIC, NOW, 1) == NOW + day


def test_like_takes_values_from_another_class_before_the_shipped_ones() -> None:
    parsed = document.parse(HEAD + "classes: {internal: {like: confidential, rotate_after: 7d}, confidential: {padding: segment}}")
    internal, confidential = parsed.classes[DataClass.INTERNAL], parsed.classes[DataClass.CONFIDENTIAL]
    assert internal.padding is Padding.SEGMENT
    assert internal.rotate_after_days == 7
    assert internal.retention_days == confidential.retention_days


BLAKE, SHA = "FLOE-AES256-GCM-1M-BLAKE3", "FLOE-AES256-GCM-1M-SHA256"
RETIRED = f"retired_suites:\n  - {{suite: {BLAKE}, reason: weak, opens_until: 2027-06-30}}\n"


def test_classes_without_a_suite_take_one_that_is_not_retired() -> None:
    parsed = document.parse(HEAD + RETIRED)
    assert {rules.suite for rules in parsed.classes.values()} == {SHA}
    (entry,) = parsed.retired((BLAKE, SHA))
    assert (entry.suite, entry.reason, entry.closed(entry.opens_until - 1), entry.closed(entry.opens_until)) == (
        BLAKE,
        "weak",
        False,
        True,
    )
    open_ended = document.parse(HEAD + f"retired_suites: [{{suite: {BLAKE}, reason: weak}}]").retired_suites[0]
    assert not open_ended.closed(NOW * 1000)
    assert document.parse(HEAD).retired_suites == ()


PLACES = [
    # retired suites
    (f"{RETIRED}classes:\n  public: {{suite: {BLAKE}}}", 7, 19, "class public seals with FLOE-AES256-GCM-1M-BLAKE3, which is retired"),
    (f"{RETIRED}  - {{suite: {BLAKE}, reason: again}}", 6, 13, "is retired twice"),
    ("retired_suites: [{suite: AES, reason: weak}]", 4, 26, "unknown suite 'AES'"),
    (f"retired_suites: [{{suite: {SHA}}}]", 4, 18, "reason"),
    # unknown keys and words
    ("stors: {}", 4, 1, "unknown key 'stors' in hermetic.yaml"),
    ("classes:\n  restricted:\n    paddding: none", 6, 5, "unknown key 'paddding' in class"),
    ("classes:\n  secret: {}", 5, 3, "unknown class 'secret'"),
    ("environment: prod", 4, 14, "unknown environment 'prod'"),
    ("classes: {internal: {default_purpose: fun}}", 4, 39, "unknown purpose 'fun'"),
    # weak suites
    ("classes:\n  public: {suite: AES-128-CBC}", 5, 19, "weak suite 'AES-128-CBC': it does not detect changed bytes"),
    ("tls:\n  minimum: tls1.2", 5, 12, "weak TLS version 'tls1.2'"),
    ("tls: {groups: [secp224r1]}", 4, 16, "weak TLS group 'secp224r1'"),
    ("algorithms: approved-only\nclasses:\n  public:\n    suite: FLOE-AES256-GCM-1M-BLAKE3", 7, 12, "is not for approved-only"),
    ("algorithms: approved-only\ntls: {suites: [TLS_CHACHA20_POLY1305_SHA256]}", 5, 16, "is not for approved-only"),
    ("pipeline: {training: {flows: [{from: a, to: b, over: http}]}}", 4, 54, "weak transport 'http'"),
    # pickles
    ("pickles: [numpy.dtype, os.system]", 4, 24, "'os.system' can run programs or code"),
    ("pickles: [numpy]", 4, 11, "a module and a name in it"),
    ("pickles: [numpy.dtype, 'numpy.*']", 4, 24, "a module and a name in it"),
    # loops and conflicts
    (
        "classes:\n  internal: {like: public}\n  public: {like: internal}",
        6,
        18,
        "classes inherit in a loop: public -> internal -> public",
    ),
    ("classes: {public: {like: public}}", 4, 26, "classes inherit in a loop: public -> public"),
    ("classes: {restricted: {default_purpose: train}}", 4, 41, "restricted data has no default purpose"),
    ("classes: {public: {lease: {check: 2h, offline: 1h}}}", 4, 35, "'2h' is out of bounds"),
    ("classes: {public: {lease: {check: 1m, offline: 5s}}}", 4, 35, "class public checks leases less often than they end"),
    ("classes: {internal: {require_enforcement: service}}", 4, 43, "class confidential asks for less enforcement than internal"),
    (
        "rules:\n- {path: a/**, kind: dataset, class: public}\n- {path: a/b.csv, kind: dataset, class: restricted}",
        6,
        10,
        "'a/b.csv' never decides",
    ),
    ("rules:\n- {path: [x, x/*, x/*], kind: dataset, class: public}", 5, 19, "stands twice in the list"),
    ("rules:\n- {path: x, asset: dataset/x, class: public}", 5, 3, "a rule has either `path` or `asset`"),
    ("rules:\n- {path: x, class: public}", 5, 3, "a rule over paths has no `kind`"),
    ("rules:\n- {path: x, kind: dataset}", 5, 3, "rule has no 'class'"),
    ("rules:\n- {asset: dataset/x, class: public, kind: model}", 5, 43, "'kind' has no meaning in a rule over assets"),
    ("rules:\n- {asset: datasets/x, class: public}", 5, 11, "'datasets/x' does not begin with a kind"),
    ("rules:\n- {path: x, kind: dataset, class: public, store: nowhere}", 5, 50, "no store is named 'nowhere'"),
    # durations and numbers
    ("classes: {public: {retention: forever}}", 4, 31, "'forever' is not a duration"),
    ("classes: {public: {retention: 0d}}", 4, 31, "'0d' is not a duration"),
    ("classes: {public: {rotate_after: 11y}}", 4, 34, "'11y' is out of bounds"),
    ("classes: {public: {lease: {check: 5}}}", 4, 35, "found a whole number"),
    ("classes: {public: {approvals: {share: 99}}}", 4, 39, "expected a whole number from 0 to 9"),
    ("classes: {public: {approvals: {enrol: 1}}}", 4, 32, "unknown action on data 'enrol'"),
    ("classes: {public: {require_attestation: yes}}", 4, 41, "expected true or false, found 'yes'"),
    # what belongs into the user's own configuration
    ("stores:\n  lake: {kind: named, bucket: secret-data}", 5, 23, "'bucket' does not belong in a project file"),
    ("stores:\n  lake: {kind: local, path: /srv/data}", 5, 29, "'/srv/data' is an absolute path"),
    ("stores:\n  lake: {kind: local, path: 'C:/data'}", 5, 29, "'C:/data' is an absolute path"),
    ("stores:\n  lake: {kind: local, path: ../data}", 5, 29, "'../data' is not a folder of this project"),
    ("stores:\n  lake: {kind: local, path: 's3://bucket/x'}", 5, 29, "is a location outside the project"),
    ("rules:\n- {path: /data/*, kind: dataset, class: public}", 5, 10, "'/data/*' is an absolute path"),
    ("rules:\n- {path: ~/data/*, kind: dataset, class: public}", 5, 10, "'~/data/*' is an absolute path"),
    ("rules:\n- {path: 's3://b/x', kind: dataset, class: public}", 5, 10, "is a location outside the project"),
    ("endpoint: https://example.org", 4, 1, "'endpoint' does not belong in a project file"),
    ("command: [rm]", 4, 1, "'command' does not belong in a project file"),
    # stores and environments
    ("stores: {a: {kind: local}}", 4, 10, "local store 'a' has no folder"),
    ("stores: {a: {kind: named, path: x}}", 4, 33, "is looked up by name and has no folder"),
    ("stores: {a: {kind: local, path: x}, b: {kind: local, path: x}}", 4, 60, "stores 'a' and 'b' are the same folder"),
    ("environments: {staging: {store: sealed}}", 4, 33, "environments development and staging share the store 'sealed'"),
    ("environments: {staging: {store: other}}", 4, 33, "no store is named 'other'"),
    ("environments: {production: {require_enforcement: cooperative}}", 4, 50, "production needs separated enforcement"),
    ("environments: {production: {allow_insecure_root: true}}", 4, 50, "production never accepts an insecure root"),
    # roles
    ("roles: {mine: {purposes: [train]}}", 4, 9, "role 'mine' of your own has no 'description'"),
    ("roles: {auditor: {duty: keys}}", 4, 25, "the duty of role 'auditor' is oversight"),
    # exceptions and budgets
    ("exceptions:\n- {id: e, finding: f, subject: s, reason: r, expires: 2099-01-01}", 5, 3, "exception has no 'approver'"),
    ("exceptions:\n- {id: e, finding: f, subject: s, reason: ' ', approver: a, expires: 2099-01-01}", 5, 43, "reason is empty"),
    ("exceptions:\n- {id: e, finding: f, subject: s, reason: r, approver: a, expires: 2099-13-01}", 5, 68, "is not a date"),
    ("budgets:\n- {asset: dataset/x}", 5, 3, "a budget without a limit"),
    ("budgets:\n- {asset: dataset/x, releases_per_day: 1, delta: 0.01}", 5, 50, "`delta` needs `epsilon`"),
    # YAML itself
    ("project: again", 4, 1, "'project' stands twice, first in line 3"),
    ("rules: &a []", 4, 8, "anchors and aliases are not used here"),
    ("rules: *a", 4, 8, "anchors and aliases are not used here"),
    ("rules: !!python/object:os.system []", 4, 8, "YAML tags are not used here"),
    ("<<: {}", 4, 1, "merge keys are not used here"),
    ("? [a]\n: b", 4, 3, "a key must be plain text"),
    ("rules: [", 4, 9, "not YAML"),
    ("---\nx: y", 4, 1, "a second document starts here"),
    ("rules:", 4, 1, "expected a list of rules, found nothing"),
    ("classes: [public]", 4, 10, "classes must be a mapping, found a list"),
    ('rules:\n- {path: "a\\x00b", kind: dataset, class: public}', 5, 10, "control or unprintable characters"),
    ('rules:\n- {path: "a\\ud800b", kind: dataset, class: public}', 5, 10, "control or unprintable characters"),
]


@pytest.mark.parametrize(("body", "line", "column", "message"), PLACES, ids=[row[3][:40] for row in PLACES])
def test_a_mistake_is_told_with_its_place(body: str, line: int, column: int, message: str) -> None:
    found = problems(body)
    assert [entry[:2] for entry in found if message in entry[2]] == [(line, column)], found


@pytest.mark.parametrize(("body", "line", "column", "message"), PLACES, ids=[row[3][:40] for row in PLACES])
def test_every_mistake_comes_with_a_remedy(body: str, line: int, column: int, message: str) -> None:
    for problem in document.problems(HEAD + body):
        assert len(problem.remedy) > 8
        assert "\n" not in problem.message


def test_all_mistakes_are_told_at_once_in_the_order_of_the_file() -> None:
    text = HEAD + "stors: {}\nclasses: {public: {padding: huge, lease: {check: 5x}}}\nrules: [{path: /x, kind: y, class: z}]\n"
    with pytest.raises(ConfigError) as caught:
        document.parse(text, file="project/hermetic.yaml")
    error = caught.value
    assert str(error) == "project/hermetic.yaml:4:1: unknown key 'stors' in hermetic.yaml (and 5 more)"
    assert (error.file, error.line, error.column, error.exit_code) == ("project/hermetic.yaml", 4, 1, 2)
    lines = (error.hint or "").splitlines()
    assert "did you mean 'stores'" in lines[0]
    places = [line.split(": ")[0].removeprefix("project/hermetic.yaml:") for line in lines[1:]]
    assert places == ["5:29", "5:50", "6:16", "6:26", "6:36"]
    assert len(lines) == 6


def test_a_file_of_another_format_says_so_and_nothing_else() -> None:
    found = document.problems("format: hermetic-policy/2\nnew_key: 1\n")
    assert [(problem.line, problem.column) for problem in found] == [(1, 9)]
    assert "unknown format 'hermetic-policy/2'" in found[0].message


def test_missing_keys_are_named() -> None:
    messages = {problem.message for problem in document.problems("format: hermetic-policy/1\n")}
    assert messages == {"hermetic.yaml has no 'domain'", "hermetic.yaml has no 'project'"}


EXPIRED = "exceptions:\n- {id: e, finding: f, subject: s, reason: r, approver: a, expires: 2026-09-21}\n"  # NOW is that day


def test_an_expired_exception_is_a_mistake_when_the_time_is_given() -> None:
    assert problems(EXPIRED, now_ms=NOW) == [(5, 68, "exception 'e' has expired")]


def test_an_expired_exception_does_not_stop_a_policy_in_force_and_does_not_count() -> None:
    parsed = document.parse(HEAD + EXPIRED)
    assert not parsed.exceptions[0].active(NOW)
    assert parsed.expired_exceptions(NOW) == parsed.exceptions
    assert parsed.exceptions[0].active(parsed.exceptions[0].expires - 1)
    assert not parsed.exceptions[0].active(parsed.exceptions[0].expires)


def test_an_exception_for_over_a_year_is_a_mistake() -> None:
    body = EXPIRED.replace("2026-09-21", "2028-01-01")
    assert problems(body, now_ms=NOW) == [(5, 68, "exception 'e' runs for over a year")]
    assert problems(body) == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# only a comment\n",
        "[" * 5000,
        "- " * 50,
        "x" * 200_000,
        "[a,\n" * 20_000,
        "\x00",
        "\ud800",
        '"\\UFFFFFFFF"',
        "%YAML 9.9\n--- a",
    ],
)
def test_hostile_text_is_a_config_error_with_a_place(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        document.parse(text)
    assert caught.value.line
    assert caught.value.column


def test_values_are_what_they_look_like() -> None:
    """`no` is a word and dates stay text, as in YAML 1.2; older readers make booleans and dates of them."""
    parsed = document.parse(HEAD.replace("risk", "no"))
    assert parsed.project == "no"


def test_regions_of_classes_environments_and_stores() -> None:
    parsed = document.parse(
        HEAD
        + """\
stores:
  here: {kind: named, region: eu-west}
environments:
  development: {store: here, regions: [eu-west, eu-central]}
classes:
  confidential: {regions: [eu-central]}
  restricted: {like: confidential, default_purpose: none}
"""
    )
    assert parsed.stores["here"].region == "eu-west"
    assert parsed.classes[DataClass.RESTRICTED].regions == ("eu-central",)
    assert parsed.classes[DataClass.PUBLIC].regions is None
    assert regions.allowed(parsed, DataClass.PUBLIC, Environment.DEVELOPMENT) == ("eu-west", "eu-central")
    assert regions.allowed(parsed, DataClass.RESTRICTED, Environment.DEVELOPMENT) == ("eu-central",)
    assert regions.allowed(parsed, DataClass.PUBLIC, Environment.STAGING) is None


@pytest.mark.parametrize(
    ("body", "line", "message", "remedy"),
    [
        ("classes:\n  restricted: {regions: []}\n", 5, "a list of 0 regions; there must be 1 to 1000", "add what is missing"),
        ("classes:\n  restricted: {regions: eu-west}\n", 5, "expected a list of regions", "write [one, two]"),
        ("stores:\n  here: {kind: named, region: EU West}\n", 5, "the name of a region", ""),
        (
            "stores:\n  here: {kind: named, region: us-east}\nenvironments:\n  development: {store: here, regions: [eu-west]}\n",
            7,
            "development stays in eu-west, and its store 'here' is in us-east",
            "write `region: eu-west` under `stores: here:` if it is there, or name another",
        ),
        (
            "environments:\n  staging: {regions: [eu-west, eu-central]}\n",
            5,
            "staging stays in eu-west, eu-central, and its store 'staging' says no `region`",
            "write `region: eu-west` under `stores: staging:`",
        ),
    ],
)
def test_mistakes_about_regions(body: str, line: int, message: str, remedy: str) -> None:
    (found,) = document.problems(HEAD + body)
    assert (found.line, message in found.message, remedy in found.remedy) == (line, True, True), found
