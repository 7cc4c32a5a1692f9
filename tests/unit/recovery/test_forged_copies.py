"""A backup place that somebody else wrote: their own domain, its secrets sealed to the public key of a recovery root read there."""

from __future__ import annotations

import dataclasses
import json

import pytest

from hermetic.assets.workspace import Workspace
from hermetic.crypto.hpke import PrivateKey
from hermetic.domain import escrow, recovery_roots, share_files
from hermetic.domain.home import Home
from hermetic.domain.restore import restore_domain
from hermetic.domain.vouching import NOT_AUTHENTICATED, Vouching
from hermetic.errors import IntegrityError, UsageError
from hermetic.formats.messages.domain import GatherFacts
from hermetic.formats.messages.log import ReadLog
from hermetic.formats.messages.roots import ListRoots
from hermetic.ids import DomainId
from hermetic.keys import recovery_vouching
from hermetic.keys.recipient_key import Recipient
from hermetic.keys.recovery_root import RecoveryRootFile
from hermetic.providers.recovery import name_of
from tests import world as w
from tests.unit.recovery.conftest import CONTENT, contents

ROOT = "local:insecure-file"


def make(connection, *, authenticated=True):
    """Give a domain a recovery root in two of three shares, as of today or as before there was an authenticator."""
    private = PrivateKey.generate()
    shares = share_files.split(private, 3, 2)
    check = recovery_roots.domain_check(connection)
    file = escrow.in_shares(connection.project.domain, private, shares, "board", now_ms=w.START, check=check)
    if not authenticated:
        file = dataclasses.replace(file, authenticator=None)
    added = recovery_roots.add(connection, file, PrivateKey(private.seed()))
    return private, shares, file, added.root.root


def forge(world, tmp_path, monkeypatch, file):
    """Return another domain with the same id, whose backup has a recovery root with the same public half. It takes no secret."""
    monkeypatch.setattr(w, "_TEMPLATES", {})
    monkeypatch.setattr("hermetic.domain.create.fresh_id", lambda: world.domain)
    theirs = w.World.make(tmp_path / "theirs", backup=True)
    assert theirs.domain == world.domain
    with theirs.connect() as connection:
        Workspace(connection).seal(b"poisoned", name="config/app", data_class="public", member="a")
        recovery_roots.add(connection, file)
        assert recovery_roots.domain_check(connection) != recovered_check(world)
    theirs.close()
    return theirs


def recovered_check(world):
    with world.connect() as connection:
        return recovery_roots.domain_check(connection)


def back(world, tmp_path, private, name="second", **more):
    base = tmp_path / name
    base.mkdir(mode=0o700)
    home, project = Home(base / "data", base / "config"), tmp_path / f"{name}-project"
    project.mkdir(mode=0o700)
    return home, restore_domain(world.backup, home, project, lambda *_: private, provider_uri=ROOT, **more)


@pytest.mark.parametrize("authenticated", [True, False], ids=["with a stolen authenticator", "without one"])
def test_a_forged_copy_is_refused_though_the_shares_open_it(world, tmp_path, monkeypatch, authenticated):
    with world.connect() as connection:
        private, _, file, _ = make(connection)
    theirs = forge(world, tmp_path, monkeypatch, file if authenticated else dataclasses.replace(file, authenticator=None))
    with pytest.raises(IntegrityError, match="put together by somebody else" if authenticated else "nothing vouches"):
        back(theirs, tmp_path, private)
    assert not list((tmp_path / "second").rglob("domain.json"))


def test_a_forged_copy_is_refused_whatever_the_escrow_key_opens(world, tmp_path, monkeypatch):
    private = PrivateKey.generate()
    with world.connect() as connection:
        file = escrow.in_escrow(connection.project.domain, Recipient("Ada", private.public), now_ms=w.START)
        recovery_roots.add(connection, file)
        known = recovery_roots.domain_fingerprint(connection)
    theirs = forge(world, tmp_path, monkeypatch, file)
    for number, (given, match) in enumerate([(None, "nothing vouches"), (known, "not of the domain with this fingerprint")]):
        with pytest.raises(IntegrityError, match=match):
            back(theirs, tmp_path, private, f"machine-{number}", known=Vouching(fingerprint=given))
    with pytest.raises(IntegrityError, match="fingerprint"):
        back(theirs, tmp_path, private, "machine-3", known=Vouching(fingerprint=known, unverified=True))


def test_a_copy_that_contradicts_the_pins_is_refused(world, tmp_path):
    with world.connect() as connection:
        private, _, _, _ = make(connection)
    with pytest.raises(IntegrityError, match="not of the domain that this user has seen"):
        back(world, tmp_path, private, known=Vouching(check=bytes(32)))


def test_shares_of_before_vouch_for_nothing_and_that_is_said(world, tmp_path):
    with world.connect() as connection:
        private, _, _, root = make(connection, authenticated=False)
        (row,) = recovery_roots.listing(connection)
        assert not row.authenticated
        (fact,) = [fact for fact in connection.ask(GatherFacts()).roots if fact.id == root]
        assert [remark.split("|")[:2] for remark in fact.remarks] == [["recovery-root-not-bound", "medium"]]
        assert f"--replace {root[:8]}" in fact.remarks[0]
        check = recovery_roots.domain_check(connection)
    with pytest.raises(IntegrityError, match="nothing vouches") as caught:
        back(world, tmp_path, private)
    assert "--unverified" in caught.value.hint
    _, done = back(world, tmp_path, private, "pinned", known=Vouching(check=check))
    assert (done.vouched, [item for item in done.findings if item.code == NOT_AUTHENTICATED]) == ("pins", [])
    home, done = back(world, tmp_path, private, "taken", known=Vouching(unverified=True))
    assert done.vouched == "nothing"
    assert [item.severity for item in done.findings if item.code == NOT_AUTHENTICATED] == ["high"]
    with world.connect(home=home) as connection:
        assert contents(connection) == CONTENT
        (said,) = [json.loads(row.leaf)["facts"] for row in connection.ask(ReadLog(limit=2000)).rows if row.kind == "domain.recovered"]
        assert said["vouched"] == "nothing"


def test_shares_of_today_vouch_for_their_domain(world, tmp_path):
    with world.connect() as connection:
        _, shares, file, root = make(connection)
        assert [row.authenticated for row in recovery_roots.listing(connection)] == [True]
        assert [fact.remarks for fact in connection.ask(GatherFacts()).roots if fact.id == root] == [()]
        (row,) = [row for row in connection.ask(ListRoots()).roots if row.root == root]
        assert row.provider == file.uri, "the authenticator is part of what the URI is the hash of"
        said = [json.loads(row.leaf)["facts"] for row in connection.ask(ReadLog(limit=2000)).rows if row.kind == "root.added"]
        assert said[-1]["domain_fingerprint"] == recovery_roots.domain_fingerprint(connection)
    assert (world.backup / world.domain / name_of(root)).read_bytes() == file.encode()
    _, done = back(world, tmp_path, share_files.joined(shares[1:]))
    assert (done.vouched, done.how) == ("shares", "shares")


def test_an_authenticator_is_of_one_key_one_document_and_one_secret():
    private, check = PrivateKey.generate(), bytes(range(32))
    plain = RecoveryRootFile(DomainId("d" + "a" * 25), "escrow", "Ada", private.public, bytes(16), 1, None)
    file = recovery_vouching.vouched(plain, private, check)
    recovery_vouching.require(file, private, check)
    assert RecoveryRootFile.decode(file.encode()) == file
    assert RecoveryRootFile.decode(plain.encode()) == plain
    assert file.uri != plain.uri
    for other in (
        dataclasses.replace(file, salt=bytes(15) + b"\x01"),
        dataclasses.replace(file, name="Eve"),
        dataclasses.replace(file, authenticator=bytes(32)),
    ):
        with pytest.raises(IntegrityError):
            recovery_vouching.require(other, private, check)
    with pytest.raises(IntegrityError):
        recovery_vouching.require(file, private, bytes(32))
    with pytest.raises(UsageError):
        recovery_vouching.require(plain, private, check)
    with pytest.raises(UsageError):
        recovery_vouching.vouched(plain, PrivateKey.generate(), check)


def test_fingerprints_are_read_as_people_type_them():
    written = recovery_vouching.fingerprint(DomainId("d" + "a" * 25), bytes(32))
    for typed in (written, written.upper(), written.replace(" ", ""), f" {written.replace(' ', '-')}\n", written.replace(" ", ":")):
        assert recovery_vouching.parsed_fingerprint(typed) == written
    for typed in ("", written[:-1], written + "0", written.replace(written[0], "x")):
        with pytest.raises(UsageError, match="32 hexadecimal digits"):
            recovery_vouching.parsed_fingerprint(typed)
