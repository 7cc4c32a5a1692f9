"""Leaves: what is written, what is refused, and what stays hidden."""

from __future__ import annotations

import pytest

from hermetic.audit import leaf
from hermetic.audit.leaf import KINDS, Entry, Hidden, Leaf, RowState, encode_leaf
from hermetic.audit.openings import LogKeys, Opening, Openings, check_opening
from hermetic.audit.scan import Scanner
from hermetic.audit.store import MemoryStore
from hermetic.crypto.secret import Secret
from hermetic.errors import FormatError, IntegrityError, UsageError, WrongKey
from hermetic.formats import canonical
from tests.unit.audit.making import DOMAIN, START_MS

RAW = b'{"at_ms":5,"facts":{"request":"r"},"format":"hermetic/v1/log-leaf","generation":1,"index":7,"kind":"release.intent"}'


def test_the_bytes_of_a_leaf() -> None:
    assert encode_leaf(Entry("release.intent", {"request": "r"}), (1, 7), 5, {}) == RAW
    row = RowState("kek", "abc", 3, bytes(32))
    raw = encode_leaf(Entry("key.state", {"key": "k", "state": "active"}, rows=(row,)), (2, 0), 5, {"reason": bytes(32)})
    leaf = Leaf.parse(raw)
    assert leaf.rows == (row,)
    assert leaf.hidden == {"reason": bytes(32)}
    assert canonical.encode(canonical.decode(raw, limit=9999)) == raw


def test_facts_of_every_type_are_canonical() -> None:
    facts = {"request": 'quote " back \\ \x01\x7f\n', "b": True, "n": None, "i": -3, "l": [1, "x", {"deep": []}], "u": "é — 😀"}
    raw = encode_leaf(Entry("release.intent", facts), (1, 7), 5, {})
    assert Leaf.parse(raw).facts == facts
    assert canonical.encode(canonical.decode(raw, limit=9999)) == raw


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"at_ms":5', b'"at_ms":5.0'),
        (b'"at_ms":5', b'"at_ms":true'),
        (b'"at_ms":5', b'"at_ms":-1'),
        (b'"at_ms":5', b'"at_ms": 5'),
        (b'"at_ms":5,', b'"at_ms":5,"at_ms":5,'),
        (b'"at_ms":5,', b""),
        (b'"index":7', b'"index":9007199254740992'),
        (b'"index":7', b'"index":"7"'),
        (b'"generation":1', b'"generation":0'),
        (b"v1/log-leaf", b"v2/log-leaf"),
        (b"release.intent", b"release"),
        (b"release.intent", b"release.Intent"),
        (b'"kind":"release.intent"', b'"kind":7'),
        (b'{"request":"r"}', b"[]"),
        (b'{"request":"r"}', b'{"Request":"r"}'),
        (b'{"request":"r"}', b'{"request":1.5}'),
        (b'{"request":"r"}', b'{"b":1,"a":2}'),
        (b'{"request":"r"}', b'{"a":1,"a":2}'),
        (b'{"request":"r"}', b'{"a":9007199254740992}'),
        (b'{"request":"r"}', b'{"a":NaN}'),
        (b'"generation":1,', b'"generation":1,"hidden":{},'),
        (b'"generation":1,', b'"generation":1,"hidden":{"a":"AAAA"},'),
        (b'"generation":1,', b'"generation":1,"hidden":{"a":"' + b"A" * 42 + b'B"},'),
        (b'"generation":1,', b'"generation":1,"hidden":{"a":7},'),
        (b'"release.intent"', b'"release.intent","rows":[]'),
        (b'"release.intent"', b'"release.intent","rows":[["kek","a",-1,null]]'),
        (b'"release.intent"', b'"release.intent","rows":[["kek","a",1]]'),
        (b'"release.intent"', b'"release.intent","rows":[[1,"a",1,null]]'),
        (b'"release.intent"', b'"release.intent","more":1'),
        (b"}", b"} "),
        (RAW, b"null"),
        (RAW, b"\xff"),
        (RAW, b""),
    ],
)
def test_misshapen_leaves_are_refused_by_both_readers(old: bytes, new: bytes) -> None:
    assert old in RAW
    bad = RAW.replace(old, new, 1)
    with pytest.raises(FormatError):
        Leaf.parse(bad)
    with pytest.raises(FormatError):
        Scanner().read(bad)


@pytest.mark.parametrize(
    "facts",
    [
        '{"a":"","request":""}',
        '{"a":1,"request":7}',
        '{"a":null,"b":true}',
        "{}",
        '{"request":"r","z":-5}',
        '{"l":["a","b"]}',
        '{"l":[]}',
        '{"l":[1]}',
    ],
)
def test_a_second_leaf_of_a_shape_is_read_like_the_first(facts: str) -> None:
    raw = RAW.replace(b'{"request":"r"}', facts.encode())
    scanner = Scanner()
    first = scanner.read(raw, "release.intent")
    assert scanner.read(raw, "release.intent") == first
    assert first == (1, 7, 5, "release.intent", Leaf.parse(raw).facts.get("request"), ())
    other = raw.replace(b'"index":7', b'"index":70000').replace(b":5,", b":6,", 1)
    assert scanner.read(other, "release.intent")[:3] == (1, 70_000, 6)
    for bad in (raw.replace(b'"index":7', b'"index":07'), raw.replace(b"}", b"} "), raw + b"\n", raw.replace(b'":', b'": ')):
        with pytest.raises(FormatError):
            scanner.read(bad, "release.intent")


@pytest.mark.parametrize("limit", ["_CACHE_LIMIT", "_PATTERN_LIMIT"])
def test_a_scanner_that_can_remember_no_more_says_the_same(monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    raw = [
        b'{"at_ms":5,"facts":{"n%d":"a","request":"r"},"format":"hermetic/v1/log-leaf","generation":1,"index":7,"kind":"a.b%d"}'
        % (n, n)
        for n in (1, 2, 2, 1)
    ]
    fresh = [Scanner().read(one) for one in raw]
    monkeypatch.setattr(f"hermetic.audit.scan.{limit}", 1)
    scanner = Scanner()
    assert [scanner.read(one) for one in (raw + raw)] == fresh + fresh
    assert [scanner.read(one.replace(b'"a"', b'["a",1]')) for one in raw] == fresh


def test_names_that_are_not_remembered_are_checked_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hermetic.audit.leaf._SEEN_NAMES", {str(number) for number in range(4096)})
    leaf._remember_name("fresh_name")
    assert len(leaf._SEEN_NAMES) == 4096
    with pytest.raises(UsageError, match="not a field name"):
        leaf._remember_name("Fresh")


def test_a_leaf_over_the_limit_is_refused() -> None:
    with pytest.raises(UsageError):
        encode_leaf(Entry("release.intent", {"request": "r" * 65_536}), (1, 7), 5, {})
    with pytest.raises(FormatError):
        Leaf.parse(RAW.replace(b'"r"', b'"' + b"r" * 65_536 + b'"'))


@pytest.mark.parametrize(
    "make",
    [
        lambda: Entry("no.such-kind"),
        lambda: Entry("release.intent"),
        lambda: Entry("release.intent", {"request": "r", "Upper": "x"}),
        lambda: Entry("release.intent", {"request": "r"}, {"bad name": Hidden("v", "s")}),
        lambda: Entry("release.intent", {"request": "r", **{f"f{number}": 1 for number in range(64)}}),
        lambda: Hidden("value", ""),
        lambda: Hidden("value", "s" * 256),
    ],
)
def test_entries_that_could_not_be_leaves_are_refused(make: object) -> None:
    with pytest.raises(UsageError):
        make()  # type: ignore[operator]


def test_facts_without_an_encoding_are_refused() -> None:
    for value in (1.5, "\ud800", 2**53, b"bytes"):
        with pytest.raises(UsageError):
            encode_leaf(Entry("release.intent", {"request": value}), (1, 7), 5, {})  # type: ignore[dict-item]


def test_registered_kinds_are_well_formed() -> None:
    for kind, facts in KINDS.items():
        raw = encode_leaf(Entry(kind, dict.fromkeys(facts, "x")), (1, 7), 5, {})
        assert Leaf.parse(raw).kind == Scanner().read(raw)[3] == kind


def opened() -> tuple[Openings, MemoryStore, Leaf]:
    store, openings = MemoryStore(), Openings(DOMAIN, LogKeys(Secret(bytes(32))))
    hidden = {"principal": Hidden("ana", "p:1"), "reason": Hidden("because", "p:1"), "parameters": Hidden({"rows": [1, 2]}, "a:1")}
    entry = Entry("release.intent", {"request": "r"}, hidden)
    commitments, row = openings.commit(store, entry, (1, 7), {})
    assert row is not None
    leaf = Leaf.parse(encode_leaf(entry, (1, 7), START_MS, commitments))
    from hermetic.audit.store import Batch, CheckpointRow

    store.append(1, Batch([], [], [row], CheckpointRow(8, bytes(32), "", 0), None))
    return openings, store, leaf


def test_openings_open_and_verify_without_a_key() -> None:
    openings, store, leaf = opened()
    found = openings.open(store, leaf)
    assert {name: item.value for name, item in found.items()} == {
        "principal": "ana",
        "reason": "because",
        "parameters": {"rows": [1, 2]},
    }
    assert check_opening(leaf, found["reason"]) == "because"
    assert len({item.salt for item in found.values()}) == 3


def test_a_false_opening_is_refused() -> None:
    openings, store, leaf = opened()
    good = openings.open(store, leaf)["reason"]
    for bad in (
        Opening("reason", good.salt, "another"),
        Opening("reason", bytes(32), good.value),
        Opening("principal", good.salt, good.value),
    ):
        with pytest.raises(IntegrityError):
            check_opening(leaf, bad)
    with pytest.raises(FormatError):
        check_opening(leaf, Opening("nothing", good.salt, good.value))


def test_erasure_takes_one_subject_and_is_for_ever() -> None:
    openings, store, leaf = opened()
    assert openings.erase(store, "p:1") == 1
    assert set(openings.open(store, leaf)) == {"parameters"}
    commitments, row = openings.commit(store, Entry("run.started", {"run": "x"}, {"who": Hidden("ana", "p:1")}), (1, 8), {})
    assert set(commitments) == {"who"}
    assert row is None
    assert openings.erase(store, "never seen") == 0


def test_openings_of_another_place_or_domain_do_not_open() -> None:
    openings, store, leaf = opened()
    row = store.data[1].openings[7]
    store.data[1].openings[8] = (8, *row[1:])
    moved = Leaf.parse(RAW.replace(b'"index":7', b'"index":8'))
    with pytest.raises(WrongKey):
        openings.open(store, moved)
    store.data[1].openings[7] = (7, row[1], row[2][:-1])
    with pytest.raises(FormatError):
        openings.open(store, leaf)


def test_the_same_value_hides_differently_each_time() -> None:
    openings, store, leaf = opened()
    entry = Entry("run.started", {"run": "x"}, {"reason": Hidden("because", "p:1")})
    assert openings.commit(store, entry, (1, 9), {})[0]["reason"] != leaf.hidden["reason"]
