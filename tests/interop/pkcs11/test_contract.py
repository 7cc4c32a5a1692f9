"""What every provider must hold, by both kinds of mechanism; and what the bytes of a wrap are."""

from __future__ import annotations

import hashlib
from types import SimpleNamespace

import pytest

from hermetic.crypto.secret import Secret
from hermetic.errors import Conflict, FormatError, HermeticError, IntegrityError, Locked, Unsupported, UsageError
from hermetic.keys.provider import CONTEXT_LIMIT, SECRET_LIMIT
from hermetic.providers import conformance, unlock
from hermetic.providers.pkcs11_wrapping import Way
from hermetic.providers.place import Asked
from hermetic.providers.registry import create_root, discard_root, open_provider, remove_root
from tests.interop.pkcs11 import softhsm
from tests.unit.providers.contract import CONTEXT, ProviderContract


class Contract(ProviderContract):
    way: Way

    @pytest.fixture
    def provider(self, hsm, home):
        return create_root(hsm.uri(), hsm.place(home))

    @pytest.fixture
    def again(self, provider, hsm):
        return open_provider(hsm.uri(), provider.place)

    @pytest.fixture
    def other(self, hsm, home):
        return create_root(hsm.uri("another"), hsm.place(home))

    def test_the_wrap_says_how(self, provider):
        wrapped = provider.wrap(Secret.random(32), CONTEXT)
        assert wrapped[:5] == b"HRP\x01" + bytes([self.way])

    def test_one_label_is_one_root(self, provider, hsm, home):
        with pytest.raises(Conflict, match="holds a key 'hermetic' already"):
            create_root(hsm.uri(), hsm.place(home))
        assert len(provider.unwrap(provider.wrap(Secret.random(32), CONTEXT), CONTEXT)) == 32

    def test_a_wrap_of_the_other_way_is_refused(self, provider):
        for way in set(Way) - {self.way}:
            with pytest.raises(FormatError):
                provider.unwrap(b"HRP\x01" + bytes([way]) + bytes(80), CONTEXT)

    def test_what_it_enforces(self, provider):
        report = conformance.measure(provider, seconds=0.05)
        found = {probe.name: (probe.outcome, probe.contradicts) for probe in report.probes}
        for name in (
            conformance.ROUND_TRIP,
            conformance.OTHER_CONTEXT,
            conformance.CHANGED_WRAP,
            conformance.FRESH_WRAPS,
            conformance.OTHER_ROOT,
        ):
            assert found[name] == ("enforced", False)
        assert found[conformance.EXTRACTION] == ("enforced", False)
        assert found[conformance.CONTEXT_IN_PROVIDER] == ("enforced" if self.way is Way.GCM else "not enforced", False)
        assert found[conformance.KEK] == ("enforced", False)
        assert set(conformance.BEYOND) <= set(found)
        assert not report.root_in_process
        assert report.unwraps_per_s > 0

    def test_status_says_what_it_is(self, provider, hsm):
        status = provider.status()
        assert not status.root_in_process
        assert hsm.label in status.detail
        assert "SoftHSM v2" in status.detail
        assert [finding.code for finding in status.findings] == ["software-token"]


class TestGcm(Contract):
    way = Way.GCM

    def test_the_token_checks_the_context(self, provider):
        """The context is associated data: nothing in this process compares it."""
        wrapped = provider.wrap(Secret.random(32), CONTEXT)
        assert hashlib.sha384(CONTEXT).digest() not in wrapped
        assert len(wrapped) == 5 + 12 + 32 + 16


class TestKeyWrap(Contract):
    way = Way.KEY_WRAP_PAD

    @pytest.fixture
    def mechanisms(self):
        return softhsm.NO_GCM

    def test_nothing_stays_in_the_token(self, provider, hsm):
        before = sorted(path.name for path in hsm.tokens.rglob("*.object"))
        provider.unwrap(provider.wrap(Secret.random(SECRET_LIMIT), bytes(CONTEXT_LIMIT)), bytes(CONTEXT_LIMIT))
        with pytest.raises(IntegrityError):
            provider.unwrap(provider.wrap(Secret.random(32), CONTEXT), b"")
        assert sorted(path.name for path in hsm.tokens.rglob("*.object")) == before
        assert provider.token.run(lambda session: len(session.findObjects())) == 1


class TestNothingFits:
    @pytest.fixture
    def mechanisms(self):
        return "CKM_AES_KEY_GEN,CKM_AES_CBC"

    def test_it_is_refused(self, hsm, home):
        with pytest.raises(Unsupported, match="cannot hold a root"):
            create_root(hsm.uri(), hsm.place(home))


def test_a_root_cannot_be_brought(hsm, home):
    with pytest.raises(Unsupported, match="cannot be put into a token"):
        create_root(hsm.uri(), hsm.place(home), Asked(root=Secret.random(32)))


def test_a_root_cannot_be_taken_along(provider):
    with pytest.raises(Unsupported, match="cannot leave its provider"):
        unlock.export_root(provider, Secret(b"correct horse battery staple"))


def test_a_token_by_its_serial(provider, hsm):
    serial = provider.status().detail.rpartition("serial ")[2].rstrip(")")
    wrapped = provider.wrap(Secret.random(32), CONTEXT)
    assert len(open_provider(f"{hsm.uri()};serial={serial}", provider.place).unwrap(wrapped, CONTEXT)) == 32
    other = open_provider(f"{hsm.uri()};serial=0123456789abcdef", provider.place)
    assert other.status().state == "unreachable"


def test_the_key_is_such_that_it_stays(provider):
    import PyKCS11

    p = PyKCS11
    wanted = {
        p.CKA_TOKEN: True, p.CKA_PRIVATE: True, p.CKA_SENSITIVE: True, p.CKA_EXTRACTABLE: False, p.CKA_MODIFIABLE: False,
        p.CKA_ALWAYS_SENSITIVE: True, p.CKA_NEVER_EXTRACTABLE: True, p.CKA_LOCAL: True, p.CKA_VALUE_LEN: 32,
        p.CKA_ENCRYPT: True, p.CKA_DECRYPT: True, p.CKA_WRAP: False, p.CKA_UNWRAP: False, p.CKA_SIGN: False, p.CKA_DERIVE: False,
    }  # fmt: skip

    def look(session):
        (handle,) = session.findObjects([(p.CKA_LABEL, "hermetic")])
        return session.getAttributeValue(handle, [*wanted, p.CKA_VALUE])

    *found, value = provider.token.run(look)
    assert [int(one) for one in found] == [int(one) for one in wanted.values()]
    assert value is None


def keys(provider):
    """The keys in the token."""
    import PyKCS11

    def look(session):
        return [SimpleNamespace(label=session.getAttributeValue(handle, [PyKCS11.CKA_LABEL])[0]) for handle in session.findObjects()]

    return provider.token.run(look)


def test_dropping_a_root_leaves_the_key(provider, hsm):
    assert "stays in token" in remove_root(hsm.uri(), provider.place)
    assert provider.status().state == "ready"


def test_a_root_made_for_a_trial_is_taken_back(provider, hsm, home):
    place = hsm.place(home)
    create_root(hsm.uri("trial"), place)
    discard_root(hsm.uri("trial"), place)
    assert [key.label for key in keys(provider)] == ["hermetic"]
    discard_root(hsm.uri("trial"), place)


def test_a_root_that_does_not_work_is_taken_back(provider, hsm, home, monkeypatch):
    import PyKCS11

    def broken(self, *rest):
        raise PyKCS11.PyKCS11Error(PyKCS11.CKR_DEVICE_ERROR)

    with monkeypatch.context() as patch:
        patch.setattr(PyKCS11.Session, "decrypt", broken)
        with pytest.raises(HermeticError):
            create_root(hsm.uri("second"), hsm.place(home))
    assert [key.label for key in keys(provider)] == ["hermetic"]


def test_a_wrong_pin_while_making_leaves_nothing(hsm, home, logins):
    hsm.write_pin("wrong-wrong")
    with pytest.raises(Locked):
        create_root(hsm.uri(), hsm.place(home))
    assert list(home.iterdir()) == []
    (home / "domain.json").touch(mode=0o600)
    for _ in range(2):
        with pytest.raises(Locked):
            create_root(hsm.uri(), hsm.place(home))
    assert logins == [b"wrong-wrong"] * 2  # one for each home


@pytest.mark.parametrize("settings", [{}, {"module": softhsm.MODULE}, {"module": softhsm.MODULE, "pin_file": "/p", "pin": "1234"}])
def test_settings_are_checked_when_it_is_opened(hsm, home, settings):
    from dataclasses import replace

    with pytest.raises(UsageError):
        open_provider(hsm.uri(), replace(hsm.place(home), settings=settings))
