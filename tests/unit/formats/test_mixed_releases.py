"""Messages between releases: an older peer leaves out what it does not know, a newer one says more. Every message, every part."""

from __future__ import annotations

import dataclasses
import json

import pytest

from hermetic.errors import FormatError, Unsupported
from hermetic.formats import canonical, codec, parts
from hermetic.formats.messages import base, versions
from hermetic.formats.messages.greeting import Hello, Welcome
from hermetic.formats.release import RELEASE
from hermetic.ids import Purpose
from tests.unit.formats.filled import filled, places

MESSAGES = [(cls, filled(cls)) for _, cls in sorted(codec.registered().items())]
OPEN = versions.OpenVersions("a" * 26, ("dataset/a",), Purpose.TRAIN)


@parts.binding
@dataclasses.dataclass(frozen=True, slots=True)
class Terms:
    """A part that binds, with a term that this release does not know."""

    id: str
    uses: int | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Tomorrow:
    """An answer of the next release."""

    terms: tuple[Terms, ...]
    note: str = ""


def opened(message):
    """The message as JSON."""
    return json.loads(codec.encode(message))


def closed(outer):
    """Its bytes again."""
    return canonical.encode(outer)


def at(outer, cls, number):
    """Part and JSON object number so and so."""
    return list(places(cls, outer["body"]))[number]


def every_place(*, defaulted):
    """Every (message class, message, number of the part, field, default) of fields with a default, or of those without."""
    for cls, message in MESSAGES:
        for number, (part, _) in enumerate(places(cls, opened(message)["body"])):
            defaults = parts.defaults_of(part)
            for name in (field.name for field in dataclasses.fields(part)):
                if (name in defaults) == defaulted:
                    yield cls, message, number, name, defaults.get(name)


def without_crit(outer):
    return {name: value for name, value in outer.items() if name != "crit"}


def test_every_message_comes_back():
    for _, message in MESSAGES:
        assert codec.decode(codec.encode(message)) == message


def test_what_an_older_peer_leaves_out_is_what_it_is_by_default():
    for cls, message, number, name, _ in every_place(defaulted=True):
        outer = without_crit(opened(message))
        del at(outer, cls, number)[1][name]
        assert without_crit(opened(codec.decode(closed(outer)))) == outer, (cls, name)


def test_what_has_no_default_is_demanded():
    for cls, message, number, name, _ in every_place(defaulted=False):
        outer = without_crit(opened(message))
        del at(outer, cls, number)[1][name]
        with pytest.raises(FormatError, match="at least"):
            codec.decode(closed(outer))


def test_one_value_has_one_form():
    """A default that is written out is refused, but in what was kept from before."""
    for cls, message, number, name, default in every_place(defaulted=True):
        outer = without_crit(opened(message))
        at(outer, cls, number)[1][name] = parts.dump(default)
        greeting = cls is Hello and name in {"protocol", "release"}  # which says of whoever sends it that they are older
        with pytest.raises(Unsupported if greeting else FormatError, match="greets otherwise" if greeting else "by default"):
            codec.decode(closed(outer))
        if codec.asks(cls):
            del at(kept := json.loads(closed(outer)), cls, number)[1][name]
            assert opened(codec.decode_kept(closed(outer))) == kept, (cls, name)


def test_what_a_newer_peer_says_beside_it_stops_a_request_and_is_passed_over_in_an_answer():
    for cls, message in MESSAGES:
        for number, _ in enumerate(places(cls, opened(message)["body"])):
            outer = opened(message)
            at(outer, cls, number)[1]["of_tomorrow"] = {"at_most": [1, None]}
            if not codec.asks(cls):
                assert codec.decode(closed(outer)) == message, cls
                continue
            for read in (codec.decode, codec.decode_kept):
                with pytest.raises(Unsupported, match="of_tomorrow") as refused:
                    read(closed(outer))
                assert "newer release" in refused.value.hint


def test_what_an_answer_calls_critical_has_to_be_understood():
    message = filled(versions.Opened)
    outer = opened(message)
    outer["body"]["released"][0]["lease"]["uses"] = 1
    outer["crit"] = ["released.lease.uses"]
    with pytest.raises(Unsupported, match=r"released\.lease\.uses") as refused:
        codec.decode(closed(outer))
    assert "upgrade the client" in refused.value.hint
    outer["crit"] = ["released.lease.check_ms"]
    assert codec.decode(closed(outer)) == message


@pytest.mark.parametrize(
    "named", [[], None, "released", [1], ["released", "purpose"], ["purpose", "purpose"], ["released.place.x"], ["nothing"], {}]
)
def test_a_list_of_critical_fields_that_is_none_is_refused(named):
    with pytest.raises(FormatError, match="crit"):
        codec.decode(closed(opened(filled(versions.Opened)) | {"crit": named}))


def test_a_list_of_very_many_critical_fields_costs_one_look(monkeypatch):
    """Custody reads whatever is sent to it, also an answer: each name would be looked for in all of a long list."""
    names = [f"k{number:03}" for number in range(500)]
    outer = opened(filled(versions.Opened))
    outer["body"]["released"] += [dict.fromkeys(names, 0)]
    outer["crit"] = ["purpose", *(f"released.{name}" for name in names)]
    looks, plain = [], parts.holds
    monkeypatch.setattr(parts, "holds", lambda value, path: looks.append(path) or plain(value, path))
    with pytest.raises(Unsupported, match=r"released\.k000"):
        codec.decode(closed(outer))
    assert {look for look in looks if look.startswith(("released", "purpose"))} == {"released.k000", "purpose"}


def test_a_request_has_no_such_list_since_all_of_it_is_critical():
    with pytest.raises(FormatError, match="everything is critical"):
        codec.decode(closed(opened(OPEN) | {"crit": ["refs"]}))


def test_what_brings_a_key_or_says_that_it_may_be_used_binds_its_reader():
    """Fields that are added to these parts are critical without a word; so is the one that there is."""
    assert opened(filled(versions.Opened))["crit"] == ["released.place"]
    without = dataclasses.replace(filled(versions.Released), place=None)
    assert "crit" not in opened(dataclasses.replace(filled(versions.Opened), released=(without,)))
    answers = [(cls, message) for cls, message in MESSAGES if not codec.asks(cls)]
    holders = {part for cls, message in answers for part, _ in places(cls, opened(message)["body"]) if "lease" in part.__slots__}
    assert {versions.Released, versions.Draft} <= holders <= parts.BINDING
    assert {versions.Lease, base.KeyBlob, versions.LeaseState, versions.LeaseStates} <= parts.BINDING


def test_an_answer_of_a_later_release_is_marked_by_its_sender():
    """What the next release would do: a term is added to leases, and the codec of that release marks it."""
    assert parts.binding_paths(Tomorrow) == ("terms.uses",)
    assert parts.holds(parts.dump(Tomorrow((Terms("a"), Terms("b", 1)))), "terms.uses")
    assert not parts.holds(parts.dump(Tomorrow((Terms("a"),))), "terms.uses")


def test_a_request_has_one_hash_in_releases_that_know_more_fields():
    """So that approvals count when client, approver and custody are of different releases."""

    @dataclasses.dataclass(frozen=True, slots=True)
    class OpenVersions(versions.OpenVersions):
        at_most: int | None = None
        slowly: bool = False

    later = OpenVersions("a" * 26, ("dataset/a",), Purpose.TRAIN)
    assert parts.dump(later) == parts.dump(OPEN)
    assert parts.dump(dataclasses.replace(later, at_most=1)) != parts.dump(OPEN)


def test_equal_is_not_enough_to_be_left_out():
    """`False` is not 0: what is of a wrong type is written, and refused where it arrives."""
    with pytest.raises(FormatError, match="expected int"):
        codec.decode(codec.encode(Hello(size=False)))


@pytest.mark.parametrize("raw", [b'{"body":{},"hermetic":1,"type":"of-tomorrow"}', None])
def test_a_message_or_a_word_of_tomorrow_is_not_supported(raw):
    outer = opened(OPEN)
    outer["body"]["purpose"] = "dream"
    with pytest.raises(Unsupported):
        codec.decode(raw or closed(outer))


def test_what_is_kept_is_a_request():
    with pytest.raises(FormatError, match="no request"):
        codec.decode_kept(codec.encode(base.Done()))
    with pytest.raises(FormatError, match="no request"):
        codec.decode_kept(closed(opened(OPEN) | {"crit": ["refs"]}))


def test_the_greeting_is_what_it_is():
    """Custody of any release has to answer it: nothing is ever added."""
    assert set(opened(filled(Hello))["body"]) == {"protocol", "generation", "size", "release"}
    assert "release" in parts.defaults_of(Welcome)


def test_values_of_classes_of_their_own_are_what_they_are_made_of():
    class Raw(bytes):
        """Bytes of a library's."""

        __slots__ = ()

    class Row(tuple):
        """A row of a library's."""

        __slots__ = ()

    assert parts.dump((Raw(b"\xff"), Row(("a", 1)), Purpose.TRAIN)) == ["_w", ["a", 1], "train"]
    with pytest.raises(FormatError, match="cannot carry a float"):
        parts.dump(1.5)


@pytest.mark.parametrize(
    ("body", "client"),
    [
        ({"generation": 0, "protocol": 1, "size": 0}, "unknown"),
        ({"generation": 2, "protocol": 1, "release": "0.0.9", "size": 7}, "0.0.9"),
        ({"release": ""}, "unknown"),
        ({"protocol": 1, "release": "\x1b[2J"}, "unknown"),
    ],
)
def test_a_greeting_from_before_defaults_were_left_out_is_of_an_older_release(body, client):
    with pytest.raises(Unsupported, match=f"of release {client}, .* release {RELEASE} takes") as refused:
        codec.decode(closed({"body": body, "hermetic": 1, "type": "hello"}))
    assert refused.value.exit_code == 1
    assert refused.value.hint.endswith("upgrade the client")
