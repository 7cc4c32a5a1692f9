"""Refusals of one caller about ever new things: bounded on the log, nothing lost, and nothing hidden behind noise."""

from __future__ import annotations

from hermetic.audit import denials, floods
from hermetic.audit.leaf import Entry, Hidden
from hermetic.audit.openings import LogKeys
from hermetic.audit.store import MemoryStore
from hermetic.audit.verify import verify
from hermetic.crypto.secret import Secret
from tests.unit.audit.making import DOMAIN, START_MS, intent, make_log

SECOND = 1000


def denial(asked, *, who="eve", asks="open-versions", reason="NotFound"):
    subject = f"principal:{who}"
    hidden = {"principal": Hidden(who, subject), "asked": Hidden([asked], subject)}
    return Entry("release.denied", {"request": None, "asks": asks, "action": None, "reasons": [reason]}, hidden)


def begun():
    store = MemoryStore()
    make_log().begin(store, now_ms=START_MS)
    return store


def refuse(store, number, at_ms, **more):
    """As another process each time: nothing is kept but in the store."""
    things = more.pop("things", ())
    return make_log().append_denial(store, denial(f"dataset/made-up-{number}", **more), now_ms=at_ms, things=things)


def on_log(store, kind):
    log = make_log()
    return [(leaf, log.open(store, leaf)) for leaf in log.leaves(store) if leaf.kind == kind]


def test_ever_new_names_write_so_much_and_no_more_and_each_is_counted():
    store = begun()
    for number in range(400):
        refuse(store, number, START_MS + number * SECOND)
        if number % 7 == 0:
            make_log().append(store, [intent(f"r{number}")], now_ms=START_MS + number * SECOND)  # what others do resets nothing
    singly, sums = on_log(store, "release.denied"), on_log(store, "denials.summed")
    assert len(singly) == 1 + floods.SINGLY
    assert len(sums) == 5  # one a minute
    waiting = make_log().waiting(store)
    assert len(singly) + sum(leaf.facts["count"] for leaf, _ in sums) + waiting == 400
    for leaf, opened in sums:
        assert leaf.facts["sorts"] == {"open-versions NotFound": leaf.facts["count"]}
        assert leaf.facts["first_ms"] + floods.SUMMARY_MS > leaf.facts["last_ms"] > leaf.facts["first_ms"]
        assert opened["principal"].value == "eve"
    assert len({leaf.facts["digest"] for leaf, _ in sums}) == 5
    flushed = make_log().flush(store, now_ms=START_MS + 500 * SECOND)
    assert flushed is not None
    assert make_log().waiting(store) == 0
    verify(store, DOMAIN)


def test_another_hour_begins_anew():
    store = begun()
    for hour in range(2):
        for number in range(100):
            refuse(store, number + 100 * hour, START_MS + hour * floods.WINDOW_MS)
    assert len(on_log(store, "release.denied")) == 2 * (1 + floods.SINGLY)
    assert [leaf.facts["count"] for leaf, _ in on_log(store, "denials.summed")] == [100 - 1 - floods.SINGLY]


def test_noise_hides_no_other_sort_of_refusal_nothing_that_exists_and_nobody_else():
    store = begun()
    for number in range(300):
        refuse(store, number, START_MS)
    size = make_log().head(store)[0].size
    telling = [
        {"asks": "rotate-key"},  # another request
        {"reason": "PolicyDenied"},  # refused for another reason
        {"things": ("asset-one",)},  # about something that exists
        {"things": ("asset-one", "asset-two")},  # and about one more
        {"who": "mallory"},
    ]
    for number, more in enumerate(telling, 1000):
        assert not refuse(store, number, START_MS, **more).coalesced
    assert make_log().head(store)[0].size == size + len(telling)
    assert refuse(store, 2000, START_MS, things=("asset-one",)).coalesced  # that it was refused is on record already


def test_who_goes_through_everything_that_exists_is_named_by_summaries_still(monkeypatch):
    monkeypatch.setattr(floods, "FIRSTS", 40)
    monkeypatch.setattr(floods, "SINGLY", 10)
    store = begun()
    for number in range(floods.FIRSTS + floods.SINGLY + 100):
        refuse(store, number, START_MS, things=(f"asset-{number}",))
    assert len(on_log(store, "release.denied")) == floods.FIRSTS + floods.SINGLY - 1
    make_log().flush(store, now_ms=START_MS + floods.SUMMARY_MS)
    ((leaf, _),) = on_log(store, "denials.summed")
    assert leaf.facts["count"] == 101
    assert len(leaf.facts["things"]) == floods.THINGS
    assert leaf.facts["things_more"] == 101 - floods.THINGS


def test_more_callers_than_there_are_meters_share_one_but_not_what_is_first(monkeypatch):
    monkeypatch.setattr(floods, "CALLERS", 4)
    store = begun()
    for number in range(floods.CALLERS + 5):
        assert not refuse(store, number, START_MS, who=f"user-{number}").coalesced
    for number in range(90):
        refuse(store, 1000 + number, START_MS, who=f"user-{floods.CALLERS + number % 5}")
    make_log().flush(store, now_ms=START_MS, everything=True)
    ((leaf, opened),) = on_log(store, "denials.summed")
    assert leaf.facts["count"] == 90 - floods.SINGLY
    assert "principal" not in opened


def test_clocks_that_differ_a_little_begin_nothing_anew():
    """Of several machines on one database."""
    store = begun()
    for number in range(300):
        refuse(store, number, START_MS + floods.WINDOW_MS + (number % 2) * 90)
    assert len(on_log(store, "release.denied")) == 1 + floods.SINGLY
    assert not on_log(store, "denials.summed")


def test_what_is_held_stays_small_whatever_was_asked():
    keys, store = LogKeys(Secret(bytes([200]) * 32)), begun()
    held, mark = denials.Held(), denials.mark_of(LogKeys(Secret(bytes([200]) * 32)))
    meters = held.meters(keys)
    for number in range(floods.CALLERS):
        meter = floods.Meter(START_MS, Hidden("\x01" * 100, "p" * 255), 2**31, 2**31)
        meter.firsts = {mark(f"{number} {one}") for one in range(floods.FIRSTS)}
        meter.summary = floods.Summary(2**40, START_MS, START_MS, "x" * 43)
        for one in range(floods.THINGS * 2):
            refused = floods.Refused("c", f'"\\{one}\u2028' * 200, (f'"\\{one}\u2028' * 200,), "s" * 43, None)
            meter.summary.add(refused, START_MS)
        meters.of[f"{number}" * 100] = meter
    held.save(store, keys)
    assert len(store.state()) < denials.STATE_LIMIT // 2
    assert len(denials.Held.load(store, keys).meters(keys).of) == floods.CALLERS
    make_log().flush(store, now_ms=START_MS, everything=True)
    assert len(on_log(store, "denials.summed")) == floods.CALLERS


def test_what_waited_before_there_were_meters_is_read():
    keys, store = LogKeys(Secret(bytes([200]) * 32)), begun()
    held = denials.Held({"sort": denials.Waiting(1, 0, 3, START_MS, START_MS)})
    held.save(store, keys)
    store.put_state(store.state()[len(denials._MARKER) + denials._HEAD.size :])
    assert make_log().waiting(store) == 3
