"""Signed notes and checkpoints: the examples of the C2SP specifications, and everything that must be refused."""

from __future__ import annotations

import pytest

from hermetic.audit.note import COSIGNATURE, Checkpoint, Note, NoteSignature, Origin, VerifierKey, open_note, sign_note
from hermetic.audit.proof import Receipt, verify_receipt_tree
from hermetic.audit.tree import EMPTY_ROOT
from hermetic.errors import FormatError, LogTampered, SignatureError
from hermetic.ids import DomainId
from tests.unit.audit.making import DOMAIN, signing_key

# c2sp.org/signed-note, "Verifier keys"
VKEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
NOTE = (
    "This is an example message.\n\n"
    "— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
)
TEXT = f"hermetic.log/{DOMAIN}/1\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n"


def test_the_example_of_the_specification_verifies_and_keeps_its_bytes() -> None:
    key = VerifierKey.parse(VKEY)
    note = Note.parse(NOTE.encode())
    assert open_note(note, [key]) == [key]
    assert str(key) == VKEY
    assert bytes(note) == NOTE.encode()


def test_our_own_note_verifies() -> None:
    note = Checkpoint(Origin(DOMAIN, 1), 0, EMPTY_ROOT).sign(signing_key())
    key = VerifierKey(f"hermetic.log/{DOMAIN}/1", signing_key().public)
    assert open_note(Note.parse(bytes(note)), [key]) == [key]
    assert note.text == TEXT
    assert Checkpoint.parse(note.text) == Checkpoint(Origin(DOMAIN, 1), 0, EMPTY_ROOT)


def test_lines_of_unknown_keys_are_ignored_but_somebody_known_must_sign() -> None:
    key = VerifierKey("log", signing_key(1).public)
    note = sign_note("text\n", "log", [signing_key(1), signing_key(2)])
    assert open_note(note, [key]) == [key]
    with pytest.raises(SignatureError):
        open_note(note, [VerifierKey("log", signing_key(3).public)])
    with pytest.raises(SignatureError):
        open_note(note, [VerifierKey("other", signing_key(1).public)])
    with pytest.raises(SignatureError):
        open_note(note, [])


def test_a_bad_line_of_a_known_key_refuses_the_note() -> None:
    keys = [VerifierKey("log", signing_key(number).public) for number in (1, 2)]
    good = sign_note("text\n", "log", [signing_key(1), signing_key(2)])
    bad_line = NoteSignature("log", keys[1].key_id, bytes(64))
    short_line = NoteSignature("log", keys[1].key_id, bytes(63))
    for line in (bad_line, short_line):
        with pytest.raises(SignatureError):
            open_note(Note("text\n", (good.signatures[0], line)), keys)


def test_a_witness_cosignature_of_the_specification_is_read() -> None:
    signer = signing_key(9)
    witness = VerifierKey("witness.example/w1", signer.public, COSIGNATURE)
    stamp = (1_679_315_147).to_bytes(8, "big")
    signature = signer.sign(b"cosignature/v1\ntime 1679315147\n" + TEXT.encode())
    line = NoteSignature(witness.name, witness.key_id, stamp + signature)
    assert open_note(Note(TEXT, (line,)), [witness]) == [witness]
    assert VerifierKey.parse(str(witness)) == witness
    with pytest.raises(SignatureError):
        open_note(Note(TEXT, (NoteSignature(witness.name, witness.key_id, bytes(8) + signature),)), [witness])
    with pytest.raises(FormatError):
        open_note(Note(TEXT, (NoteSignature(witness.name, witness.key_id, signature),)), [witness])


SIGNATURE_LINE = NOTE.split("\n\n")[1]


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\n",
        b"text\n",
        b"text\n\n",
        b"text\n\n\n",
        NOTE.encode()[:-1],
        NOTE.encode() + b"\n",
        NOTE.replace("message", "mess\tage").encode(),
        NOTE.replace("message", "mess\rage").encode(),
        NOTE.encode().replace(b"message", b"mess\xffage"),
        NOTE.replace("— ", "- ").encode(),
        NOTE.replace("— example", "—  example").encode(),
        NOTE.replace("example.com/foo ", "example.com/foo+x ").encode(),
        NOTE.replace("example.com/foo ", "example.com\u00a0foo ").encode(),
        NOTE.replace("aQM=", "aQM").encode(),
        NOTE.replace("aQM=", "aQN=").encode(),
        "text\n\n— name AAAAAA==\n".encode(),
        ("text\n\n" + SIGNATURE_LINE * 65).encode(),
        b"x" * 140_000 + NOTE.encode(),
    ],
)
def test_misshapen_notes_are_refused(raw: bytes) -> None:
    with pytest.raises(FormatError):
        Note.parse(raw)


def test_sixteen_signatures_of_post_quantum_size_are_read() -> None:
    line = str(NoteSignature("witness", b"abcd", bytes(4700)))
    assert len(Note.parse(("text\n\n" + line * 16).encode()).signatures) == 16


@pytest.mark.parametrize(
    "text",
    [
        TEXT[:-1],
        TEXT + "extension\n",
        TEXT.replace("\n0\n", "\n00\n"),
        TEXT.replace("\n0\n", "\n-1\n"),
        TEXT.replace("\n0\n", "\n٣\n"),
        TEXT.replace("\n0\n", "\n9007199254740992\n"),
        TEXT.replace("47DE", "47D"),
        TEXT.replace("47DEQpj8", ""),
        TEXT.replace("/1\n", "/0\n"),
        TEXT.replace("/1\n", "/01\n"),
        TEXT.replace("/1\n", "\n"),
        TEXT.replace("hermetic.log", "example.com"),
        TEXT.replace(DOMAIN, DOMAIN.upper()),
        "",
    ],
)
def test_misshapen_checkpoints_are_refused(text: str) -> None:
    with pytest.raises(FormatError):
        Checkpoint.parse(text)


@pytest.mark.parametrize(
    "text",
    [
        VKEY.replace("530d903a", "530d903b"),
        VKEY.replace("530d903a", "530D903A"),
        VKEY.replace("+AekyeRrm", "+BukyeRrm"),
        VKEY[:-4],
        "example.com/foo",
        "+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
        "example.com/foo+530d903a+",
        "a b+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
    ],
)
def test_misshapen_verifier_keys_are_refused(text: str) -> None:
    with pytest.raises(FormatError):
        VerifierKey.parse(text)


def test_values_that_could_not_be_written_are_refused() -> None:
    for make in (
        lambda: Origin(DomainId("no id"), 1),
        lambda: Origin(DOMAIN, 0),
        lambda: Checkpoint(Origin(DOMAIN, 1), 0, b"short"),
        lambda: VerifierKey("name", bytes(31)),
        lambda: VerifierKey("n" * 256, bytes(32)),
        lambda: VerifierKey("half\ud800", bytes(32)),
        lambda: sign_note("no newline", "name", [signing_key()]),
        lambda: sign_note("half \ud800\n", "name", [signing_key()]),
    ):
        with pytest.raises(FormatError):
            make()


def receipt_of_one_leaf() -> Receipt:
    from hermetic.audit.tree import leaf_hash

    note = Checkpoint(Origin(DOMAIN, 1), 1, leaf_hash(b"leaf")).sign(signing_key())
    return Receipt(b"leaf", 0, (), note)


def test_receipt_text_keeps_its_bytes_with_and_without_the_leaf() -> None:
    receipt = receipt_of_one_leaf()
    assert Receipt.parse(bytes(receipt)) == receipt
    assert bytes(Receipt.parse(bytes(receipt))) == bytes(receipt)
    assert Receipt.parse(receipt.proof.encode(), leaf=b"leaf") == receipt
    assert bytes(receipt).startswith(b"c2sp.org/tlog-proof@v1\nextra bGVhZg==\nindex 0\n\nhermetic.log/")


def test_receipt_is_refused_for_another_leaf_key_or_place() -> None:
    receipt = receipt_of_one_leaf()
    key = VerifierKey(f"hermetic.log/{DOMAIN}/1", signing_key().public)
    assert verify_receipt_tree(receipt, [key]).size == 1
    with pytest.raises(LogTampered):
        verify_receipt_tree(Receipt(b"other", 0, (), receipt.checkpoint), [key])
    with pytest.raises(FormatError):
        verify_receipt_tree(Receipt(b"leaf", 1, (), receipt.checkpoint), [key])
    with pytest.raises(SignatureError):
        verify_receipt_tree(receipt, [VerifierKey(key.name, signing_key(2).public)])


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("tlog-proof@v1", "tlog-proof@v2"),
        ("extra bGVhZg==", "extra bGVhZg"),
        ("extra bGVhZg==\n", ""),
        ("index 0", "index 00"),
        ("index 0", "index -1"),
        ("index 0\n", ""),
        ("index 0\n", "index 0\nAAAA\n"),
        ("index 0\n", "index 0\n" + ("A" * 43 + "=\n") * 65),
        ("index 0\n\n", "index 0\n"),
    ],
)
def test_misshapen_receipts_are_refused(old: str, new: str) -> None:
    raw = bytes(receipt_of_one_leaf()).decode()
    assert old in raw
    with pytest.raises(FormatError):
        Receipt.parse(raw.replace(old, new, 1).encode())


def test_receipts_over_the_limit_are_refused() -> None:
    with pytest.raises(FormatError):
        Receipt.parse(b"x" * 262_145)
    with pytest.raises(FormatError):
        Receipt.parse(bytes(Receipt(bytes(65_536), 0, (), receipt_of_one_leaf().checkpoint)))
