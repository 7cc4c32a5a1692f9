"""The contract of providers, held by a real server; what the key has to be; rotation, batches, deletion, policies, namespaces."""

from __future__ import annotations

import os
import re
import secrets
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from hermetic.crypto.secret import Secret
from hermetic.errors import FormatError, IntegrityError, KeyServiceUnavailable, UsageError, WrongKey
from hermetic.keys.provider import ProviderState
from hermetic.providers import conformance
from hermetic.providers.openbao_transit import CHUNK
from hermetic.providers.place import Asked
from hermetic.providers.registry import create_root
from scripts.providers_table import record
from tests.interop.openbao.conftest import seat
from tests.unit.providers.contract import CONTEXT, ProviderContract

CONTROLLED = """
path "transit/decrypt/KEY" {
  capabilities  = ["update"]
  control_group = {
    ttl = "10m"
    factor "a" {
      controlled_capabilities = ["update"]
      identity {
        group_names = ["approvers"]
        approvals   = 1
      }
    }
  }
}
"""
SOUND = {"type": "aes256-gcm96", "derived": True}


class TestContract(ProviderContract):
    @pytest.fixture
    def provider(self, desk):
        return desk.create()

    @pytest.fixture
    def again(self, desk, provider):
        return desk.open(provider)

    @pytest.fixture
    def other(self, desk):
        """Another root over the same transit key: its id alone keeps them apart."""
        return desk.create()

    def test_the_root_is_not_here(self, provider):
        assert provider.status().root_in_process is False
        assert provider.status().findings == ()


def key_info(desk):
    return desk.do("GET", f"transit/keys/{desk.key}")["data"]


def test_it_makes_a_key_that_can_be_a_root(desk):
    desk.create()
    info = key_info(desk)
    said = [info[name] for name in ("type", "derived", "exportable", "allow_plaintext_backup", "deletion_allowed")]
    assert said == ["aes256-gcm96", True, False, False, False]


def test_it_takes_one_that_is_there(desk):
    desk.do("POST", f"transit/keys/{desk.key}", SOUND)
    desk.do("POST", f"transit/keys/{desk.key}/rotate")
    desk.server.policy(desk.key, policy_without_creating(desk))
    provider = desk.create()
    assert provider.wrap(Secret.random(32), CONTEXT)[4:8] == b"\0\0\0\2"
    assert key_info(desk)["latest_version"] == 2


def policy_without_creating(desk):
    from tests.interop.baoserver import root_policy

    return root_policy(desk.key)


@pytest.mark.parametrize(
    ("made", "why"),
    [
        ({**SOUND, "exportable": True}, "can be exported"),
        ({**SOUND, "allow_plaintext_backup": True}, "can be backed up in plaintext"),
        ({**SOUND, "convergent_encryption": True}, "encrypts convergently"),
        ({"type": "aes256-gcm96"}, "derives no keys"),
        ({"type": "aes128-gcm96", "derived": True}, "is not of type aes256-gcm96"),
        ({"type": "rsa-4096"}, "is not of type aes256-gcm96 and derives no keys"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_key_that_can_be_no_root_is_refused(desk, made, why):
    desk.do("POST", f"transit/keys/{desk.key}", made)
    with pytest.raises(UsageError, match=why) as caught:
        desk.create()
    assert "name another key" in caught.value.hint


@pytest.mark.parametrize("change", ["exportable", "allow_plaintext_backup"])
def test_a_key_made_weak_later_wraps_nothing_more(desk, change):
    provider = desk.create()
    wrapped = provider.wrap(Secret(b"x" * 32), CONTEXT)
    desk.do("POST", f"transit/keys/{desk.key}/config", {change: True})
    for call in (lambda: provider.wrap(Secret.random(32), CONTEXT), lambda: provider.rewrap_many([(wrapped, CONTEXT)])):
        with pytest.raises(IntegrityError, match="protects nothing as a root"):
            call()
    (finding,) = provider.status().findings
    assert (finding.code, finding.severity) == ("openbao-weak-key", "high")
    assert provider.unwrap(wrapped, CONTEXT).same_as(Secret(b"x" * 32)), "what is there has to be moved to another root"


def test_leave_to_delete_and_a_root_token_are_findings(desk):
    provider = desk.create()
    desk.do("POST", f"transit/keys/{desk.key}/config", {"deletion_allowed": True})
    (finding,) = provider.status().findings
    assert finding.code == "openbao-deletion-allowed"
    assert finding.remedy == f"bao write transit/keys/{desk.key}/config deletion_allowed=false"
    desk.do("POST", f"transit/keys/{desk.key}/config", {"deletion_allowed": False})
    root = desk.open(provider, token_file=desk.give("root-token", desk.server.token))
    assert [finding.code for finding in root.status().findings] == ["openbao-root-token"]


def test_a_root_cannot_be_brought(desk):
    with pytest.raises(UsageError, match="cannot be brought into OpenBao"):
        create_root(desk.uri, desk.place(), Asked(root=Secret.random(32)))


def test_rotation_and_rewrap(desk):
    provider = desk.create()
    secret = Secret.random(32)
    old = provider.wrap(secret, CONTEXT)
    desk.do("POST", f"transit/keys/{desk.key}/rotate")
    (new,) = provider.rewrap_many([(old, CONTEXT)])
    assert (old[4:8], new[4:8]) == (b"\0\0\0\1", b"\0\0\0\2")
    assert new[68:] == old[68:], "only the key of the wrap goes to the server"
    assert provider.unwrap(old, CONTEXT).same_as(secret)
    desk.do("POST", f"transit/keys/{desk.key}/config", {"min_decryption_version": 2})
    assert provider.unwrap(new, CONTEXT).same_as(secret)
    with pytest.raises(KeyServiceUnavailable, match="no longer opens this version") as caught:
        provider.unwrap(old, CONTEXT)
    assert "min_decryption_version" in caught.value.hint
    with pytest.raises(WrongKey):
        provider.unwrap(new, b"elsewhere")


def test_version_zero_is_refused(desk):
    """The server takes version 0 for version 1, so that a wrap would have two spellings."""
    provider = desk.create()
    wrapped = provider.wrap(Secret.random(32), CONTEXT)
    with pytest.raises(FormatError):
        provider.unwrap(wrapped[:4] + bytes(4) + wrapped[8:], CONTEXT)


def test_batches_tell_each_item_apart(desk):
    provider = desk.create()
    count = 2 * CHUNK + 7
    given = [(Secret.random(1 + number % 64), b"%d" % number) for number in range(count)]
    wraps = provider.wrap_many(given)
    asked = [(wrapped, context) for wrapped, (_, context) in zip(wraps, given, strict=True)]
    asked[3] = (wraps[3], b"elsewhere")
    asked[CHUNK] = (wraps[CHUNK][:-1] + bytes([wraps[CHUNK][-1] ^ 1]), asked[CHUNK][1])
    asked[CHUNK + 1] = (b"no wrap", asked[CHUNK + 1][1])
    asked[-1] = (wraps[-1][:4] + b"\0\0\0\x09" + wraps[-1][8:], asked[-1][1])
    wrong = {3: WrongKey, CHUNK: WrongKey, CHUNK + 1: FormatError, count - 1: WrongKey}
    for number, result in enumerate(provider.unwrap_many(asked)):
        if number in wrong:
            assert type(result) is wrong[number], number
        else:
            assert result.same_as(given[number][0]), number
    desk.do("POST", f"transit/keys/{desk.key}/rotate")
    rewrapped = provider.rewrap_many(asked)
    del wrong[CHUNK]  # what was changed there is not the server's part; it shows when it is opened
    for number, result in enumerate(rewrapped):
        if number in wrong:
            assert type(result) is wrong[number], number
        else:
            assert result[4:8] == b"\0\0\0\2", number
    assert provider.unwrap(rewrapped[5], b"5").same_as(given[5][0])
    assert isinstance(provider.unwrap_many([(rewrapped[CHUNK], asked[CHUNK][1])])[0], WrongKey)


def test_empty_batches(desk):
    provider = desk.create()
    assert (provider.wrap_many([]), provider.unwrap_many([]), provider.rewrap_many([])) == ([], [], [])


def test_one_bad_size_refuses_a_batch_before_anything_is_sent(desk):
    provider = desk.create()
    with pytest.raises(UsageError):
        provider.wrap_many([(Secret.random(32), b""), (Secret.random(5000), b"")])


def test_a_deleted_key(desk):
    provider = desk.create()
    wrapped = provider.wrap(Secret.random(32), CONTEXT)
    desk.do("DELETE", f"transit/keys/{desk.key}/soft-delete")
    refused(provider, wrapped, "was deleted")
    desk.do("POST", f"transit/keys/{desk.key}/soft-delete-restore")
    assert len(provider.unwrap(wrapped, CONTEXT)) == 32
    desk.do("POST", f"transit/keys/{desk.key}/config", {"deletion_allowed": True})
    desk.do("DELETE", f"transit/keys/{desk.key}")
    refused(provider, wrapped, "was deleted")
    assert "snapshot" in caught_hint(provider, wrapped)
    assert provider.status().state is ProviderState.UNREACHABLE
    desk.do("POST", f"transit/keys/{desk.key}", SOUND)
    with pytest.raises(WrongKey):
        provider.unwrap(wrapped, CONTEXT)


def test_wrapping_never_makes_a_key_anew(desk):
    """Encrypting with a key that is not there would make it, for a login that may: silently another root."""
    provider = desk.create()
    root = desk.open(provider, token_file=desk.give("root-token", desk.server.token))
    desk.do("POST", f"transit/keys/{desk.key}/config", {"deletion_allowed": True})
    desk.do("DELETE", f"transit/keys/{desk.key}")
    with pytest.raises(KeyServiceUnavailable, match="was deleted"):
        root.wrap(Secret.random(32), CONTEXT)
    assert desk.server.ask("GET", f"transit/keys/{desk.key}")[0] == 404


def refused(provider, wrapped, words):
    for call in (
        lambda: provider.wrap(Secret.random(32), CONTEXT),
        lambda: provider.unwrap(wrapped, CONTEXT),
        lambda: provider.rewrap_many([(wrapped, CONTEXT)]),
    ):
        with pytest.raises(KeyServiceUnavailable, match=words):
            call()


def caught_hint(provider, wrapped):
    with pytest.raises(KeyServiceUnavailable) as caught:
        provider.unwrap(wrapped, CONTEXT)
    return caught.value.hint


def test_a_denied_login_is_told_the_policy_it_needs(desk):
    desk.server.policy(desk.key, f'path "transit/keys/{desk.key}" {{ capabilities = ["read"] }}')
    with pytest.raises(KeyServiceUnavailable, match="denies this login to create with transit key") as caught:
        desk.create()
    desk.server.policy(desk.key, hinted(caught))
    provider = desk.create()
    wrapped = provider.wrap(Secret.random(32), CONTEXT)
    desk.server.policy(desk.key, 'path "transit/other" { capabilities = ["read"] }')
    with pytest.raises(KeyServiceUnavailable, match="denies this login to decrypt with transit key") as caught:
        provider.unwrap(wrapped, CONTEXT)
    desk.server.policy(desk.key, hinted(caught))
    assert len(provider.unwrap(wrapped, CONTEXT)) == 32
    provider.wrap(Secret.random(32), CONTEXT)
    assert provider.status().state is ProviderState.READY


def hinted(caught):
    found = re.fullmatch(r"its policy has to say: (.*)", caught.value.hint)
    return found[1]


def test_an_answer_behind_an_approval(desk):
    provider = desk.create()
    wrapped = provider.wrap(Secret.random(32), CONTEXT)
    desk.server.policy(desk.key, CONTROLLED.replace("KEY", desk.key))
    with pytest.raises(KeyServiceUnavailable, match="only when others have approved"):
        provider.unwrap(wrapped, CONTEXT)


def test_no_engine_there(desk):
    place = desk.place(token_file=desk.give("root-token", desk.server.token))
    with pytest.raises(KeyServiceUnavailable, match="has no transit engine at elsewhere") as caught:
        create_root("openbao:elsewhere/x", place)
    assert "bao secrets enable -path=elsewhere transit" in caught.value.hint


def test_an_engine_at_a_path_with_slashes(bao, tmp_path):
    mount = f"team/{secrets.token_hex(4)}/transit"
    bao.do("POST", f"sys/mounts/{mount}", {"type": "transit"})
    desk = seat(bao, tmp_path)
    place = desk.place(token_file=desk.give("root-token", bao.token))
    provider = create_root(f"openbao:{mount}/x", place)
    assert provider.unwrap(provider.wrap(Secret(b"s"), b""), b"").same_as(Secret(b"s"))


def test_namespaces(bao, tmp_path):
    name = f"team-{secrets.token_hex(4)}"
    bao.do("POST", f"sys/namespaces/{name}")
    bao.do("POST", "sys/mounts/transit", {"type": "transit"}, namespace=name)
    desk = seat(bao, tmp_path, namespace=name)
    provider = create_root(desk.uri, desk.place(namespace=name))
    wrapped = provider.wrap(Secret(b"s" * 32), CONTEXT)
    assert desk.open(provider).unwrap(wrapped, CONTEXT).same_as(Secret(b"s" * 32))
    for outside in ({"namespace": "elsewhere"}, {"namespace": f"{name}/below"}):
        with pytest.raises(KeyServiceUnavailable):
            desk.open(provider, **outside).unwrap(wrapped, CONTEXT)


def test_threads_share_it(desk):
    provider = desk.create()

    def once(number):
        context = b"%d" % number
        secret = Secret.random(32)
        return provider.unwrap(provider.wrap(secret, context), context).same_as(secret)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(once, range(64)))


def test_a_forked_child_uses_connections_of_its_own(desk):
    provider = desk.create()
    wrapped = provider.wrap(Secret(b"s" * 32), CONTEXT)
    pid = os.fork()
    if pid == 0:
        good = provider.unwrap(wrapped, CONTEXT).same_as(Secret(b"s" * 32))
        os._exit(0 if good else 1)
    for _ in range(20):
        assert provider.unwrap(wrapped, CONTEXT).same_as(Secret(b"s" * 32))
    assert os.waitpid(pid, 0)[1] == 0


def test_conformance(desk):
    provider = desk.create()
    report = conformance.measure(provider, seconds=0.2)
    record(report, against="OpenBao 2.7.2")
    outcomes = {probe.name: probe.outcome for probe in report.probes}
    assert [probe for probe in report.probes if probe.contradicts] == []
    kept = {conformance.CONTEXT_IN_PROVIDER, conformance.KEK, conformance.EXTRACTION, conformance.POLICY}
    enforced = {*conformance.CORE, *kept}
    assert {name for name, outcome in outcomes.items() if outcome == "enforced"} == enforced
    assert outcomes[conformance.DELETION_WAIT] == "not enforced"
    assert outcomes[conformance.AUDIT] == "not checkable here"
    assert report.wraps_per_s > 0
    assert {item.part for item in report.protections} == {"wrap", "path"}
    wide = desk.open(replace(provider.place), token_file=desk.give("root-token", desk.server.token))
    wide_outcomes = {probe.name: probe.outcome for probe in conformance.measure(wide, seconds=0.1).probes}
    assert (wide_outcomes[conformance.POLICY], wide_outcomes[conformance.AUDIT]) == ("not enforced", "enforced")
    desk.do("POST", f"transit/keys/{desk.key}/config", {"exportable": True})
    weak = conformance.measure(wide, seconds=0.1)
    assert weak.wraps_per_s == 0
