"""Cedar text and requests from anybody: only ConfigError, no crash; bundles and globs agree with plain descriptions of themselves."""

from __future__ import annotations

import dataclasses
import re

from hypothesis import assume, given
from hypothesis import strategies as st

from hermetic.errors import ConfigError, FormatError, InvalidName
from hermetic.ids import AssetName, DataClass, Enforcement, Environment, Kind, Purpose
from hermetic.policy import defaults, document, globs, rules
from hermetic.policy.bundle import MAGIC, PolicyBundle
from hermetic.policy.cedar import Engine
from hermetic.policy.request import RELEASES, Action, AssetResource, Context, DecisionRequest, Principal, PrincipalKind
from hermetic.policy.rulebook import Rulebook

BOOK = Rulebook.load(defaults.default_bundle("a" * 26, "risk"))
SHIPPED = "\n".join(defaults.cedar_texts().values())
WORDS_OF_CEDAR = (
    "permit forbid ( ) { } [ ] , ; when unless principal action resource context . == in ! - has like is if then else && || 1"
)
PIECES = st.sampled_from(
    [
        *WORDS_OF_CEDAR.split(),
        *('@id("x")', 'Action::"open"', 'Role::"auditor"', '"', "//", "\n", " ", "?principal", "purpose", "\x00", "\ud800", "é"),
        *("\\", "true", 'datetime("x")', "999999999999999999999999"),
    ]
)


def load(text: str) -> Engine | ConfigError:
    """Return the engine, or the error, which is always of one class and has a place."""
    try:
        return Engine({"a.cedar": text})
    except ConfigError as error:
        return error


def check(loaded: Engine | ConfigError) -> None:
    if isinstance(loaded, ConfigError):
        assert loaded.line
        assert loaded.hint


@given(st.text(max_size=200))
def test_any_text_as_policies(text: str) -> None:
    check(load(text))


@given(st.lists(PIECES, max_size=60).map(" ".join))
def test_text_that_looks_like_policies(text: str) -> None:
    check(load(text))


@given(st.integers(0, len(SHIPPED)), st.sampled_from(["", "(", ")", '"', ";", "x", "\n", "@", "!", "[[[[[[[["]), st.integers(0, 3))
def test_shipped_policies_with_something_changed(at: int, put: str, cut: int) -> None:
    check(load(SHIPPED[:at] + put + SHIPPED[at + cut :]))


@given(st.sampled_from(["(", "[", "{a: ", "!(", "if true then ", "context.", "-", "!"]), st.integers(1, 5000), st.booleans())
def test_deep_nesting_does_not_reach_the_engine(unit: str, count: int, closed: bool) -> None:
    closing = {"(": ")", "[": "]", "{a: ": "}", "!(": ")", "if true then ": " else true"}.get(unit, "") if closed else ""
    check(load(f'@id("x") permit (principal, action, resource) when {{ {unit * count}true{closing * count} }};'))


WORDS = st.text(max_size=6)
ASSETS = st.builds(
    AssetResource,
    id=WORDS,
    name=WORDS.map("dataset/".__add__),
    kind=st.sampled_from(Kind),
    data_class=st.sampled_from(DataClass),
    environment=st.sampled_from(Environment),
    project=st.sampled_from(["risk", "other", ""]),
    owner=WORDS,
    version=st.none() | st.integers(1, 9),
)
ROLES = st.lists(
    st.sampled_from(list(BOOK.document.roles)).flatmap(lambda role: st.sampled_from([role, f"{role}@risk", f"{role}@other"])),
    max_size=3,
)
PRINCIPALS = st.builds(Principal, id=WORDS, name=WORDS, kind=st.sampled_from(PrincipalKind), roles=ROLES.map(tuple))
CONTEXTS = st.builds(
    Context,
    now_ms=st.integers(0, 4_000_000_000_000),
    enforcement=st.sampled_from(Enforcement),
    purpose=st.none() | st.sampled_from(Purpose),
    run=st.booleans(),
    granted=st.booleans(),
    approvals=st.integers(0, 3),
    mfa_age_ms=st.none() | st.integers(0, 10**9),
    network=st.none() | st.sampled_from(["10.0.0.1", "::1", "nowhere"]),
)
REQUESTS = st.builds(DecisionRequest, PRINCIPALS, st.sampled_from(Action), ASSETS, CONTEXTS)


@given(REQUESTS)
def test_what_always_holds_of_the_shipped_policies(asked: DecisionRequest) -> None:
    verdict = BOOK.judge(asked)
    if not verdict.allowed:
        assert verdict.reasons
        return
    context, resource = asked.context, asked.resource
    assert isinstance(resource, AssetResource)
    assert verdict.policies
    assert asked.principal.roles or context.granted
    if asked.action in RELEASES:
        assert context.purpose is not None
        assert not (resource.data_class is DataClass.RESTRICTED and context.purpose is Purpose.DEBUG)
        assert resource.environment is not Environment.PRODUCTION or context.enforcement is not Enforcement.COOPERATIVE
        if resource.data_class is DataClass.RESTRICTED and Purpose.SHARE in (context.purpose, asked.action):
            assert context.approvals >= 1


@given(REQUESTS)
def test_an_approval_or_a_fresher_factor_never_turns_a_yes_into_a_no(asked: DecisionRequest) -> None:
    """Otherwise `by_people` would promise what does not help."""
    verdict = BOOK.judge(asked)
    if verdict.by_people:
        willing = dataclasses.replace(asked.context, approvals=9, mfa_age_ms=0)
        assert BOOK.judge(dataclasses.replace(asked, context=willing)).allowed


NAMES = st.from_regex(r"policies/[a-z0-9][a-z0-9._-]{0,20}\.cedar", fullmatch=True)


@given(st.dictionaries(NAMES, st.binary(max_size=50), max_size=5), st.binary(max_size=50))
def test_a_bundle_has_one_encoding(files: dict[str, bytes], yaml: bytes) -> None:
    bundle = PolicyBundle(files | {"hermetic.yaml": yaml})
    raw = bundle.to_bytes()
    assert PolicyBundle.from_bytes(raw).files == bundle.files
    for at in range(len(raw)):
        changed = raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]
        try:
            assert PolicyBundle.from_bytes(changed).digest() != bundle.digest()
        except FormatError:
            continue


@given(st.binary(max_size=200))
def test_any_bytes_as_a_bundle(raw: bytes) -> None:
    for candidate in (raw, MAGIC + raw):
        try:
            assert PolicyBundle.from_bytes(candidate).to_bytes() == candidate
        except FormatError:
            continue


SEGMENTS = st.lists(st.sampled_from(["a", "b", "ab", "*", "?", "a*", "*b", "**", "a?b", "*a*"]), min_size=1, max_size=5).map("/".join)
PATHS = st.lists(st.sampled_from(["a", "b", "ab", "aab", "abb", "c"]), min_size=1, max_size=6).map("/".join)


def described(glob: str) -> re.Pattern[str]:
    """The same as a regular expression: `**` any number of segments, `*` and `?` within one."""

    def part(segment: str) -> str:
        if segment == "**":
            return "(?:[^/]+/)*"
        return re.escape(segment).replace(r"\*", "[^/]*").replace(r"\?", "[^/]") + "/"

    return re.compile("".join(map(part, glob.split("/"))))


@given(SEGMENTS, PATHS)
def test_globs_match_what_their_description_matches(glob: str, path: str) -> None:
    assert globs.matches(glob, path) is bool(described(glob).fullmatch(path + "/"))


@given(SEGMENTS, SEGMENTS, PATHS)
def test_a_glob_that_covers_another_matches_all_it_matches(wide: str, narrow: str, path: str) -> None:
    if globs.covers(wide, narrow) and globs.matches(narrow, path):
        assert globs.matches(wide, path)


@given(st.text(min_size=1, max_size=40))
def test_suggested_rules_are_valid(path: str) -> None:
    assume(not globs.flaw(re.sub(r"[\[\]{}\\]", "?", path)))
    assume(path.isprintable() and not re.match(r"[/~]|[A-Za-z]:", path) and "://" not in path)
    head = f"format: hermetic-policy/1\ndomain: {'a' * 26}\nproject: risk\nrules:\n"
    parsed = document.parse(f"{head}{rules.suggest_rule(path)}\n")
    assert parsed.rules[0].data_class is DataClass.CONFIDENTIAL
    assert globs.matches(parsed.rules[0].paths[0], path)


@given(st.text(max_size=60))
def test_any_path_resolves_or_is_no_name(path: str) -> None:
    head = f"format: hermetic-policy/1\ndomain: {'a' * 26}\nproject: risk\n"
    parsed = document.parse(head + "rules:\n- {path: '**', kind: dataset, class: public, name: '{path}'}\n")
    try:
        found = rules.match(parsed, path)
    except InvalidName:
        return
    assert found is None or AssetName.parse(str(found.name)) == found.name
