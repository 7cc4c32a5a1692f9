"""Wrapped Parquet keys: one spelling each, and nothing but our errors for any other text."""

from __future__ import annotations

import json
from types import SimpleNamespace

from hypothesis import given
from hypothesis import strategies as st

from hermetic.crypto.secret import Secret
from hermetic.errors import FormatError, IntegrityError
from hermetic.ids import id_from_bytes
from hermetic.integrations.parquet.material import rewrapped
from hermetic.integrations.parquet.wrapping import Place, parse, unwrap, wrap

KEY = Secret(bytes(range(32)))
IDS = st.binary(min_size=16, max_size=16).map(id_from_bytes)
PLACES = st.builds(Place, IDS, IDS, IDS, st.integers(1, 9_999_999_999), IDS)
KEYS = st.sampled_from([16, 24, 32]).flatmap(lambda length: st.binary(min_size=length, max_size=length))


@given(PLACES, KEYS)
def test_round_trip(place, key):
    text = wrap(KEY, key, place)
    found, sealed = parse(text)
    assert (found, unwrap(KEY, found, sealed)) == (place, key)


@given(PLACES, KEYS, st.data())
def test_any_change_is_refused(place, key, data):
    text = wrap(KEY, key, place)
    at = data.draw(st.integers(0, len(text) - 1))
    changed = text[:at] + data.draw(st.characters(codec="utf-8").filter(lambda char: char != text[at])) + text[at + 1 :]
    try:
        unwrap(KEY, *parse(changed))
    except IntegrityError:
        return
    raise AssertionError(f"{changed!r} opens")


@given(st.text(alphabet="HPK1.abcdefg234567AB-_=0 9\n", max_size=300))
def test_any_text(text):
    try:
        place, _ = parse(text)
    except FormatError:
        return
    assert text.startswith(place.text())


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["masterKeyID", "wrappedDEK", "keyMaterialType"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(
    st.binary(max_size=50)
    | JSON.map(lambda value: json.dumps(value).encode())
    | st.dictionaries(st.text(max_size=5), JSON.map(json.dumps), max_size=3).map(lambda value: json.dumps(value).encode())
)
def test_any_key_material(content):
    keyring = SimpleNamespace(rewrap=lambda wrapped, name, file: (wrapped, name))
    try:
        assert isinstance(json.loads(rewrapped(content, keyring)), dict)
    except FormatError:
        return
