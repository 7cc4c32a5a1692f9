"""Two people with a domain each: one shares a version, the other opens it; and everything that must not work does not."""

from __future__ import annotations

import json
import secrets

import pytest

from hermetic.assets import packages as files
from hermetic.assets.workspace import Workspace
from hermetic.cli import package_list
from hermetic.crypto import hpke
from hermetic.crypto.mac import sha256
from hermetic.crypto.secret import Secret
from hermetic.domain import packages
from hermetic.domain.listing import read_log
from hermetic.errors import (
    ApprovalNeeded,
    Conflict,
    Denied,
    FormatError,
    HermeticError,
    IntegrityError,
    KeyUnusable,
    NotFound,
    PolicyDenied,
    SignatureError,
    StorageError,
    UsageError,
    WrongKey,
)
from hermetic.formats import package as format_
from hermetic.formats.messages import keys, log
from hermetic.formats.messages.packages import RecipientKey, ShareVersion
from hermetic.ids import DataClass
from tests import world as w

SHARES = '@id("team-shares") permit (principal, action == Action::"share", resource) when { resource.class == Class::"internal" };'
CONTENT = {"a.bin": secrets.token_bytes(70_000), "sub/b.txt": b"planted: 5f1c8e", "empty": b""}


@pytest.fixture
def sender(tmp_path):
    made = w.World.make(tmp_path / "sender")
    yield made
    made.close()


@pytest.fixture
def recipient(tmp_path):
    made = w.World.make(tmp_path / "recipient", backup=True)  # of another template: a domain of its own
    yield made
    made.close()


@pytest.fixture
def theirs(sender, tmp_path):
    """The sender's workspace, with a version of three files, and a policy that lets it be shared."""
    folder = tmp_path / "data"
    (folder / "sub").mkdir(parents=True)
    for name, content in CONTENT.items():
        (folder / name).write_bytes(content)
    with Workspace(sender.connect()) as h:
        h.seal(folder, name="dataset/patients", data_class="internal", owner="ana")
        w.change_cedar(h.connection, "test-share.cedar", SHARES)
        yield h


@pytest.fixture
def mine(recipient):
    with Workspace(recipient.connect()) as h:
        yield h


@pytest.fixture
def key():
    return hpke.PrivateKey.generate()


def to(*private):
    return [RecipientKey(f"ben {number}", one.public) for number, one in enumerate(private)]


@pytest.fixture
def made(theirs, key, tmp_path):
    target = tmp_path / "patients.hpkg"
    files.create(theirs.session, "dataset/patients", to(key), target, days=30, reason="joint study")
    return target


def known(theirs):
    return packages.sender_of(theirs.connection.pins)


def read_all(h, ref):
    found = {}
    for name in CONTENT:
        with h.open(f"{ref}/{name}", purpose="prepare") as file:
            found[name] = file.read()
    return found


def test_the_recipient_has_it_under_keys_of_their_own(theirs, mine, key, made):
    sealed, opened = files.open_package(mine.session, made, (known(theirs), key))
    assert (sealed.ref, sealed.data_class, sealed.objects) == ("dataset/patients@1", DataClass.INTERNAL, 3)
    assert read_all(mine, sealed.ref) == CONTENT
    assert opened.statement.domain == theirs.session.domain != mine.session.domain
    assert opened.openings.writer.value
    details = mine.connection.pins
    assert details.pins.domain == mine.session.domain


def test_another_name_class_and_owner(theirs, mine, key, made):
    sealed, _ = files.open_package(mine.session, made, (known(theirs), key), wanted=("dataset/joint", "restricted", "ben"))
    assert (sealed.name, sealed.data_class, sealed.owner) == ("dataset/joint", DataClass.RESTRICTED, "ben")


def test_a_name_that_is_taken_here_is_asked_for(theirs, mine, key, made):
    mine.seal(b"our own", name="dataset/patients", data_class="internal", member="data")
    with pytest.raises(Conflict, match="there is a dataset/patients here"):
        files.open_package(mine.session, made, (known(theirs), key))
    assert mine.show("dataset/patients").number == 1
    sealed, _ = files.open_package(mine.session, made, (known(theirs), key), wanted=("dataset/patients", None, None))
    assert sealed.number == 2


def test_nothing_of_it_can_be_read_without_the_key(made):
    raw = made.read_bytes()
    for secret in (b"planted", b"patients", b"a.bin", b"ana", CONTENT["a.bin"][:64]):
        assert secret not in raw
    assert made.stat().st_mode & 0o777 == 0o600


def test_each_recipient_opens_it_and_nobody_else(theirs, mine, key, tmp_path):
    others = [hpke.PrivateKey.generate() for _ in range(3)]
    target = tmp_path / "many.hpkg"
    files.create(theirs.session, "dataset/patients", to(key, *others), target, days=1, reason="study")
    for number, private in enumerate((key, *others)):
        sealed, _ = files.open_package(mine.session, target, (known(theirs), private), wanted=(f"dataset/copy{number}", None, None))
        assert read_all(mine, sealed.ref) == CONTENT
    with pytest.raises(Denied, match="not for your key"):
        files.open_package(mine.session, target, (known(theirs), hpke.PrivateKey.generate()))


def test_it_is_on_record_as_a_release(theirs, made):
    rows = theirs.connection.ask(log.ReadLog(limit=500)).rows
    kinds = [row.kind for row in rows]
    assert kinds[-3:] == ["release.intent", "release.outcome", "package.created"]
    intent = {pair.name: pair.value for pair in rows[-3].visible}
    assert (intent["action"], intent["purpose"]) == ("share", "share")
    assert json.loads(intent["policies"]) if isinstance(intent["policies"], str) else intent["policies"]
    opened = {pair.name: pair.value for pair in rows[-3].opened}
    assert opened["reason"] == "joint study"
    assert "ben 0" in opened["recipients"]
    assert b"ben 0" not in rows[-3].leaf
    codes = {pair.name for pair in theirs.connection.ask(log.VerifyLog()).findings}
    assert codes <= {"log-key-first-use", "log-never-anchored"}


def test_what_left_and_what_came_in_is_listed(theirs, mine, made, key):
    _, entries = read_log(theirs.connection.ask, log.ReadLog(0, 100, "package."))
    (row,) = package_list._rows(entries)
    assert (row.what, row.ref, row.recipients) == ("created", "dataset/patients@1", (("ben 0", hpke.fingerprint(key.public)),))
    assert row.until_ms == row.at_ms + 30 * 86_400_000
    assert b"ben 0" not in entries[0].leaf
    sealed, opened = files.open_package(mine.session, made, (known(theirs), key), wanted=("dataset/theirs", None, None))
    _, entries = read_log(mine.connection.ask, log.ReadLog(0, 100, "package."))
    (row,) = package_list._rows(entries)
    assert (row.what, row.ref, row.package, row.from_domain) == ("opened", sealed.ref, opened.statement.package, theirs.session.domain)
    mine.seal(b"x", name="dataset/other", data_class="internal", labels=(("package", "../x"), ("package-domain", "y")))
    assert len(read_log(mine.connection.ask, log.ReadLog(0, 100, "package."))[1]) == 1


def test_without_such_a_policy_another_person_has_to_say_yes(theirs, key, tmp_path):
    theirs.seal(b"x", name="model/risk", data_class="confidential")
    with pytest.raises((PolicyDenied, ApprovalNeeded)):
        files.create(theirs.session, "model/risk", to(key), tmp_path / "p", days=1, reason="why")
    theirs.seal(b"x", name="dataset/secret", data_class="restricted")
    with pytest.raises((PolicyDenied, ApprovalNeeded)):
        files.create(theirs.session, "dataset/secret", to(key), tmp_path / "p", days=1, reason="why")
    assert not (tmp_path / "p").exists()
    assert list(tmp_path.glob(".p*")) == []


def test_a_suspended_key_shares_nothing(theirs, key, tmp_path):
    (row,) = theirs.connection.ask(keys.ListKeys()).keys
    theirs.connection.ask(keys.ChangeKeyState(row.kek, "suspend", "test"))
    with pytest.raises(KeyUnusable):
        files.create(theirs.session, "dataset/patients", to(key), tmp_path / "p", days=1, reason="why")


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"recipients": ()}, UsageError),
        ({"days": 0}, UsageError),
        ({"days": 366}, UsageError),
        ({"reason": "  "}, UsageError),
        ({"ref": "dataset/nothing"}, NotFound),
        ({"recipients": (RecipientKey("ben", b"short"),)}, FormatError),
        ({"recipients": (RecipientKey("ben", bytes(1216)),)}, FormatError),
        ({"recipients": (RecipientKey("", bytes(1216)),)}, UsageError),
    ],
    ids=["nobody", "no days", "many days", "no reason", "no version", "short key", "zero key", "no name"],
)
def test_bad_requests(theirs, key, change, error):
    whole = asked(theirs) | {"recipients": tuple(to(key)), "days": 1, "reason": "why"} | change
    with pytest.raises(error):
        theirs.connection.ask(ShareVersion(**whole))


def test_one_recipient_twice_and_too_many(theirs, key):
    with pytest.raises(UsageError, match="twice"):
        theirs.connection.ask(ShareVersion(**asked(theirs), recipients=(*to(key), *to(key)), days=1, reason="why"))
    many = tuple(to(*(hpke.PrivateKey.generate() for _ in range(17))))
    with pytest.raises(UsageError):
        theirs.connection.ask(ShareVersion(**asked(theirs), recipients=many, days=1, reason="why"))


def asked(h, ref="dataset/patients@1"):
    return {"ref": ref, "version": h.show(ref).version}


def test_what_is_shared_is_the_version_that_was_asked_about(theirs, key):
    """A name that means another asset once people have agreed, or no number: both are refused."""
    theirs.seal(b"other", name="dataset/other", data_class="internal")
    whole = {"recipients": tuple(to(key)), "days": 1, "reason": "why"}
    for change in ({"ref": "dataset/other@1"}, {"ref": "dataset/patients"}):
        with pytest.raises(Conflict, match="means another version"):
            theirs.connection.ask(ShareVersion(**(asked(theirs) | change), **whole))


def test_an_existing_file_stays(theirs, key, made):
    before = made.read_bytes()
    with pytest.raises(Conflict):
        files.create(theirs.session, "dataset/patients", to(key), made, days=1, reason="why")
    assert made.read_bytes() == before


def test_its_time_ends(theirs, key, made):
    head = format_.parse_head(head_of(made.read_bytes()))
    late = packages.parse_statement(
        packages.verify_envelope(head.statement, format_.PAYLOAD_TYPE, known(theirs).keys, limit=10**6).payload
    )
    packages.open_head(head, known(theirs), key, now_ms=late.expires_ms - 1)
    with pytest.raises(Denied, match="over"):
        packages.open_head(head, known(theirs), key, now_ms=late.expires_ms)


def head_of(raw):
    length = format_.head_length(raw[: format_.PREFIX], len(raw))
    return raw[format_.PREFIX : format_.PREFIX + length]


def test_another_sender_is_not_believed(theirs, mine, key, made):
    with pytest.raises(SignatureError):
        files.open_package(mine.session, made, (known(mine), key))
    both = packages.Sender(mine.session.domain, known(mine).keys | known(theirs).keys)
    with pytest.raises(SignatureError, match="another domain"):
        files.open_package(mine.session, made, (both, key))


def test_every_changed_byte_of_a_package_is_noticed(theirs, mine, key, made, tmp_path):
    raw, changed = made.read_bytes(), tmp_path / "changed.hpkg"
    head = format_.PREFIX + len(head_of(raw))
    places = sorted({*range(format_.PREFIX), *range(format_.PREFIX, head, 97), *range(head, len(raw), 4_099), len(raw) - 1})
    for at in places:
        other = bytearray(raw)
        other[at] ^= 1
        changed.write_bytes(other)
        with pytest.raises((IntegrityError, FormatError, SignatureError, Denied, WrongKey)):
            files.open_package(mine.session, changed, (known(theirs), key))
    assert all(not row.version for row in mine.list())


@pytest.mark.parametrize("length", [0, 1, 11, 12, 500, -1, -1000])
def test_a_package_cut_short_or_made_longer(theirs, mine, key, made, tmp_path, length):
    raw, changed = made.read_bytes(), tmp_path / "cut.hpkg"
    for other in (raw[:length], raw + b"x" * max(1, abs(length))):
        changed.write_bytes(other)
        with pytest.raises((FormatError, IntegrityError)):
            files.open_package(mine.session, changed, (known(theirs), key))


def test_parts_of_two_packages_do_not_go_together(theirs, mine, key, made, tmp_path):
    theirs.seal(b"other", name="dataset/other", data_class="internal")
    second = tmp_path / "second.hpkg"
    files.create(theirs.session, "dataset/other", to(key), second, days=30, reason="joint study")
    one, two = (format_.parse_head(head_of(path.read_bytes())) for path in (made, second))
    mixed = [
        format_.Head(one.statement, two.manifest, one.messages),
        format_.Head(two.statement, one.manifest, one.messages),
        format_.Head(one.statement, one.manifest, two.messages),
        format_.Head(one.statement, one.manifest, ()),
        format_.Head(one.statement, one.manifest, (*one.messages, *two.messages)),
    ]
    for head in mixed:
        with pytest.raises(HermeticError):
            packages.open_head(head, known(theirs), key, now_ms=0)
    other = tmp_path / "objects.hpkg"
    other.write_bytes(one.encode() + second.read_bytes()[len(two.encode()) :])
    with pytest.raises((FormatError, IntegrityError)):
        files.open_package(mine.session, other, (known(theirs), key))


def test_a_recipient_cannot_pass_it_on_as_the_senders(theirs, mine, key, made):
    """Whoever opened a package knows the data key; a head for somebody else they cannot sign."""
    opened = packages.open_head(format_.parse_head(head_of(made.read_bytes())), known(theirs), key, now_ms=0)
    stranger = hpke.PrivateKey.generate()
    inside = format_.encode_inside(opened.key.view(), {name: getattr(opened.openings, at) for name, at in FIELDS.items()})
    message = hpke.seal(stranger.public, memoryview(inside), opened.statement.info(sha256(stranger.public)))
    head = format_.parse_head(head_of(made.read_bytes()))
    with pytest.raises(Denied):
        packages.open_head(format_.Head(head.statement, head.manifest, (message,)), known(theirs), stranger, now_ms=0)


FIELDS = {"class": "data_class", "name": "name", "writer": "writer"}


def test_an_object_missing_from_the_store_leaves_no_file(theirs, key, sender, tmp_path):
    stored = next(path for path in (sender.project / "sealed").rglob("*") if path.is_file() and path.suffix == ".sealed")
    stored.unlink()
    with pytest.raises((NotFound, StorageError)):
        files.create(theirs.session, "dataset/patients", to(key), tmp_path / "p", days=1, reason="why")
    assert not (tmp_path / "p").exists()
    assert list(tmp_path.glob(".p*")) == []


def test_the_senders_file_is_strict(theirs):
    raw = known(theirs).encode()
    assert packages.Sender.decode(raw) == known(theirs)
    for other in (b"", b"{}", raw + b" ", raw.replace(b"keys", b"kyes")):
        with pytest.raises(FormatError):
            packages.Sender.decode(other)
    with pytest.raises(FormatError):
        packages.Sender.decode(packages.Sender(theirs.session.domain, {}).encode())


def test_keys_are_wiped_and_do_not_show(theirs, mine, key, made):
    _, opened = files.open_package(mine.session, made, (known(theirs), key))
    with pytest.raises(UsageError):
        opened.key.view()
    assert "withheld" in repr(Secret(b"x" * 32))
    assert "Secret withheld" in repr(packages.open_head(format_.parse_head(head_of(made.read_bytes())), known(theirs), key, now_ms=0))
