"""What a client keeps on its disk, and how it is renewed beside work."""

from __future__ import annotations

import stat
import threading
from types import SimpleNamespace

import pytest

from hermetic.crypto import x509
from hermetic.custody import identities
from hermetic.custody.call import Vouched
from hermetic.domain import identity_files
from hermetic.domain.custody_place import ServicePlace, dial
from hermetic.domain.identity_files import ClientIdentity
from hermetic.errors import (
    Conflict,
    Denied,
    HermeticError,
    IntegrityError,
    KeyServiceUnavailable,
    NotAuthenticated,
    NotFound,
    UsageError,
)
from hermetic.formats.messages import identity
from hermetic.providers import private_file
from tests import world as w

WHY = "because the test says so"
QUARTER = 15 * 60_000


class Client:
    """A machine with an identity folder, and custody elsewhere that knows it by its certificate."""

    def __init__(self, world, folder):
        self.world, self.folder, self.asked = world, folder, 0
        self.port = world.port()
        self.port.ask(identity.CreateAuthority(WHY))
        self.port.ask(identity.EnrolIdentity("ana", "person", ("data-steward",), WHY))
        self.uri = f"spiffe://{world.domain}/person/ana"

    @property
    def now(self):
        return self.world.clock.now

    def issued(self):
        csr = x509.request_in(identity_files.request(self.folder, self.uri))
        made = self.port.ask(identity.IssueCertificate("ana", csr, QUARTER // 1000, WHY))
        return x509.to_pem((*made.chain, *made.authorities))

    def install(self, pem=None, **more):
        return identity_files.install(self.folder, pem or self.issued(), self.world.domain, now_ms=self.now, **more)

    def ask(self, request):
        """As over a connection with the certificate in use."""
        self.asked += 1
        der = ClientIdentity.load(self.folder).certificate().der
        principal, credential = identities.vouch_certificate(self.port._custodian, der)
        return self.port.ask_as(Vouched(principal, None, credential), request)

    def renew(self, **more):
        return identity_files.renew(self.folder, self.ask, now_ms=self.now, **more)


@pytest.fixture
def client(tmp_path):
    world = w.World.make(tmp_path / "world")
    yield Client(world, tmp_path / "config" / "identity")
    world.close()


def modes(folder):
    return {stat.S_IMODE(path.stat().st_mode) for path in folder.rglob("*") if path.is_file()}


def test_from_a_request_to_a_certificate(client):
    with pytest.raises(NotFound, match="no certificate"):
        ClientIdentity.load(client.folder)
    request = identity_files.request(client.folder, client.uri)
    again = identity_files.request(client.folder, client.uri)
    assert x509.parse_request(x509.request_in(request)) == x509.parse_request(x509.request_in(again))
    made = client.install()
    assert made == ClientIdentity.load(client.folder)
    assert made.certificate().uris == (client.uri,)
    assert made.pinned() == client.port.ask(identity.ExportTrust()).certificates
    assert modes(client.folder) == {0o600}
    assert stat.S_IMODE(client.folder.stat().st_mode) == 0o700
    assert not (client.folder / "pending.pem").exists()
    with pytest.raises(NotFound, match="no private key waits"):
        identity_files.install(client.folder, made.chain.read_bytes(), client.world.domain, now_ms=client.now)
    assert client.ask(identity.ExportTrust()).domain == client.world.domain


def test_certificates_that_do_not_fit(client, tmp_path):
    pem = client.issued()
    identity_files.request(tmp_path / "other", client.uri)
    with pytest.raises(UsageError, match="another key"):
        identity_files.install(tmp_path / "other", pem, client.world.domain, now_ms=client.now)
    with pytest.raises(UsageError, match="another domain"):
        identity_files.install(client.folder, pem, "b" * 26, now_ms=client.now)
    with pytest.raises(NotAuthenticated, match="expired"):
        identity_files.install(client.folder, pem, client.world.domain, now_ms=client.now + QUARTER)
    chain = x509.to_pem(x509.certificates_in(pem)[:2])
    with pytest.raises(UsageError, match="no authority to believe"):
        client.install(chain)
    trust = x509.to_pem(client.port.ask(identity.ExportTrust()).certificates)
    assert client.install(chain, authorities=trust).pinned() == x509.certificates_in(trust)


def test_pinned_authorities_are_not_changed_by_a_file(client):
    """Somebody in the middle hands out certificates of an authority of their own."""
    client.install()
    csr = x509.request_in(identity_files.request(client.folder, client.uri))
    key = x509.AuthorityKey.generate()
    root = x509.root_certificate(key, "somebody's", client.world.domain, x509.Span.of(client.now, 3600))
    issuer = x509.Issuer(root, key)
    leaf = x509.client_certificate(issuer, x509.parse_request(csr).public, client.uri, "ana", span=x509.Span.of(client.now, 900))
    with pytest.raises(NotAuthenticated, match="not of an authority"):
        client.install(x509.to_pem((leaf, root)))


@pytest.mark.parametrize(("seconds", "due"), [(20, 10), (60, 30), (900, 450)])
def test_half_of_the_time_counts_from_when_a_certificate_is_made(seconds, due):
    """It begins a minute before that: one for less than two would be renewed without a pause."""
    span = x509.Span.of(1_000_000, seconds)
    assert identity_files.due_ms(SimpleNamespace(start_ms=span.start_ms, end_ms=span.end_ms)) == 1_000_000 + due * 1000
    others = SimpleNamespace(start_ms=0, end_ms=40_000)
    assert identity_files.due_ms(others) == 20_000


def test_renewal_when_half_of_the_time_is_over(client):
    before = client.install().certificate()
    client.world.clock.now += QUARTER // 2 - 60_000
    assert (client.renew(), client.asked) == (False, 0)
    client.world.clock.now += 60_000
    key = ClientIdentity.load(client.folder).key.read_bytes()
    assert (client.renew(), client.renew(), client.asked) == (True, False, 1)
    after = ClientIdentity.load(client.folder).certificate()
    assert (after.uris, after.end_ms) == (before.uris, client.now + QUARTER)
    assert ClientIdentity.load(client.folder).key.read_bytes() != key
    assert sorted(path.name for path in client.folder.rglob("renewal.pem")) == []
    client.renew(early=True)
    client.renew(early=True)
    sets = [path for path in client.folder.iterdir() if path.is_dir() and not path.is_symlink()]
    assert len(sets) == 2  # the one in use and the one before it
    assert modes(client.folder) == {0o600}


@pytest.mark.parametrize("name", ["renewal.pem", "pending.pem"])
def test_a_key_that_a_crash_left_although_it_is_in_use_is_not_asked_with_again(client, name):
    client.install()
    client.renew(early=True)
    left = client.folder / name
    private_file.write(left, ClientIdentity.load(client.folder).key.read_bytes(), replace=False)
    if name == "pending.pem":
        made = identity_files.request(client.folder, client.uri)
        assert x509.parse_request(x509.request_in(made)).public != ClientIdentity.load(client.folder).certificate().public
    else:
        assert client.renew(early=True)
        assert not left.exists()


def crash_in(monkeypatch, step, work):
    """Do `work` and die at a step of it, as a power cut leaves the folder."""

    def reached(name):
        if name == step:
            raise KeyboardInterrupt(step)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(private_file, "reached", reached)
        work()


def hidden(folder):
    """Private keys under temporary names."""
    return [path for path in folder.rglob(".*.pem.*") if path.is_file()]


@pytest.mark.parametrize("step", ["providers.file.aside", "providers.file.overwritten"])
@pytest.mark.parametrize("opens", ["connect", "renew"])
def test_a_key_that_a_crash_left_under_another_name_goes_when_the_folder_is_opened(client, monkeypatch, step, opens):
    crash_in(monkeypatch, step, client.install)
    assert len(hidden(client.folder)) == 1
    if opens == "connect":
        dial(ServicePlace("127.0.0.1", 1), client.world.domain, client.folder.parent).close()
    else:
        assert client.renew(early=True)
    assert hidden(client.folder) == []
    client.renew(early=True)
    crash_in(monkeypatch, step, lambda: client.renew(early=True))  # of the key of an older set
    assert len(hidden(client.folder)) == 1
    assert identity_files.sweep(client.folder) == 2  # and the key of the renewal, which was done
    assert hidden(client.folder) == []


def test_a_key_that_was_not_taken_away_after_the_exchange_goes_too(client):
    client.install()
    used = ClientIdentity.load(client.folder).key.read_bytes()
    private_file.write(client.folder / "pending.pem", used, replace=False)
    assert identity_files.sweep(client.folder) == 1
    identity_files.request(client.folder, client.uri)
    assert identity_files.sweep(client.folder) == 0  # this one waits for its certificate
    assert (client.folder / "pending.pem").exists()


def test_who_opens_the_folder_during_a_renewal_takes_nothing_from_it(client):
    client.install()
    swept = []

    def meanwhile(request):
        private_file.write(client.folder / ".renewal.pem.0123456789abcdef", b"being written", replace=False)
        swept.append(identity_files.sweep(client.folder))
        assert len(hidden(client.folder)) == 1
        return client.ask(request)

    assert identity_files.renew(client.folder, meanwhile, now_ms=client.now, early=True)
    assert swept == [0]
    assert identity_files.sweep(client.folder) == 1


def test_a_folder_that_cannot_be_swept_keeps_nobody_from_connecting(client):
    client.install()
    (client.folder / ".pending.pem.0123456789abcdef").mkdir()
    dial(ServicePlace("127.0.0.1", 1), client.world.domain, client.folder.parent).close()


def test_one_process_renews_and_the_others_find_it(client):
    client.install()
    client.world.clock.now += QUARTER // 2
    done, ready = [], threading.Barrier(4)

    def worker():
        ready.wait()
        done.append(client.renew())

    threads = [threading.Thread(target=worker) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (sorted(done), client.asked) == ([False, False, False, True], 1)


def test_an_answer_that_got_lost(client):
    """The same key asks again, and custody gives what it gave."""
    client.install()
    given = []

    def lost(request):
        given.append(client.ask(request))
        raise KeyServiceUnavailable("the connection broke")

    with pytest.raises(KeyServiceUnavailable):
        identity_files.renew(client.folder, lost, now_ms=client.now, early=True)
    assert client.renew(early=True)
    assert ClientIdentity.load(client.folder).certificate().der == given[0].chain[0]


def test_a_key_that_asked_with_another_certificate_is_not_asked_with_again(client):
    client.install()
    csr = identity_files._asked(client.folder / "renewal.pem", client.uri)
    client.ask(identity.RenewCertificate(csr))
    client.port.ask(identity.RevokeCredential("ana", WHY))
    client.install()
    with pytest.raises(Conflict, match="certificate for this key before"):
        client.renew(early=True)
    assert client.renew(early=True)


def test_answers_that_are_not_ours(client):
    client.install()
    before = ClientIdentity.load(client.folder)
    used = before.certificate()

    def foreign(_request):
        return client.ask(identity.RenewCertificate(x509.new_request(client.uri)[1]))

    with pytest.raises(IntegrityError, match="another key or name"):
        identity_files.renew(client.folder, foreign, now_ms=client.now, early=True)
    assert ClientIdentity.load(client.folder).certificate() == used


def test_trouble_waits_while_the_certificate_is_good(client):
    client.install()

    def away(_request):
        raise KeyServiceUnavailable("custody is away")

    client.world.clock.now += QUARTER // 2
    assert not identity_files.tend(client.folder, away, now_ms=client.now)
    with pytest.raises(KeyServiceUnavailable):
        identity_files.tend(client.folder, away, now_ms=client.now + QUARTER)
    assert identity_files.tend(client.folder, client.ask, now_ms=client.now)


def test_a_renewal_hands_out_the_next_root(client):
    client.install()
    old = ClientIdentity.load(client.folder).pinned()
    client.port.ask(identity.RotateAuthority(root=True, reason=WHY))
    assert client.renew(early=True)
    pinned = ClientIdentity.load(client.folder).pinned()
    assert (len(pinned), pinned[1:]) == (2, old)
    prints = identity_files.fingerprints(pinned)
    assert [len(text) for text in prints] == [95, 95]


def test_a_crash_between_key_and_exchange_leaves_the_set_in_use(client, monkeypatch):
    client.install()
    used = ClientIdentity.load(client.folder).certificate()

    def crash(*_):
        raise OSError("power")

    with monkeypatch.context() as patch, pytest.raises(HermeticError):
        patch.setattr(type(client.folder), "symlink_to", crash)
        client.renew(early=True)
    assert ClientIdentity.load(client.folder).certificate() == used
    assert client.renew(early=True)
    assert len([path for path in client.folder.iterdir() if path.is_dir() and not path.is_symlink()]) == 2


def test_a_revoked_client_renews_nothing(client):
    client.install()
    client.port.ask(identity.RevokeCredential("ana", WHY))
    with pytest.raises(Denied, match="was revoked"):
        client.renew(early=True)


def test_names_of_a_place(client, monkeypatch):
    monkeypatch.setenv("HERMETIC_HOME", str(client.world.root / "home"))
    place = identity_files.place(client.world.project)
    assert place.uri("ana", "person") == client.uri
    assert place.folder == client.world.home.domain_config(client.world.domain) / "identity"
    for name in ("a b", "*", "../x", ""):
        with pytest.raises(UsageError):
            place.uri(name, "person")
