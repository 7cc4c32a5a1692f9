"""Manifests: signed, verified, opened; no byte of an envelope is free."""

from __future__ import annotations

import dataclasses
import json

import pytest

from hermetic.crypto.sign import SigningKey
from hermetic.errors import FormatError, IntegrityError, SignatureError
from hermetic.formats import canonical
from hermetic.formats.dsse import parse_envelope
from hermetic.formats.manifest import Commitments, Manifest, ManifestObject, Opening
from hermetic.ids import Environment, id_from_bytes
from hermetic.signing.envelopes import sign_envelope, verify_envelope
from hermetic.signing.manifests import (
    check_openings,
    commitments_of,
    manifest_hash,
    new_openings,
    sign_manifest,
    verify_manifest,
)

SIGNER = SigningKey.generate()
TRUSTED = {"k1": SIGNER.public}
IDS = [id_from_bytes(bytes([number]) * 16) for number in range(1, 9)]


def make(**changes):
    domain, asset, version, data_key, *objects = IDS
    openings, commitments = new_openings(name="dataset/patients", data_class="restricted", writer="ana")
    records = tuple(
        ManifestObject(domain, asset, version, index, name, bytes([index]) * 32, "blake3", 1000, data_key)
        for index, name in enumerate(objects[:2])
    )
    manifest = Manifest(
        domain=domain,
        asset=asset,
        version=version,
        number=3,
        previous=bytes(32),
        environment=Environment.PRODUCTION,
        created_ms=1,
        commitments=commitments,
        objects=records,
    )
    return dataclasses.replace(manifest, **changes), openings


def test_signed_manifest_comes_back_and_hides_what_it_commits_to():
    manifest, openings = make()
    raw = sign_manifest(manifest, SIGNER, "k1")
    assert verify_manifest(raw, TRUSTED) == manifest
    assert check_openings(manifest, openings) == openings
    assert canonical.encode(json.loads(raw)) == raw
    payload = parse_envelope(raw, limit=10_000).payload
    for word in (b"patients", b"restricted", b"ana"):
        assert word not in payload


def test_manifest_hash_does_not_depend_on_the_signer():
    manifest, _ = make()
    first = sign_manifest(manifest, SIGNER, "k1")
    second = sign_manifest(manifest, SigningKey.generate(), "k2")
    assert manifest_hash(first) == manifest_hash(second)
    assert manifest_hash(first) != manifest_hash(sign_manifest(make()[0], SIGNER, "k1")), "salts are fresh"


def test_every_changed_byte_of_an_envelope_is_refused():
    raw = sign_manifest(make()[0], SIGNER, "k1")
    for offset in range(len(raw)):
        for mask in (0x01, 0x02, 0x20, 0x80):
            changed = bytearray(raw)
            changed[offset] ^= mask
            with pytest.raises(IntegrityError) as caught:
                verify_manifest(bytes(changed), TRUSTED)
            assert caught.value.exit_code == 4


def test_every_truncation_and_extension_is_refused():
    raw = sign_manifest(make()[0], SIGNER, "k1")
    for changed in [raw[:length] for length in range(len(raw))] + [raw + b"\n", b" " + raw, raw + raw]:
        with pytest.raises(FormatError):
            verify_manifest(changed, TRUSTED)


@pytest.mark.parametrize("trusted", [{}, {"k2": SIGNER.public}, {"k1": SigningKey.generate().public}, {"k1": b"short"}])
def test_untrusted_signers_are_refused(trusted):
    with pytest.raises(SignatureError):
        verify_manifest(sign_manifest(make()[0], SIGNER, "k1"), trusted)


def test_another_kind_of_document_is_refused():
    raw = sign_envelope(make()[0].encode(), "application/vnd.in-toto+json", SIGNER, "k1")
    with pytest.raises(SignatureError, match="expected"):
        verify_manifest(raw, TRUSTED)
    assert verify_envelope(raw, "application/vnd.in-toto+json", TRUSTED, limit=10_000).key_id == "k1"


@pytest.mark.parametrize("key_id", ["", "a b", "ü", "a\n", "x" * 129])
def test_bad_key_ids_are_refused(key_id):
    with pytest.raises(FormatError, match="key id"):
        sign_manifest(make()[0], SIGNER, key_id)


@pytest.mark.parametrize("field", ["name", "data_class", "writer"])
def test_other_values_and_salts_do_not_open(field):
    manifest, openings = make()
    opening = getattr(openings, field)
    for other in (Opening(opening.salt, "other"), Opening(bytes(32), opening.value)):
        with pytest.raises(IntegrityError):
            check_openings(manifest, dataclasses.replace(openings, **{field: other}))
    for broken in (Opening(b"short", opening.value), Opening(opening.salt, "\ud800")):
        with pytest.raises(FormatError):
            check_openings(manifest, dataclasses.replace(openings, **{field: broken}))


def test_commitments_of_different_fields_differ_for_one_value():
    same = Opening(bytes(32), "x")
    openings = dataclasses.replace(make()[1], name=same, data_class=same, writer=same)
    commitments = commitments_of(openings)
    assert len({commitments.name, commitments.data_class, commitments.writer}) == 3


@pytest.mark.parametrize(
    "changes",
    [
        {"objects": ()},
        {"number": 0},
        {"created_ms": -1},
        {"domain": IDS[7]},
        {"previous": bytes(31)},
        {"commitments": Commitments(b"", b"", b"")},
    ],
)
def test_manifests_that_no_reader_would_take_are_not_signed(changes):
    with pytest.raises(FormatError):
        sign_manifest(make(**changes)[0], SIGNER, "k1")
