"""Recovery roots: wrapped to with a public key, opened with a private one that only shares or an escrow key bring."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from hermetic.crypto.hpke import PrivateKey
from hermetic.crypto.secret import Secret
from hermetic.errors import Conflict, FormatError, IntegrityError, KeyServiceUnavailable, Locked, Unsupported, UsageError, WrongKey
from hermetic.keys import recovery_root, recovery_vouching
from hermetic.keys.provider import ProviderState
from hermetic.keys.recovery_root import RecoveryRootFile, ShareSet
from hermetic.providers import conformance, recovery
from hermetic.providers.local_root import root_path
from hermetic.providers.registry import create_root, open_provider, remove_root
from tests.unit.providers.contract import CONTEXT, ProviderContract

SHARES = ShareSet(5, 3, 77)
CHECK = bytes(range(32))  # of a domain secret


@pytest.fixture
def make(places):
    """Make a recovery root; returns its private key and its provider, locked."""

    def made(shares=SHARES, name="the board", *, bound=True):
        private, place = PrivateKey.generate(), places()
        file = recovery_root.new(place.domain, private.public, name, created_ms=1_800_000_000_000, shares=shares)
        if bound and shares is not None:
            file = recovery_vouching.vouched(file, private, CHECK)
        recovery.put(place.home, place.root_id, file)
        return private, open_provider(file.uri, place)

    return made


@pytest.fixture
def made(make):
    return make()


class TestOpened(ProviderContract):
    @pytest.fixture
    def provider(self, made):
        private, provider = made
        provider.unlock_with(private)
        return provider

    @pytest.fixture
    def again(self, provider, made):
        return recovery.RecoveryRoot(provider.uri, provider.place, PrivateKey(made[0].seed()))

    @pytest.fixture
    def other(self, make):
        private, provider = make()
        provider.unlock_with(private)
        return provider


def test_wraps_without_the_private_key_and_opens_with_it(made):
    private, provider = made
    secret = Secret.random(32)
    wrapped = provider.wrap(secret, CONTEXT)
    with pytest.raises(Locked, match="needs recovery shares") as caught:
        provider.unwrap(wrapped, CONTEXT)
    assert "hermetic key recover" in caught.value.hint
    provider.unlock_with(private)
    assert provider.unwrap(wrapped, CONTEXT).same_as(secret)
    assert provider.lock()
    with pytest.raises(Locked):
        provider.unwrap(wrapped, CONTEXT)
    with pytest.raises(UsageError):
        private.seed()  # wiped
    assert not provider.lock()


def test_escrow_says_whose_key_it_takes(make):
    private, provider = make(None, "Ada")
    assert provider.uri.startswith("recovery:escrow/")
    assert provider.status().detail == "opens with the escrow key of Ada"
    with pytest.raises(Locked, match="needs its escrow key"):
        provider.unwrap(provider.wrap(Secret(b"x"), b""), b"")
    provider.unlock_with(private)
    assert provider.status().state is ProviderState.READY


def test_status(made):
    status = made[1].status()
    assert (status.state, status.detail, status.findings) == (ProviderState.LOCKED, "opens with 3 of 5 shares of the board", ())


def test_shares_from_before_they_were_bound_are_a_finding(make):
    (finding,) = make(bound=False)[1].status().findings
    assert finding.code == "recovery-root-not-bound"
    assert make(None)[1].status().findings == ()  # whoever holds an escrow key compares a fingerprint


def test_another_private_key_is_refused(made, make):
    with pytest.raises(WrongKey) as caught:
        made[1].unlock_with(make()[0])
    assert "3 of 5 shares of the board" in caught.value.hint


def test_another_public_key_is_refused_before_anything_is_sealed_to_it(made, make):
    """Whoever may write the custody home, but not its authenticated rows, puts a key of their own there."""
    _, provider = made
    path, theirs = root_path(provider.place), make()[1].file()
    path.write_bytes(theirs.encode())
    with pytest.raises(FormatError, match="changed, or is the file of another root"):
        provider.wrap(Secret.random(32), CONTEXT)
    (finding,) = provider.status().findings
    assert (finding.code, finding.severity) == ("recovery-root-unusable", "high")


@pytest.mark.parametrize("name", ["created_ms", "name", "public", "salt", "shares", "domain", "holder"])
def test_every_field_is_bound_to_the_uri(made, name):
    _, provider = made
    path = root_path(provider.place)
    document = json.loads(path.read_bytes())
    other = {"created_ms": 1, "name": "nobody", "shares": {"count": 5, "mark": 78, "threshold": 3}, "holder": "escrow"}
    document[name] = other.get(name) or document[name][1:] + document[name][:1]
    path.write_bytes(json.dumps(document, sort_keys=True, separators=(",", ":")).encode())
    with pytest.raises(IntegrityError):
        provider.file()


def test_a_missing_file_can_come_from_the_backup(made):
    _, provider = made
    root_path(provider.place).unlink()
    with pytest.raises(KeyServiceUnavailable) as caught:
        provider.wrap(Secret.random(32), CONTEXT)
    assert "backup place" in caught.value.hint
    assert provider.status().state is ProviderState.UNREACHABLE


def test_it_is_not_made_like_other_roots(made):
    provider = made[1]
    with pytest.raises(UsageError, match="not made like this"):
        create_root(provider.uri, provider.place)
    for uri in ("recovery:shares", "recovery:paper/" + provider.uri[-26:], "recovery:shares/x", provider.uri + "a"):
        with pytest.raises(UsageError, match="no recovery root"):
            open_provider(uri, provider.place)


def test_files_are_not_overwritten(made):
    with pytest.raises(Conflict):
        recovery.put(made[1].place.home, made[1].root_id, made[1].file())


def test_a_dropped_root_leaves_nothing(made):
    provider = made[1]
    for _ in range(2):
        assert "shares are worth nothing" in remove_root(provider.uri, provider.place)
    assert list(provider.place.home.iterdir()) == []


def test_the_file_round_trips(made):
    file = made[1].file()
    assert RecoveryRootFile.decode(file.encode()) == file
    assert recovery.read(file.encode(), file.uri) == file
    with pytest.raises(FormatError):
        recovery.read(replace(file, name="x").encode(), file.uri)


@pytest.mark.parametrize(
    "change",
    [
        {"name": " x"},
        {"name": "a\nb"},
        {"name": "x" * 201},
        {"shares": None},
        {"shares": {"count": 5, "mark": 1, "threshold": 6}},
        {"shares": {"count": 17, "mark": 1, "threshold": 3}},
        {"shares": {"count": 2, "mark": 1, "threshold": 1}},
        {"shares": {"count": 2, "mark": 2**15, "threshold": 2}},
        {"holder": "escrow"},
        {"holder": "nobody"},
        {"public": "AAAA"},
        {"salt": "AAAA"},
        {"more": 1},
        {"format": "hermetic/recovery-root/v3"},
    ],
    ids=str,
)
def test_what_is_no_file(made, change):
    document = {**json.loads(made[1].file().encode()), **change}
    raw = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    with pytest.raises((FormatError, Unsupported)):
        RecoveryRootFile.decode(raw)


def test_escrow_has_a_holder(place):
    with pytest.raises(UsageError, match="escrow names who"):
        recovery_root.new(place.domain, PrivateKey.generate().public, "", created_ms=0)
    with pytest.raises(UsageError, match="one line"):
        recovery_root.new(place.domain, PrivateKey.generate().public, "a\nb", created_ms=0)
    with pytest.raises(FormatError):
        recovery_root.new(place.domain, bytes(1216), "a", created_ms=0, shares=SHARES)


def test_one_escrow_key_makes_roots_of_different_uris(place):
    public = PrivateKey.generate().public
    assert len({recovery_root.new(place.domain, public, "Ada", created_ms=0).uri for _ in range(5)}) == 5


def test_the_report_says_what_it_rests_on_and_that_it_was_not_tried(made):
    report = conformance.measure(made[1], seconds=0.01)
    assert (report.status, report.wraps_per_s) == ("locked", 0)
    assert {(item.part, item.lasts) for item in report.protections} == {("wrap", True), ("path", True)}
