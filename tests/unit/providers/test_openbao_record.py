"""OpenBao's audit lines in the words of a comparison. tests/interop/openbao has those of a real server."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from hermetic.audit.recorded import TEXT_LIMIT, Coverage, Unreadable
from hermetic.errors import NotFound
from hermetic.providers.openbao_record import AuditFiles

AUTH = {"display_name": "ana", "accessor": "hmac-sha256:a1", "entity_id": "e1", "policy_results": {"allowed": True}}


def line(path="transit/decrypt/k", *, second=0, operation="update", data=None, kind="response", **more):
    request = {
        "id": more.pop("id", "r1"),
        "operation": operation,
        "path": path,
        "namespace": {"id": "root"},
        "remote_address": "10.0.0.1",
    }
    request["data"] = {"ciphertext": "h"} if data is None else data
    document = {"time": f"2026-11-21T18:12:{second:02d}.5Z", "type": kind, "auth": AUTH, "request": request, **more}
    if kind == "response":
        document.setdefault("response", {"data": {"plaintext": "h"}})
    return json.dumps(document).encode() + b"\n"


@pytest.fixture
def found(tmp_path):
    def look(*files, key="k", **more):
        paths = []
        for number, content in enumerate(files):
            paths.append(tmp_path / f"audit-{number}.log")
            paths[-1].write_bytes(content)
        look.coverage = Coverage()
        return list(AuditFiles(paths, look.coverage, mount="transit", key=key, **more))

    return look


def test_a_use(found):
    (use,) = found(line())
    assert (use.what, use.operation, use.request, use.who, use.address, use.granted, use.items) == (
        "use",
        "unwrap",
        "r1",
        "ana",
        "10.0.0.1",
        True,
        1,
    )
    assert (use.login, use.identity, use.place, use.at_ms) == ("hmac-sha256:a1", "ana e1", "audit-0.log, byte 0", 1795284720500)


@pytest.mark.parametrize(
    ("path", "more", "what", "operation"),
    [
        ("transit/encrypt/k", {}, "use", "wrap"),
        ("transit/rewrap/k", {"data": {"batch_input": [{}, {}]}}, "use", "rewrap"),
        ("transit/datakey/plaintext/k", {}, "use", "datakey"),
        ("transit/export/encryption-key/k/1", {"operation": "read"}, "use", "export"),
        ("transit/byok-export/other/k", {"operation": "read"}, "use", "export"),
        ("transit/backup/k", {"operation": "read"}, "use", "backup"),
        ("transit/new-verb/k", {}, "use", "new-verb"),
        ("transit/keys/k/config", {"data": {"exportable": True}}, "change", "config exportable"),
        ("transit/keys/k/config", {"data": {"exportable": False}}, "change", "config"),
        ("transit/keys/k/config", {"data": {"min_decryption_version": 2}}, "change", "config"),
        ("transit/keys/k/trim", {}, "change", "trim"),
        ("transit/keys/k", {"operation": "delete"}, "change", "delete"),
        ("transit/keys/k/soft-delete", {"operation": "delete"}, "change", "soft-delete"),
        ("transit/keys/k/import", {}, "change", "import"),
        ("transit/restore/k", {}, "change", "restore"),
        ("sys/remount", {}, "change", "sys/remount"),
        ("sys/audit/main", {"operation": "delete"}, "change", "sys/audit/main"),
        ("sys/raw/logical/x", {}, "change", "sys/raw/logical/x"),
    ],
)
def test_operations(found, path, more, what, operation):
    (one,) = found(line(path, **more))
    assert (one.what, one.operation) == (what, operation)
    assert one.grave == ("exportable" in operation)
    assert one.items == len(more.get("data", {}).get("batch_input", [1]))


@pytest.mark.parametrize(
    ("path", "operation"),
    [
        ("transit/keys/k", "read"),
        ("transit/keys/k", "update"),
        ("transit/keys/k/rotate", "update"),
        ("transit/decrypt/k2", "update"),
        ("other/decrypt/k", "update"),
        ("transit/hmac/k", "update"),
        ("sys/audit", "read"),
        ("secret/data/x", "read"),
        ("auth/token/lookup-self", "read"),
    ],
)
def test_what_is_about_something_else_only_covers_time(found, path, operation):
    assert found(line(path, operation=operation)) == []
    assert found.coverage.entries == 1


def test_answers_and_refusals(found):
    held = {"response": {"wrap_info": {"ttl": 60, "token": "h"}}}
    hidden = {"response": {"data": {"http_raw_body": "h", "http_status_code": 400}}}
    assert [one.granted for one in found(line(**held) + line(**hidden) + line(response={}) + line(error="1 error occurred"))] == [
        True,
        True,
        True,
        False,
    ]
    assert found(line(kind="request")) == [], "what was never answered was not handed out"


def test_logins(found):
    auth = {"display_name": "approle", "accessor": "hmac-sha256:b2", "entity_id": "e2"}
    (login,) = found(line("auth/approle/login", response={"auth": auth}))
    assert (login.what, login.identity, login.login) == ("login", "approle e2", "hmac-sha256:b2")
    assert found(line("auth/approle/login", error="denied", response={"data": {"error": "h"}})) == []
    (person,) = found(line("auth/userpass/login/ana", response={"auth": {"display_name": "userpass-ana"}}))
    assert person.identity == "", "nobody that could be met again"


def test_damage_and_order(found, tmp_path):
    later, torn = line(second=59), line()[:80] + b"\n"
    assert [isinstance(one, Unreadable) for one in found(line() + torn + later)] == [False, True, False]
    assert [isinstance(one, Unreadable) for one in found(line(second=1), line(second=2))] == [False, False]
    late = line().replace(b"T18:", b"T20:")
    (_, back, _) = found(late, line())
    assert back.why.startswith("time goes back here")
    strange = line().replace(b'"path": "transit/decrypt/k"', b'"path": 7')
    (one,) = found(strange)
    assert (one.place, one.why) == ("audit-0.log, byte 0", "a line of an unknown form")
    with pytest.raises(NotFound):
        list(AuditFiles([tmp_path / "none"], Coverage(), mount="transit", key="k"))


def test_long_words_are_cut(found):
    (one,) = found(line(id="x" * 10_000))
    assert len(one.request) == TEXT_LIMIT


LARGE = """
import resource, sys
from pathlib import Path
from hermetic.audit.reconcile import Comparison, Span
from hermetic.audit.recorded import Coverage
from hermetic.audit.uses import OwnUses
from hermetic.providers.openbao_record import AuditFiles
own, coverage = OwnUses("r"), Coverage()
own.began_ms = 0
comparison = Comparison(own, Span())
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for item in AuditFiles([Path(sys.argv[1])], coverage, mount="transit", key="k"):
    comparison.see(item)
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(coverage.entries, comparison.report(coverage, (1, 0)).recorded, after - before)
"""


def test_two_hundred_thousand_lines_in_little_memory(tmp_path):
    path, parts = tmp_path / "audit.log", line(id="ID-NUMBER").split(b"ID-NUMBER")
    with path.open("wb") as file:
        for number in range(200_000):
            file.write(parts[0] + b"%08d" % number + parts[1])
    done = subprocess.run([sys.executable, "-c", LARGE, str(path)], capture_output=True, text=True, check=True)
    entries, uses, grown_kib = map(int, done.stdout.split())
    assert (entries, uses) == (200_000, 200_000)
    assert path.stat().st_size > 60 << 20
    assert grown_kib < 8 << 10
