"""Two records of one root compared: what each of them lacks, and what nothing may explain away."""

from __future__ import annotations

import pytest

from hermetic.audit.leaf import Entry, Leaf, encode_leaf
from hermetic.audit.reconcile import Comparison, Span
from hermetic.audit.reconcile_findings import LISTED
from hermetic.audit.recorded import Coverage, Recorded, Unreadable
from hermetic.audit.uses import OwnUses
from hermetic.errors import FormatError

ROOT = "root-a"
START = 1_800_000_000_000


def own(*ids, operation="unwrap", at=START, root=ROOT, **facts):
    """Our log: one leaf for each id, a second apart."""
    found = OwnUses(ROOT)
    for number, request in enumerate(ids):
        said = {"count": 1, "first_ms": at + 1000 * number, "last_ms": at + 1000 * number + 5, "roots": {root: {operation: [request]}}}
        entry = Entry("root.used", {**said, **facts})
        found.add(Leaf.parse(encode_leaf(entry, (1, number), START, {})))
    return found


def seen(request, second=0, operation="unwrap", **more):
    given = {"who": "trainer", "address": "10.0.0.1", "login": "token-1", "identity": "trainer e1", "place": f"byte {second}"}
    return Recorded(
        what=more.pop("what", "use"), at_ms=START + 1000 * second, operation=operation, request=request, **{**given, **more}
    )


def compare(ours, *items, span=None, size=(1, 1000), later=None):
    comparison, coverage = Comparison(ours, span or Span()), Coverage()
    for item in items:
        comparison.see(item)
        if isinstance(item, Recorded):
            coverage.saw(item.at_ms)
    if later is not None:
        comparison.learn(later)
    return comparison.report(coverage, size)


def codes(report):
    return [(found.code, found.severity) for found in report.findings]


def test_the_same_on_both_sides():
    report = compare(own("a", "b"), seen("a"), seen("b", 1))
    assert (codes(report), report.matched, report.own, report.recorded) == ([], 2, 2, 2)
    assert report.operations == (("unwrap", 2),)


@pytest.mark.parametrize(
    ("other", "code", "why"),
    [
        ({}, "use-unrecorded", "with the token or key of recorded uses, from an address of recorded uses"),
        ({"address": "6.6.6.6"}, "use-unrecorded", "with the token or key of recorded uses, from an address of no recorded use"),
        ({"login": "token-2"}, "use-unrecorded", "as the identity of recorded uses, after another login"),
        ({"login": "token-2", "identity": ""}, "use-unexplained", "by nobody who made recorded uses"),
        ({"login": "", "identity": "", "who": "", "address": ""}, "use-unexplained", "by somebody without a name"),
    ],
)
def test_uses_that_only_the_service_knows(other, code, why):
    """Found first or last, the login of our own uses is known at the end."""
    for items in ([seen("x", 1, **other), seen("a", 2)], [seen("a", 0), seen("x", 1, **other)]):
        (found,) = compare(own("a", at=START), *items).findings
        assert (found.code, found.severity, found.subject) == (code, "high", "unwrap")
        assert why in found.message
        assert "2027-01-15 08:00:01.000Z" in found.message
        assert "request x (byte 1)" in found.message


@pytest.mark.parametrize("operation", ["unwrap", "rewrap", "datakey", "what-is-this"])
def test_what_gives_something_out_is_high(operation):
    assert codes(compare(own("a"), seen("a"), seen("x", 1, operation))) == [("use-unrecorded", "high")]


def test_what_only_takes_something_in_is_medium():
    assert codes(compare(own("a"), seen("a"), seen("x", 1, "wrap"))) == [("use-unrecorded", "medium")]


def test_the_key_itself():
    report = compare(own("a"), seen("a"), seen("x", 1, "export", items=1), seen("y", 1, "backup"))
    assert codes(report) == [("root-exported", "high")] * 2
    ours = own("a", operation="export")
    assert codes(compare(ours, seen("a", operation="export"))) == [("root-exported", "high")], "also where a check of ours got it"


def test_uses_that_only_our_log_knows():
    report = compare(own("a", "b", "c"), seen("a"), seen("c", 2))
    (found,) = report.findings
    assert (found.code, found.severity, found.subject) == ("use-missing", "high", "log entry 1")
    assert "unwrap b" in found.message


def test_what_the_record_does_not_cover_is_said():
    report = compare(own("a", "b", "c"), seen("b", 1))
    assert codes(report) == [("record-begins-late", "medium"), ("record-ends-early", "medium")]
    assert (report.not_covered_before, report.not_covered_after, report.this_command) == (1, 1, 0)
    assert codes(compare(own("a", "b"))) == [("record-ends-early", "medium")], "an empty record covers nothing"


def test_this_command_uses_the_root_too():
    report = compare(own("a", "b"), seen("a"), size=(1, 1))
    assert (codes(report), report.this_command) == ([], 1)
    report = compare(own("a", "b", "c"), seen("a"), seen("c", 2), size=(1, 1))
    assert codes(report) == [("use-missing", "high")], "but not in the middle of the record"


def test_clocks_that_differ():
    """Ids are compared, not times; only what is missing is placed by time, and then by what the two clocks say of the same uses."""
    hour = 3600
    ours = own("a", "b", "c", "d")
    assert codes(compare(ours, seen("a", hour), seen("b", hour + 1), seen("c", hour + 2), seen("d", hour + 3))) == []
    assert codes(compare(ours, seen("a", hour), seen("c", hour + 2), seen("d", hour + 3))) == [("use-missing", "high")]
    assert codes(compare(ours, seen("a", -hour), seen("b", 1 - hour))) == [("record-ends-early", "medium")]


def test_a_shorter_time():
    ours = own("a", "b", "c")
    items = [seen("x", 0), seen("b", 1), seen("y", 1)]
    assert [code for code, _ in codes(compare(ours, *items))] == ["use-unrecorded"] * 2 + ["record-begins-late", "record-ends-early"]
    since = Span(since_ms=START + 1000)
    assert [code for code, _ in codes(compare(ours, *items, span=since))] == ["use-unrecorded", "record-ends-early"]
    both = Span(START + 500, START + 1500)
    assert codes(compare(ours, *items[:2], span=both)) == []
    assert codes(compare(ours, *items[:1], span=both)) == [("record-ends-early", "medium")], "what was asked for is not covered"


def test_uses_from_before_our_log_names_any():
    report = compare(own("a"), seen("x", -1), seen("a"))
    assert (codes(report), report.before) == ([("record-older-than-log", "low")], 1)
    nothing = compare(own(), seen("x"))
    assert codes(nothing) == [("record-older-than-log", "medium")], "nothing compared is no good news"
    assert codes(compare(own("a", root="another"), seen("a"))) == [("record-older-than-log", "medium")]


def test_lines_that_borrow_an_id():
    report = compare(own("a", "b"), seen("a"), seen("a", 1), seen("b", 2))
    assert codes(report) == [("use-differs", "high")]
    assert codes(compare(own("a", "b"), seen("a"), seen("a"), seen("b", 2))) == [], "overlapping copies of one file"
    report = compare(own("a", operation="wrap"), seen("a"))
    assert codes(report) == [("use-differs", "high")]
    assert "our log has this id for wrap, in entry 0" in report.findings[0].message


def test_damage_changes_and_refusals():
    refused = [seen("r", 1, granted=False, login="token-9", who="mallory") for _ in range(3)]
    report = compare(
        own("a"),
        seen("a"),
        Unreadable("byte 7", "torn"),
        seen("c", 1, "config exportable", what="change", grave=True),
        seen("d", 1, "trim", what="change"),
        seen("e", 1, "config", what="change", granted=False),
        seen("f", 1, granted=False),
        *refused,
    )
    assert codes(report) == [
        ("record-damaged", "high"),
        ("root-key-changed", "high"),
        ("root-key-changed", "medium"),
        ("use-refused", "low"),
    ]
    assert "refused 3 times to mallory" in report.findings[-1].message
    assert report.refused == 4, "those of our own login are counted, and no finding: checks provoke them"


def test_logins():
    """Of whoever logs in somewhere, only those by an identity of ours matter, and those of ours are on our log."""
    ours = own("l", "a")
    login = {"what": "login", "operation": "login"}
    items = [seen("l", 0, **login), seen("a", 1), seen("z", 2, **login, identity="nobody we know", login="t5")]
    assert codes(compare(own("l", operation="login"), seen("l", 0, **login))) == []
    report = compare(ours, *items)
    assert [code for code, _ in codes(report)] == ["use-differs"], "an id of an unwrap"
    mixed = own("a")
    for one, use in own("l", operation="login").by_id.items():
        mixed.by_id[one] = use
    assert codes(compare(mixed, *items)) == []
    report = compare(mixed, *items, seen("y", 3, **login, login="token-7"), seen("w", 3, **login, granted=False))
    assert codes(report) == [("login-unexplained", "medium")]


def test_what_others_added_to_our_log_meanwhile():
    assert codes(compare(own("a"), seen("a"), seen("b", 1), later=own("a", "b"))) == []
    assert codes(compare(own("a"), seen("a"), seen("b", 1), seen("x", 1), later=own("a", "b"))) == [("use-unrecorded", "high")]


def test_many_findings_are_counted():
    report = compare(own("a"), seen("a"), *(seen(f"x{number}", 1) for number in range(LISTED + 50)))
    assert len(report.findings) == LISTED + 1
    assert "50 more, which are not listed" in {found.message for found in report.findings}


def test_answers_without_an_id():
    assert codes(compare(own("a", unnamed=3), seen("a"))) == [("use-unnamed", "low")]


@pytest.mark.parametrize("facts", [{"roots": []}, {"roots": {}, "first_ms": "x"}, {"roots": {}, "first_ms": 1, "last_ms": None}])
def test_leaves_of_another_form(facts):
    raw = encode_leaf(Entry("root.used", {"count": 0, "first_ms": 0, "last_ms": 0, **facts}), (1, 0), START, {})
    with pytest.raises(FormatError):
        OwnUses(ROOT).add(Leaf.parse(raw))
