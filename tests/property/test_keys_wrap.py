"""Wraps of data keys and documents of this room, whatever they hold."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermetic.crypto.secret import Secret
from hermetic.errors import HermeticError, IntegrityError
from hermetic.formats import canonical
from hermetic.ids import DataClass, Environment, id_from_bytes
from hermetic.keys import slots
from hermetic.keys.domain_file import DomainFile
from hermetic.keys.passphrase_wrap import PassphraseWrap
from hermetic.keys.wrap import DataKeyContext, KekContext, data_key_and_check, unwrap_data_key, wrap_data_key

ids = st.binary(min_size=16, max_size=16).map(id_from_bytes)
projects = st.text(st.characters(codec="utf-8"), max_size=40)
data_contexts = st.builds(
    DataKeyContext, domain=ids, environment=st.sampled_from(Environment), asset_id=ids, version_id=ids, data_key_id=ids
)


@st.composite
def pairs(draw):
    data = draw(data_contexts)
    place = KekContext(
        kek_id=draw(ids),
        number=draw(st.integers(1, canonical.MAX_INTEGER)),
        environment=data.environment,
        data_class=draw(st.sampled_from(DataClass)),
        project=draw(projects),
    )
    return data, place


@given(pairs(), st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32))
def test_round_trip(both, kek, secret):
    data, place = both
    wrapped = wrap_data_key(Secret(kek), Secret(secret), place, data)
    assert unwrap_data_key(Secret(kek), wrapped, place, data).same_as(data_key_and_check(Secret(secret), data)[0])


@given(pairs(), pairs(), st.binary(min_size=32, max_size=32))
def test_two_places_never_share(one, other, kek):
    (data, place), (other_data, other_place) = one, other
    wrapped = wrap_data_key(Secret(kek), Secret(bytes(32)), place, data)
    if (data, place) == (other_data, other_place):
        return
    with pytest.raises(IntegrityError):
        unwrap_data_key(Secret(kek), wrapped, other_place, dataclasses.replace(other_data, environment=other_place.environment))


@given(pairs())
def test_contexts_are_canonical(both):
    data, place = both
    for encoded in (data.encode(), place.associated_data(data.data_key_id)[4:]):
        assert canonical.encode(canonical.decode(encoded, limit=4096)) == encoded


@given(pairs(), st.binary(max_size=200))
def test_any_bytes_are_refused(both, raw):
    data, place = both
    with pytest.raises(IntegrityError):
        unwrap_data_key(Secret(bytes(32)), raw, place, data)


@given(
    st.binary(max_size=400)
    | st.recursive(
        st.none() | st.booleans() | st.integers(0, 9) | st.text(max_size=9),
        lambda inner: st.dictionaries(st.sampled_from(["format", "roots", "slots", "domain", "wrapped", "root"]), inner),
    ).map(canonical.encode)
)
def test_parsers_raise_only_ours(raw):
    for parse in (DomainFile.decode, PassphraseWrap.parse, slots.decode):
        with pytest.raises(HermeticError):
            parse(raw)


@given(st.dictionaries(ids, st.binary(min_size=1, max_size=100), min_size=1, max_size=16))
def test_slots_documents(wraps):
    assert slots.decode(slots.encode(wraps)) == wraps
