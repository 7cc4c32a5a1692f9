"""Reading the audit file that a real server wrote: what was opened, by whom, and what is damaged."""

from __future__ import annotations

import time

import pytest

from hermetic.crypto.secret import Secret
from hermetic.errors import HermeticError, KeyServiceUnavailable, NotFound
from hermetic.providers import openbao_audit
from hermetic.providers.openbao_audit import Damage, Use, read
from tests.unit.providers.contract import CONTEXT


def uses(desk, **more):
    return list(read(desk.server.audit, mount="transit", key=desk.key, **more))


def test_every_opening_is_found(desk):
    provider = desk.create()
    before = len(uses(desk))
    began = int(time.time() * 1000)
    wraps = provider.wrap_many([(Secret.random(32), b"%d" % number) for number in range(5)])
    provider.unwrap(wraps[0], b"0")
    asked = [(wrapped, b"%d" % number) for number, wrapped in enumerate(wraps)]
    provider.unwrap_many(asked)
    provider.unwrap_many([*asked[:4], (wraps[4], b"elsewhere")])
    provider.rewrap_many(asked[:2])
    provider.rewrap_many([asked[0], (wraps[4], b"elsewhere")])
    one, many, *_, moved = found = uses(desk)[before:]
    assert [(use.operation, use.opened, len(use.inputs), use.allowed) for use in found] == [
        ("decrypt", 1, 1, True),
        ("decrypt", 5, 5, True),
        ("decrypt", 5, 5, True),  # four in truth: the server does not record which
        ("rewrap", 2, 2, True),
        ("rewrap", 1, 2, True),
    ]
    assert one.inputs[0] == many.inputs[0] == moved.inputs[0], "the same ciphertext has the same HMAC"
    assert (one.key, one.remote_address, one.who, one.namespace) == (f"transit/{desk.key}", "127.0.0.1", "token", "")
    assert began <= one.time_ms <= many.time_ms <= moved.time_ms <= int(time.time() * 1000)
    assert len({use.request for use in (one, many, moved)}) == 3
    assert uses(desk, start=one.end) == found[1:]
    assert uses(desk, operations=frozenset({"rewrap"}))[-1] == moved


def test_requests_are_known_by_their_ids(desk):
    """So that one made behind our back stands out."""
    provider = desk.create()
    seen = len(uses(desk))
    provider.take_uses()
    wraps = [(provider.wrap(Secret.random(32), CONTEXT), CONTEXT) for _ in range(3)]
    provider.unwrap(*wraps[0])
    provider.unwrap_many(wraps)
    provider.rewrap_many(wraps)
    desk.open(provider).unwrap(*wraps[1])
    mine = {use.request for use in provider.take_uses()}
    assert [use.request in mine for use in uses(desk)[seen:]] == [True, True, True, False]


def test_what_was_refused_opened_nothing(desk):
    provider = desk.create()
    wrapped = provider.wrap(Secret.random(32), CONTEXT)
    seen = len(uses(desk))
    with pytest.raises(HermeticError):
        provider.unwrap(wrapped, b"elsewhere")
    other = desk.open(provider, token_file=desk.give("other", desk.server.new_token("default")))
    with pytest.raises(KeyServiceUnavailable):
        other.unwrap(wrapped, CONTEXT)
    nobody = desk.open(provider, token_file=desk.give("nobody", "s.nobody"))
    with pytest.raises(KeyServiceUnavailable):
        nobody.unwrap(wrapped, CONTEXT)
    assert {(use.allowed, use.opened) for use in uses(desk)[seen:]} == {(True, 0), (False, 0)}


def test_openings_behind_our_back(desk):
    """Not through Hermetic: by hand, as a data key, and the key itself taken out."""
    desk.create()
    seen = len(uses(desk))
    name = desk.key
    made = desk.do("POST", f"transit/datakey/plaintext/{name}", {"context": "AAAA"})
    desk.do("POST", f"transit/decrypt/{name}", {"ciphertext": made["data"]["ciphertext"], "context": "AAAA"})
    desk.do("POST", f"transit/keys/{name}/config", {"exportable": True, "allow_plaintext_backup": True})
    desk.do("GET", f"transit/export/encryption-key/{name}/1")
    desk.do("GET", f"transit/backup/{name}")
    found = uses(desk)[seen:]
    assert [(use.operation, use.opened, use.who) for use in found] == [
        (operation, 1, "root") for operation in ("datakey", "decrypt", "export", "backup")
    ]
    assert found[1].request != made["request_id"] == found[0].request


def test_a_file_in_any_state(desk, tmp_path):
    provider = desk.create()
    wrapped = provider.wrap(Secret.random(32), CONTEXT)
    for _ in range(3):
        provider.unwrap(wrapped, CONTEXT)
    whole = desk.server.audit.read_bytes()
    good = uses(desk)
    last = good[-1]
    copy = tmp_path / "copy.log"

    def reading(data, **more):
        copy.write_bytes(data)
        return list(read(copy, mount="transit", key=desk.key, **more))

    for cut in (last.end - 1, last.end - 40, last.start + 1):
        assert reading(whole[:cut]) == good[:-1], "a last line that is still being written"
    assert reading(whole[: last.end - 40], start=last.start) == []
    torn = whole[: last.start] + whole[last.start : last.start + 300] + whole[last.start :]
    damage, again = reading(torn)[-2:]
    assert damage == Damage(last.start, last.start + 300, "not a whole line of the audit device")
    assert again.request == last.request, "the server wrote on behind half a line"
    for rubbish in (
        b"\n",
        b"{}\n",
        b"rubbish\n",
        b"[" * 100_000 + b"\n",
        b'{"type":"response"}\n',
        b'{"type":"response","request":7}\n',
    ):
        found = reading(whole[: last.start] + rubbish + whole[last.start :])
        assert [type(entry) for entry in found[-2:]] == [Damage, Use], rubbish[:20]
        assert found[-2].start == last.start
    with pytest.raises(NotFound):
        list(read(tmp_path / "none", mount="transit", key="x"))


def test_lines_without_end(desk, tmp_path, monkeypatch):
    monkeypatch.setattr(openbao_audit, "LINE_LIMIT", 10_000)
    provider = desk.create()
    provider.unwrap(provider.wrap(Secret.random(32), CONTEXT), CONTEXT)
    whole = desk.server.audit.read_bytes()
    good = uses(desk)[-1]
    copy = tmp_path / "copy.log"
    copy.write_bytes(whole[: good.start] + b"x" * 3_000_000 + b"\n" + whole[good.start :])
    found = list(read(copy, mount="transit", key=desk.key))
    assert found[-2] == Damage(good.start, good.start + 3_000_001, "a line of more than 10000 bytes")
    assert found[-1].request == good.request
