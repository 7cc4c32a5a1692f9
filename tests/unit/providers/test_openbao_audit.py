"""Lines of an audit file by hand; tests/interop/openbao reads those that a real server wrote."""

from __future__ import annotations

import json

import pytest

from hermetic.errors import NotFound, StorageError
from hermetic.providers.openbao_audit import Damage, Use, read


def line(kind="response", path="transit/decrypt/k", *, namespace="", data=None, **more):
    request = {
        "id": "r1",
        "path": path,
        "namespace": {"id": "x", "path": namespace},
        "remote_address": "10.0.0.1",
        "data": {"ciphertext": "h"},
    }
    auth = {"display_name": "ana", "policy_results": {"allowed": True}}
    document = {"time": "2026-11-21T18:12:56.329938027Z", "type": kind, "auth": auth, "request": request}
    if kind == "response":
        document["response"] = {"data": {"plaintext": "h"} if data is None else data}
    document.update(more)
    return json.dumps(document, separators=(",", ":")).encode() + b"\n"


@pytest.fixture
def found(tmp_path):
    def look(*lines, **more):
        path = tmp_path / "audit.log"
        path.write_bytes(b"".join(lines))
        return list(read(path, **{"mount": "transit", "key": "k", **more}))

    return look


def test_a_use(found):
    raw = line()
    assert found(raw) == [Use(1795284776329, "decrypt", "transit/k", "", "r1", "10.0.0.1", "ana", True, 1, ("h",), 0, len(raw))]


@pytest.mark.parametrize("time", ["2026-11-21T18:12:56.329Z", "2026-11-21T18:12:56.329938027Z", "2026-11-21T18:12:56.3299Z"])
def test_times(found, time):
    assert found(line(time=time))[0].time_ms == 1795284776329


def test_a_time_without_a_fraction(found):
    assert found(line(time="2026-11-21T18:12:56Z"))[0].time_ms == 1795284776000


@pytest.mark.parametrize(
    "other",
    [
        line("request"),
        line(path="transit/decrypt/k2"),
        line(path="transit/encrypt/k"),
        line(path="transit/keys/k"),
        line(path="other/decrypt/k"),
        line(path="team/transit/decrypt/k"),
        line(namespace="team/"),
    ],
)
def test_what_is_about_something_else(found, other):
    assert found(other) == []


def test_mounts_with_slashes_and_namespaces(found):
    raw = line(path="a/b/transit/decrypt/k", namespace="team/prod/")
    (use,) = found(raw, mount="a/b/transit", namespace="team/prod")
    assert (use.key, use.namespace) == ("a/b/transit/k", "team/prod")


@pytest.mark.parametrize(
    ("path", "data", "operation", "opened"),
    [
        ("transit/datakey/plaintext/k", {"plaintext": "h", "ciphertext": "h"}, "datakey", 1),
        ("transit/export/encryption-key/k/1", {"keys": {"1": "h"}}, "export", 1),
        ("transit/backup/k", {"backup": "h"}, "backup", 1),
        ("transit/decrypt/k", {"error": "h"}, "decrypt", 0),
        ("transit/decrypt/k", {"http_raw_body": "h", "http_status_code": 400}, "decrypt", 1),
        ("transit/decrypt/k", {"batch_results": [{"plaintext": "h"}, {"plaintext": "h", "error": "x"}]}, "decrypt", 1),
        ("transit/decrypt/k", {}, "decrypt", 0),
    ],
)
def test_what_was_opened(found, path, data, operation, opened):
    (use,) = found(line(path=path, data=data))
    assert (use.operation, use.opened) == (operation, opened)


@pytest.mark.parametrize(
    "strange",
    [
        b'{"type":["response"]}\n',
        b'{"type":"response","request":null}\n',
        line(time="yesterday"),
        line(time=7),
        line(auth=7),
        line(response=7),
        line(data={"batch_results": [7]}),
        line(request={"id": 7, "path": "transit/decrypt/k", "namespace": {}}),
    ],
)
def test_what_cannot_be_read_is_told(found, strange):
    (damage, use) = found(strange, line())
    assert isinstance(damage, Damage)
    assert (damage.start, damage.end) == (0, len(strange))
    assert isinstance(use, Use)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(NotFound):
        list(read(tmp_path / "none", mount="transit", key="k"))
    with pytest.raises(StorageError):
        list(read(tmp_path, mount="transit", key="k"))
