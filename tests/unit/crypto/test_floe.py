"""FLOE against the reference implementations' known answers, and against every way to misplace a segment."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from hermetic.crypto.floe import (
    HEADER,
    FloeDecryptor,
    FloeEncryptor,
    FloeParameters,
    decrypt_message,
    encrypt_message,
)
from hermetic.crypto.secret import Secret
from hermetic.errors import FormatError, IntegrityError, UsageError, WrongKey

KEY = Secret(bytes(32))
OTHER = Secret(bytes(31) + b"\x01")
AAD = b"This is AAD"
SMALL = FloeParameters(40, rotation_mask=2)  # 8 plaintext bytes a segment, a new key every 4 segments


@pytest.mark.parametrize("implementation", ["cpp", "go"])
@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("GCM256_IV256_4K", FloeParameters(4096)),
        ("GCM256_IV256_64", FloeParameters(64)),
        ("rotation", SMALL),
    ],
)
def test_known_answer_decrypts(test_data, count_vector, implementation, name, parameters):
    folder = test_data / "vectors" / "floe"
    plain, sealed = (bytes.fromhex((folder / f"{implementation}_{name}_{kind}.txt").read_text()) for kind in ("pt", "ct"))
    assert decrypt_message(KEY, AAD, parameters, sealed) == plain
    count_vector(folder / f"{implementation}_{name}_ct.txt")


def test_every_known_answer_file_is_used(test_data):
    names = {path.name for path in (test_data / "vectors" / "floe").glob("*_ct.txt")}
    expected = {f"{who}_{what}_ct.txt" for who in ("cpp", "go") for what in ("GCM256_IV256_4K", "GCM256_IV256_64", "rotation")}
    assert names == expected


@pytest.mark.parametrize("length", [0, 1, 7, 8, 9, 15, 16, 17, 32, 33, 200])
def test_round_trip_at_segment_edges(length):
    plain = bytes(range(length))
    message = encrypt_message(KEY, AAD, SMALL, plain)
    assert len(message) == SMALL.message_length(length)
    assert SMALL.plain_length(len(message)) == length
    assert decrypt_message(KEY, AAD, SMALL, message) == plain


def test_two_messages_of_one_plaintext_differ():
    assert encrypt_message(KEY, AAD, SMALL, b"same") != encrypt_message(KEY, AAD, SMALL, b"same")


@pytest.mark.parametrize("length", [-5, 0, 73, 74, 105, HEADER + 40 + 31])
def test_lengths_that_no_message_has_are_refused(length):
    with pytest.raises(FormatError):
        SMALL.plain_length(length)


@pytest.mark.parametrize(("key", "aad"), [(OTHER, AAD), (KEY, b"this is AAD"), (KEY, b"")])
def test_wrong_key_or_place_is_wrong_key(key, aad):
    with pytest.raises(WrongKey):
        decrypt_message(key, aad, SMALL, encrypt_message(KEY, AAD, SMALL, b"text"))


def test_every_changed_byte_is_found():
    message = encrypt_message(KEY, AAD, SMALL, bytes(20))
    for index in range(len(message)):
        for change in (1, 0x80, 0xFF):
            changed = bytearray(message)
            changed[index] ^= change
            with pytest.raises(IntegrityError):
                decrypt_message(KEY, AAD, SMALL, bytes(changed))


def test_every_truncation_is_found():
    message = encrypt_message(KEY, AAD, SMALL, bytes(20))
    for length in range(len(message)):
        with pytest.raises(IntegrityError):
            decrypt_message(KEY, AAD, SMALL, message[:length])


def test_a_segment_opens_only_where_it_stood():
    message = encrypt_message(KEY, AAD, SMALL, bytes(24))
    decryptor = FloeDecryptor(KEY, AAD, SMALL, message[:HEADER])
    second = memoryview(message)[HEADER + 40 : HEADER + 80]
    out = memoryview(bytearray(b"\xaa" * 8))
    assert decryptor.decrypt_into(1, second, out, is_final=False) == 8
    for position in (0, 2, 5):
        out[:] = b"\xaa" * 8
        with pytest.raises(IntegrityError):
            decryptor.decrypt_into(position, second, out, is_final=False)
        assert bytes(out) == bytes(8), "a failed check leaves nothing in the destination"
    with pytest.raises(FormatError):
        decryptor.decrypt_into(1, second, out, is_final=True)


def test_segments_can_be_made_and_opened_by_many_threads():
    plain = os.urandom(8 * 64)
    encryptor = FloeEncryptor(KEY, AAD, SMALL)
    sealed, opened = bytearray(40 * 64), bytearray(8 * 64)

    def seal(position: int) -> None:
        part = memoryview(plain)[position * 8 : position * 8 + 8]
        encryptor.encrypt_into(position, part, memoryview(sealed)[position * 40 :], is_final=position == 63)

    def open_(position: int) -> None:
        part = memoryview(sealed)[position * 40 : position * 40 + 40]
        decryptor.decrypt_into(position, part, memoryview(opened)[position * 8 :], is_final=position == 63)

    decryptor = FloeDecryptor(KEY, AAD, SMALL, encryptor.header)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(seal, reversed(range(64))))
        list(pool.map(open_, range(64)))
    assert bytes(opened) == plain


def test_wrong_calls_are_usage_errors():
    encryptor = FloeEncryptor(KEY, AAD, SMALL)
    out = memoryview(bytearray(64))
    for plain, final in ((9, True), (9, False), (7, False), (0, False)):
        with pytest.raises(UsageError):
            encryptor.encrypt_into(0, memoryview(bytes(plain)), out, is_final=final)
    with pytest.raises(UsageError):
        encryptor.encrypt_into(2**40, memoryview(bytes(8)), out, is_final=False)
    with pytest.raises(UsageError):
        encryptor.encrypt_into(0, memoryview(bytes(8)), out[:39], is_final=False)
    with pytest.raises(UsageError):
        FloeEncryptor(Secret(bytes(16)), AAD, SMALL)
    with pytest.raises(UsageError):
        FloeParameters(32)


def test_header_of_other_parameters_is_a_format_error():
    message = encrypt_message(KEY, AAD, SMALL, b"x")
    with pytest.raises(FormatError, match="other parameters"):
        FloeDecryptor(KEY, AAD, FloeParameters(64), message[:HEADER])
    with pytest.raises(FormatError):
        FloeDecryptor(KEY, AAD, SMALL, message[: HEADER - 1])
