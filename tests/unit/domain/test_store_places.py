"""Where stores lie: read strictly, told with line and remedy; no credential is taken."""

from __future__ import annotations

from pathlib import Path

import pytest

from hermetic.domain import config, store_places
from hermetic.errors import ConfigError
from hermetic.stores.local import LocalStore
from hermetic.stores.s3 import S3Store
from hermetic.stores.s3_settings import S3Settings

LAKE = "{kind: s3, bucket: team-data, prefix: hermetic%s}"


def load(folder, text):
    path = folder / config.CONFIG_FILE
    path.write_text(text)
    path.chmod(0o600)
    return config.load(folder)


def test_every_setting_is_taken(tmp_path):
    more = ", endpoint: 'https://s3.example.org:9000/', region: eu-central-1, profile: 'my storage'"
    found = load(tmp_path, f"stores:\n  disk: {{folder: /data}}\n  lake: {LAKE % more}\n  other: {LAKE % ''}\n")
    lake = S3Settings("team-data", "hermetic", "https://s3.example.org:9000", "eu-central-1", "my storage")
    assert found.store_folders == {"disk": Path("/data")}
    assert found.buckets == {"lake": lake, "other": S3Settings("team-data", "hermetic")}
    config.save(tmp_path, found)
    assert config.load(tmp_path) == found


@pytest.mark.parametrize(
    "endpoint", ["http://127.0.0.1:9000", "http://localhost", "http://[::1]:9000", "https://[fd00::1]", "https://a"]
)
def test_endpoints(tmp_path, endpoint):
    found = load(tmp_path, f"stores:\n  lake: {LAKE % (', endpoint: ' + repr(endpoint))}\n")
    assert found.buckets["lake"].endpoint == endpoint


def test_plain_http_elsewhere_is_asked_for_in_so_many_words(tmp_path):
    text = "stores:\n  lake: " + LAKE % ", endpoint: 'http://minio:9000'%s"
    with pytest.raises(ConfigError, match="plain http") as found:
        load(tmp_path, text % "")
    assert "insecure_http: true" in found.value.hint
    found = load(tmp_path, text % ", insecure_http: true")
    assert found.buckets["lake"].endpoint == "http://minio:9000"
    config.save(tmp_path, found)
    assert config.load(tmp_path) == found


@pytest.mark.parametrize(
    ("entry", "key", "message"),
    [
        ("7", None, "mapping"),
        ("{}", None, "absolute"),
        ("{folder: data}", "folder", "absolute"),
        ("{folder: /data, bucket: b}", "bucket", "unknown key"),
        ("{kind: gcs, bucket: b}", "kind", "kind"),
        ("{kind: [], bucket: b}", "kind", "kind"),
        ("{kind: s3}", None, "bucket"),
        ("{kind: s3, bucket: a}", "bucket", "bucket"),
        ("{kind: s3, bucket: a/b, prefix: x}", "bucket", "bucket"),
        ("{kind: s3, bucket: team-data}", None, "prefix"),
        ("{kind: s3, bucket: team-data, prefix: ''}", "prefix", "prefix"),
        ("{kind: s3, bucket: team-data, prefix: /x}", "prefix", "prefix"),
        ("{kind: s3, bucket: team-data, prefix: a/../b}", "prefix", "prefix"),
        ("{kind: s3, bucket: team-data, prefix: 7}", "prefix", "prefix"),
        (LAKE % ", endpoint: s3.example.org", "endpoint", "endpoint"),
        (LAKE % ", endpoint: 'https://user:word@s3.example.org'", "endpoint", "endpoint"),
        (LAKE % ", endpoint: 'https://s3.example.org/path'", "endpoint", "endpoint"),
        (LAKE % ", endpoint: 'https://s3.example.org?x=1'", "endpoint", "endpoint"),
        (LAKE % ", endpoint: 'https://s3.example.org:99999'", "endpoint", "endpoint"),
        (LAKE % ", endpoint: 'ftp://s3.example.org'", "endpoint", "endpoint"),
        (LAKE % ", endpoint: 'https://[x'", "endpoint", "endpoint"),
        (LAKE % ", endpoint: 7", "endpoint", "endpoint"),
        (LAKE % ", insecure_http: 1", "insecure_http", "insecure_http"),
        (LAKE % ", region: 'EU 1'", "region", "region"),
        (LAKE % ", profile: ''", "profile", "profile"),
        (LAKE % ", colour: red", "colour", "unknown key"),
        (LAKE % ", secret_access_key: hunter2", "secret_access_key", "no credentials"),
        (LAKE % ", aws_session_token: hunter2", "aws_session_token", "no credentials"),
        (LAKE % ", key: hunter2", "key", "no credentials"),
    ],
)
def test_mistakes_are_told_with_their_place_and_a_remedy(tmp_path, entry, key, message):
    with pytest.raises(ConfigError, match=message) as found:
        load(tmp_path, f"anchor: {{command: [logger]}}\nstores:\n  s: {entry}\n")
    assert found.value.line == 3
    assert found.value.hint
    assert "hunter2" not in found.value.diagnostics()
    assert found.value.column == (3 if key is None else 6 + entry.index(f"{key}:"))  # the key, or the store that lacks one


@pytest.mark.parametrize("other", ["hermetic", "hermetic/inner", "hermetic/"])
def test_two_stores_share_no_place(tmp_path, other):
    one, two = LAKE % "", f"{{kind: s3, bucket: team-data, prefix: {other}}}"
    for first, second in ((one, two), (two, one)):
        with pytest.raises(ConfigError, match="share a place") as found:
            load(tmp_path, f"stores:\n  a: {first}\n  b: {second}\n")
        assert found.value.line == 3
    load(tmp_path, f"stores:\n  a: {one}\n  b: {LAKE.replace('prefix: hermetic', 'prefix: hermetic2') % ''}\n")


def test_a_place_becomes_a_store(tmp_path):
    assert isinstance(store_places.store_at(tmp_path), LocalStore)
    store = store_places.store_at(S3Settings("team-data", "hermetic"))
    assert isinstance(store, S3Store)
    assert store.settings.bucket == "team-data"


def test_stores_must_be_a_mapping(tmp_path):
    for text in ("stores: [a]\n", "stores: 7\n", "stores: {1: {folder: /x}}\n"):
        with pytest.raises(ConfigError, match="maps names") as found:
            load(tmp_path, text)
        assert (found.value.line, found.value.column) == (1, 1)
