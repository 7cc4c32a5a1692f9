"""The key of manifests in a token, here a drawer that can be locked: what custody makes of it. Real tokens: tests/interop/pkcs11."""

from __future__ import annotations

import json
import os
import shutil
import signal

import pytest

from hermetic import steps
from hermetic.crypto.secret import Secret
from hermetic.crypto.sign import SigningKey
from hermetic.custody.call import TRIES
from hermetic.domain import root_home, signing_moves
from hermetic.domain.pinned import PINS_FILE
from hermetic.domain.restore import restore_domain
from hermetic.domain.verify import verify_released
from hermetic.errors import (
    Conflict,
    IntegrityError,
    KeyServiceUnavailable,
    KeyUnusable,
    NotFound,
    PolicyDenied,
    SignatureError,
    Unsupported,
    UsageError,
)
from hermetic.formats.binary_text import to_base64url
from hermetic.formats.dsse import parse_envelope
from hermetic.formats.messages.backup import TakeBackup
from hermetic.formats.messages.catalogue import RenameAsset
from hermetic.formats.messages.domain import GatherFacts
from hermetic.formats.messages.log import VerifyLog
from hermetic.formats.messages.signing import ListSigningKeys, RotateSigningKey
from hermetic.keys import migration, secret_keys
from tests import world as w
from tests.backends import SEPARATED, SERVICE, behind

URI = "pkcs11:token=team;object=manifests"
NOBODY = 65534  # a user id


class Drawer:
    """A token: keys by URI and id, that can be out of reach, or broken."""

    def __init__(self):
        self.keys, self.away, self.signed = {}, False, 0
        self.meanwhile = None  # what others do while it signs, once

    def check(self, uri):
        """Whatever is said of it."""

    def make(self, uri, key_id):
        self._reach()
        self.keys[uri, key_id] = SigningKey.generate()
        return self.keys[uri, key_id]

    def at(self, uri, key_id, public):
        return Handle(self, (uri, key_id), public)

    def remove(self, uri, key_id):
        self._reach()
        self.keys.pop((uri, key_id), None)

    def _reach(self):
        if self.away:
            raise KeyServiceUnavailable("there is no token 'team'")


class Handle:
    def __init__(self, drawer, where, public):
        self.drawer, self.where, self.public = drawer, where, public

    def sign(self, data):
        self.drawer._reach()
        meanwhile, self.drawer.meanwhile = self.drawer.meanwhile, None
        if meanwhile is not None:
            meanwhile()
        key = self.drawer.keys.get(self.where)
        if key is None:
            raise KeyServiceUnavailable("no such key")
        if key.public != self.public:
            raise IntegrityError("another key in its place")
        self.drawer.signed += 1
        return key.sign(data)


@pytest.fixture
def drawer(monkeypatch):
    made = Drawer()
    monkeypatch.setattr(root_home, "SigningTokens", lambda *_: made)
    return made


@pytest.fixture
def port(drawer, world):
    return world.port()


def rotate(port, home="", reason="yearly", **more):
    return port.ask(RotateSigningKey("manifest", reason, home=home, **more))


def rows(port):
    return [row for row in port.ask(ListSigningKeys()).keys if row.use == "manifest"]


def signer_of(published):
    return parse_envelope(published.manifest, limit=1 << 20).key_id


def whole(port):
    assert {pair.name for pair in port.ask(VerifyLog()).findings} <= {"log-key-first-use", "log-never-anchored"}


def test_into_the_token_and_out_again(world, port, drawer):
    done = rotate(port, URI)
    assert (done.key.home, done.key.roots, done.before.state, done.before.home) == (URI, (), "destroyed", "")
    assert drawer.keys[URI, done.key.key].public == done.key.public
    before = drawer.signed
    _, published = w.seal(port)
    assert (signer_of(published), drawer.signed) == (done.key.key, before + 1)
    ((wrapped,),) = w.sql(world, "SELECT wrapped FROM secret_key WHERE id = ?", done.key.key)
    assert json.loads(wrapped) == {"format": "hermetic/token-key/v1", "provider": URI}
    facts = [facts for kind, facts, _ in w.leaves(port) if kind == "key.rotated"]
    assert facts[-1]["token"] == URI
    again = rotate(port)  # stays where it is
    assert (again.key.home, again.before.state, again.before.home) == (URI, "destroyed", "")
    assert list(drawer.keys) == [(URI, again.key.key)]
    assert [kind for kind in w.kinds(port) if "key" in kind][-3:] == ["key.rotated", "manifest.key-changed", "key.destroyed"]
    out = rotate(port, "roots")
    assert (out.key.home, drawer.keys) == ("", {})
    assert out.key.roots == ("local:insecure-file",)
    assert signer_of(w.seal(port)[1]) == out.key.key
    w.open_(port, "dataset/patients@1")
    whole(port)


@pytest.mark.parametrize("backend", [SEPARATED, SERVICE])
def test_where_custody_runs_elsewhere(world, drawer, tmp_path, backend):
    """Its administrator has written the token's settings there."""
    with behind(backend, world.port(), tmp_path) as port:
        assert rotate(port, URI).key.home == URI
        w.seal(port)
        drawer.keys.clear()
        with pytest.raises(KeyServiceUnavailable):
            w.seal(port)
        assert rotate(port, "roots", "the token died", lost=True).unsigned
        w.seal(port)


def test_another_process_signs_with_it_too(world, port):
    other = world.port()
    w.seal(other)
    done = rotate(port, URI)
    assert signer_of(w.seal(other)[1]) == done.key.key
    assert rotate(other).before.key == done.key.key
    w.seal(port)
    whole(port)


def test_others_write_while_the_token_signs(world, port, drawer):
    rotate(port, URI)
    other, draft = world.port(), w.begin(port)
    drawer.meanwhile = lambda: w.enrol(other)
    before = drawer.signed
    assert port.ask(w.versions.PublishVersion(draft.version, (w.record(),))).number == 1
    assert (drawer.meanwhile, drawer.signed) == (None, before + 1)
    whole(port)


def test_what_changed_while_the_token_signed_is_signed_anew(world, port, drawer):
    rotate(port, URI)
    other, drafts = world.port(), [w.begin(port) for _ in range(3)]

    def publish(draft):
        return port.ask(w.versions.PublishVersion(draft.version, (w.record(),)))

    drawer.meanwhile = lambda: w.seal(other)  # the next number, and what came before
    assert publish(drafts[0]).number == 2
    drawer.meanwhile = lambda: other.ask(RenameAsset("dataset/patients", "dataset/people"))
    assert publish(drafts[1]).ref == "dataset/people@3"
    drawer.meanwhile = lambda: rotate(other, "roots")
    done = publish(drafts[2])
    assert signer_of(done) == next(row.key for row in rows(port) if row.state == "active")
    whole(port)
    with world.connect() as connection:
        for number in (1, 2, 3, 4):
            verify_released(w.open_(connection, f"dataset/people@{number}").released[0], connection.pins)


def test_a_draft_that_is_overtaken_again_and_again_is_published_all_the_same(world, port, drawer):
    rotate(port, URI)
    other, draft, taken = world.port(), w.begin(port), []

    def overtake():
        taken.append(w.seal(other))
        if len(taken) < TRIES - 1:
            drawer.meanwhile = overtake

    drawer.meanwhile = overtake
    assert port.ask(w.versions.PublishVersion(draft.version, (w.record(),))).number == TRIES
    whole(port)


@pytest.mark.parametrize("when", ["signing", "signed", "committing"])
def test_a_kill_between_the_tokens_signature_and_the_commit_leaves_the_draft(world, port, drawer, monkeypatch, when):
    rotate(port, URI)
    draft = w.begin(port)
    request, kinds = w.versions.PublishVersion(draft.version, (w.record(),)), w.kinds(port)
    child = os.fork()
    if child == 0:  # dies with nothing of this process's cleaned up

        def kill(*_arguments, **_more):
            os.kill(os.getpid(), signal.SIGKILL)

        signal.alarm(60)
        try:
            if when == "signing":
                drawer.meanwhile = kill
            elif when == "signed":
                monkeypatch.setattr("hermetic.custody.presigned.signed", kill)
            else:
                steps.install(lambda name: name == "custody.publish.committed.before" and kill())
            world.port().ask(request)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert w.kinds(port) == kinds
    assert port.ask(request).number == 1
    whole(port)


def test_while_the_token_is_away_everything_goes_on_but_signing(world, port, drawer):
    rotate(port, URI)
    w.seal(port)
    drawer.away = True
    draft = w.begin(port)
    kinds, keys = w.kinds(port), dict(drawer.keys)
    with pytest.raises(KeyServiceUnavailable):
        port.ask(w.versions.PublishVersion(draft.version, (w.record(),)))
    for home in ("", "roots", URI + "-2"):
        with pytest.raises(KeyServiceUnavailable):
            rotate(port, home)
    assert [kind for kind in w.kinds(port) if kind != "access.denied"] == kinds  # that it was asked for is on record
    assert drawer.keys == keys
    assert sorted(row.state for row in rows(port)) == ["active", "destroyed"]
    assert w.open_(world.port()).released[0].number == 1  # custody opens, and reads, in another process too
    drawer.away = False
    assert port.ask(w.versions.PublishVersion(draft.version, (w.record(),))).number == 2  # the draft was not touched
    whole(port)


def test_a_key_that_did_not_come_into_force_is_taken_back(port, drawer, monkeypatch):
    rotate(port, URI)
    keys = dict(drawer.keys)
    with monkeypatch.context() as patch:

        def full(*_arguments):
            raise Conflict("the disk is full")

        patch.setattr("hermetic.custody.signing_keys.manifest_change_facts", full)
        with pytest.raises(Conflict):
            rotate(port)
    assert drawer.keys == keys
    assert sorted(row.state for row in rows(port)) == ["active", "destroyed"]
    w.seal(port)


def test_an_old_key_that_the_token_keeps_is_deleted_by_who_looks_next(world, port, drawer, monkeypatch):
    first = rotate(port, URI).key.key
    with monkeypatch.context() as patch:

        def gone(*_arguments):
            raise KeyServiceUnavailable("there is no token 'team'")

        patch.setattr(drawer, "remove", gone)
        done = rotate(port, "roots")
        assert (done.before.state, done.before.home) == ("destroyed", URI)  # and says that it is still there
        with world.connect():
            pass
        noted = [(note.name, note.value) for note in port.ask(GatherFacts()).critical if note.name.startswith("signing-")]
        assert noted == [("signing-key-left-in-token", f"{first}|{URI}")]
        assert "key.destroyed" not in w.kinds(port)[-2:]
    with world.connect():
        pass
    assert drawer.keys == {}
    assert {row.home for row in rows(port)} == {""}
    assert [facts["key"] for kind, facts, _ in w.leaves(port) if kind == "key.destroyed"][-1] == first


def test_another_key_in_its_place_signs_nothing(port, drawer):
    done = rotate(port, URI)
    drawer.keys[URI, done.key.key] = SigningKey.generate()
    with pytest.raises(IntegrityError, match="another key"):
        w.seal(port)
    with pytest.raises(IntegrityError, match="another key"):
        rotate(port, "roots")
    assert rotate(port, "roots", "somebody was at the token", lost=True).unsigned


def test_a_lost_token(world, port, drawer):
    """Nobody follows by themselves: whoever pinned the key before is told by a person."""
    with world.connect() as connection:
        lost = rotate(connection, URI).key
        w.seal(connection)
    pins = world.home.domain_config(world.domain) / PINS_FILE
    elsewhere = pins.read_bytes()
    drawer.keys.clear()
    with world.connect() as connection:
        for bad in ({}, {"reason": " ", "lost": True}):
            with pytest.raises((KeyServiceUnavailable, UsageError)):
                rotate(connection, "roots", **bad)
        done = signing_moves.rotate(connection, RotateSigningKey("manifest", "fell into the sea", home="roots", lost=True))
        assert (done.unsigned, done.before.state, done.before.home) == (True, "deactivated", URI)
        w.seal(connection)
        verify_released(w.open_(connection).released[0], connection.pins)
        verify_released(w.open_(connection, "dataset/patients@1").released[0], connection.pins)
    (facts,) = [facts for kind, facts, _ in w.leaves(port) if kind == "manifest.key-replaced"]
    assert (facts["old"], facts["new"]) == (lost.key, done.key.key)
    pins.write_bytes(elsewhere)
    with pytest.raises(SignatureError, match="not the one pinned") as caught:
        world.connect()
    assert "hermetic key signing trust" in caught.value.hint
    with pytest.raises(SignatureError, match="another public key"):
        signing_moves.trust(world.project, world.home, key=lost.key, public=to_base64url(done.key.public))
    signing_moves.trust(world.project, world.home, key=done.key.key, public=to_base64url(done.key.public))
    with world.connect() as connection:
        verify_released(w.open_(connection).released[0], connection.pins)
        after = rotate(connection, URI)  # and the chain goes on from there
        assert not after.unsigned
        w.seal(connection)
        verify_released(w.open_(connection).released[0], connection.pins)
        whole(connection)


def test_a_key_that_still_signs_is_not_lost(port):
    with pytest.raises(UsageError, match="signs for the next one"):
        rotate(port, "", "why not", lost=True)
    rotate(port, URI)
    done = rotate(port, "roots", "a false alarm", lost=True)
    assert (done.unsigned, done.before.state) == (False, "destroyed")
    assert "manifest.key-replaced" not in w.kinds(port)


def test_nothing_is_pinned_by_hand_where_nothing_is_pinned(world):
    (world.home.domain_config(world.domain) / PINS_FILE).unlink(missing_ok=True)
    with pytest.raises(NotFound):
        signing_moves.trust(world.project, world.home, key=w.fresh(), public=to_base64url(bytes(32)))


def test_a_restore_without_the_token(world_with_backup, drawer):
    """What was signed verifies, nothing new is signed, and another key takes over."""
    world = world_with_backup
    with world.connect() as connection:
        rotate(connection, URI)
        w.seal(connection)
        connection.ask(TakeBackup())
    drawer.keys.clear()
    shutil.rmtree(world.home.data)
    restore_domain(world.backup, world.home, world.project, lambda *_: Secret(w.PASSPHRASE), provider_uri="local:insecure-file")
    with world.connect() as connection:
        verify_released(w.open_(connection).released[0], connection.pins)
        with pytest.raises(KeyServiceUnavailable):
            w.seal(connection)
        request = RotateSigningKey("manifest", "the token stayed behind", home="roots", lost=True)
        signing_moves.rotate(connection, request)
        w.seal(connection)
        verify_released(w.open_(connection).released[0], connection.pins)
        whole(connection)


def test_roots_have_nothing_of_it(port):
    custodian = port._custodian
    rotate(port, URI)
    with custodian.database.read(custodian.row_keys) as session:
        key = secret_keys.active(session, secret_keys.MANIFEST_SIGNING)
        assert key.home == URI
        assert key.key_id not in {item.key_id for item, _ in secret_keys.wraps_of(session)}
        (root,) = custodian.anchors.providers
        have, all_ = migration.coverage(session, root)
        assert have == all_
        with pytest.raises(KeyUnusable, match="never comes out"):
            secret_keys.load(session, custodian.anchors, key.key_id)


def test_who_is_told_what(world, port, drawer, monkeypatch):
    with pytest.raises(UsageError, match="only the key of manifests"):
        port.ask(RotateSigningKey("log", "yearly", home=URI))
    w.enrol(port)
    with pytest.raises(PolicyDenied):
        rotate(world.port(uid=NOBODY), URI)
    assert drawer.keys == {}
    monkeypatch.undo()
    real = world.port()
    for uri, error in (
        (URI, Unsupported),
        ("openbao:transit/x", UsageError),
        ("local:passphrase", UsageError),
        ("x", UsageError),
        (URI + "?pin-value=1234", UsageError),
    ):
        with pytest.raises(error):  # this environment has no PyKCS11
            rotate(real, uri)
    assert [row.state for row in rows(real)] == ["active"]


def test_settings_are_those_of_a_token(world, drawer, monkeypatch):
    monkeypatch.setattr(signing_moves, "SigningTokens", lambda *_: drawer)
    with world.connect() as connection:
        with pytest.raises(UsageError, match="settings are those of a token"):
            signing_moves.rotate(connection, RotateSigningKey("manifest", home="roots"), settings={"module": "/x"})
        settings = {"module": "/usr/lib/x.so", "pin_file": "/x/pin"}
        signing_moves.rotate(connection, RotateSigningKey("manifest", home=URI), settings=settings)
    config = (world.home.domain_config(world.domain) / "config.yaml").read_text()
    assert URI in config
    assert "/usr/lib/x.so" in config
