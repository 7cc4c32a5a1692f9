"""The S3 store against an endpoint that fails in every way that it can (s3_endpoint.py); real ones are in tests/interop/s3."""

from __future__ import annotations

import os
import sys
import threading
import time

import pytest

from hermetic.errors import Conflict, IntegrityError, InvalidName, NotFound, StorageError, Unsupported, UsageError
from hermetic.stores import _s3_source
from hermetic.stores.s3 import S3Settings, S3Store
from tests.unit.stores.contract import StoreContract
from tests.unit.stores.s3_endpoint import BUCKET, CUT, Endpoint

MIB = 1024 * 1024


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Credentials for the endpoint, and no pause before a repetition."""
    from botocore.retries.standard import ExponentialBackoff

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "an-id-of-nobody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-secret-of-nobody")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")  # not ours to follow
    monkeypatch.setattr(ExponentialBackoff, "delay_amount", lambda *_: 0)
    monkeypatch.setattr(_s3_source, "_PAUSE", 0)


@pytest.fixture
def endpoint():
    with Endpoint() as served:
        yield served


@pytest.fixture
def store(endpoint):
    return S3Store(S3Settings(BUCKET, "some/prefix", endpoint=endpoint.url))


def once(does, answer, *, times=1):
    """A fault for the first `times` requests of a kind."""
    left = [times]

    def fault(asked):
        if asked.does != does or not left[0]:
            return None
        left[0] -= 1
        return answer

    return fault


def content(store, key="v/0"):
    with store.open(key) as source:
        data = bytearray(source.size)
        assert source.readinto_at(0, data) == len(data)
    return bytes(data)


def send(store, data, key="v/0", *, length=None):
    with store.stage(key) as staged:
        staged.reserve(length)
        staged.write_at(memoryview(data), 0)
        staged.commit()


class TestS3Store(StoreContract):
    a_key_may_begin_others = True
    sources_survive_deletion = False


class TestS3StoreWithoutConditions(TestS3Store):
    one_of_many_wins = False

    @pytest.fixture(params=["ignored", "refused"])
    def store(self, endpoint, request):
        endpoint.conditions = request.param
        return S3Store(S3Settings(BUCKET, "some/prefix", endpoint=endpoint.url))


def test_a_long_object_goes_in_parts_and_comes_back(endpoint, store):
    data = os.urandom(20 * MIB + 5)
    for length, key in ((None, "v/0"), (len(data), "v/1")):
        send(store, data, key, length=length)
        assert content(store, key) == data
    assert endpoint.done("create") == 2
    assert endpoint.done("part") == 6
    assert endpoint.done("put") == 0
    assert endpoint.uploads == {}
    assert set(endpoint.objects) == {"some/prefix/v/0", "some/prefix/v/1"}


@pytest.mark.parametrize("length", [0, 1, 8 * MIB])
def test_a_short_object_is_one_request(endpoint, store, length):
    data = os.urandom(length)
    send(store, data, length=length)
    assert content(store) == data
    assert [asked.does for asked in endpoint.asked][:2] == ["head", "put"]
    assert endpoint.done("create", "part") == 0


def test_pieces_may_come_out_of_order_from_threads(store):
    data, step = os.urandom(40 * MIB), MIB + 32
    places = iter(range(0, len(data), step))
    lock = threading.Lock()

    with store.stage("v/0") as staged:
        staged.reserve(None)

        def work():
            while True:
                with lock:
                    at = next(places, None)
                if at is None:
                    return
                staged.write_at(memoryview(data)[at : at + step], at)

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        staged.commit()
    assert content(store) == data


@pytest.mark.parametrize("length", [None, 30 * MIB])
def test_a_hole_is_not_uploaded(endpoint, store, length):
    with store.stage("v/0") as staged:
        staged.reserve(length)
        staged.write_at(memoryview(bytes(9 * MIB)), 0)
        staged.write_at(memoryview(b"late"), 20 * MIB)
        with pytest.raises(UsageError, match="never written"):
            staged.commit()
    assert endpoint.objects == {}
    assert endpoint.uploads == {}


@pytest.mark.parametrize("written", [0, 5, 9 * MIB, 16 * MIB])
def test_less_than_was_announced_is_not_uploaded(endpoint, store, written):
    with store.stage("v/0") as staged:
        staged.reserve(20 * MIB)
        staged.write_at(memoryview(bytes(written)), 0)
        with pytest.raises(UsageError, match="shorter"):
            staged.commit()
    assert endpoint.objects == {}
    assert endpoint.uploads == {}


@pytest.mark.parametrize("answer", [(503, "SlowDown"), (500, "InternalError"), (400, "RequestTimeout"), CUT])
def test_only_a_failed_part_is_sent_again(endpoint, store, answer):
    endpoint.faults = [once("part", answer, times=2)]
    data = os.urandom(17 * MIB)
    send(store, data)
    assert content(store) == data
    assert endpoint.done("part") == 3 + 2
    assert endpoint.done("create") == 1


def test_a_part_that_arrives_changed_is_sent_again(endpoint, store):
    endpoint.faults = [once("part", (400, "BadDigest"))]
    send(store, data := os.urandom(9 * MIB))
    assert content(store) == data


@pytest.mark.parametrize("does", ["create", "part", "complete", "put"])
@pytest.mark.parametrize("answer", [(503, "SlowDown"), CUT, (403, "AccessDenied")])
def test_a_store_that_keeps_failing_is_told_and_nothing_is_left(endpoint, store, does, answer):
    endpoint.faults = [once(does, answer, times=1000)]
    with pytest.raises(StorageError) as found:
        send(store, bytes(5 if does == "put" else 30 * MIB))
    assert found.value.hint
    assert "secret" not in found.value.diagnostics()
    assert endpoint.objects == {}
    assert endpoint.uploads == {}
    assert endpoint.done(does) <= 3 * 5


def test_a_writer_that_waits_for_another_is_woken_by_its_failure(endpoint, store):
    with store.stage("v/0") as staged:
        staged.reserve(None)
        seen = []

        def ahead():
            try:
                staged.write_at(memoryview(bytes(8 * MIB)), 64 * MIB)  # waits for the first part, which never comes
            except UsageError as error:
                seen.append(str(error))

        thread = threading.Thread(target=ahead)
        thread.start()
        staged.discard()
        thread.join(30)
        assert seen == ["this object was given up"]
        with pytest.raises(UsageError, match="given up"):
            staged.write_at(memoryview(b"x"), 0)


def test_an_upload_that_a_sweep_aborted_is_told(endpoint, store):
    with store.stage("v/0") as staged:
        staged.reserve(None)
        staged.write_at(memoryview(bytes(8 * MIB)), 0)
        wait_for(lambda: endpoint.uploads and all(upload.parts for upload in endpoint.uploads.values()))
        assert store.sweep(0, int(endpoint.now * 1000) + 1) == 1
        staged.write_at(memoryview(b"x"), 8 * MIB)
        with pytest.raises(StorageError, match="given up"):
            staged.commit()
    assert endpoint.objects == {}


def wait_for(condition):
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


# the last request


@pytest.mark.parametrize("size", [5, 9 * MIB])
@pytest.mark.parametrize("answer", [CUT, (500, "InternalError"), (404, "NoSuchUpload")])
@pytest.mark.parametrize("conditions", ["kept", "ignored"])
def test_a_lost_answer_to_the_last_request_is_no_failure(endpoint, store, size, answer, conditions):
    endpoint.conditions = conditions
    endpoint.after = [once("put" if size == 5 else "complete", answer)]
    send(store, data := os.urandom(size))
    assert content(store) == data


@pytest.mark.parametrize("size", [5, 9 * MIB])
@pytest.mark.parametrize("conditions", ["kept", "refused"])
def test_a_name_that_was_taken_meanwhile_is_not_replaced(endpoint, store, size, conditions):
    endpoint.conditions = conditions
    with store.stage("v/0") as staged:
        staged.write(os.urandom(size))
        store.put_bytes("v/0", b"somebody else's")
        with pytest.raises(Conflict, match="already"):
            staged.commit()
    assert content(store) == b"somebody else's"
    assert endpoint.uploads == {}


def test_an_upload_killed_midway_leaves_nothing_visible_and_is_swept(endpoint, store):
    staged = store.stage("v/0").__enter__()
    staged.reserve(None)
    staged.write_at(memoryview(bytes(17 * MIB)), 0)
    wait_for(lambda: endpoint.done("part") == 2)
    staged._parts._stop_senders()  # as if the process had ended here
    assert not store.exists("v/0")
    assert list(store.list()) == []
    now = int(endpoint.now * 1000)
    assert store.sweep(60_000, now) == 0  # it sent something a moment ago
    assert store.sweep(60_000, now + 70_000) == 1
    assert endpoint.uploads == {}


def test_a_sweep_leaves_uploads_of_others_alone(endpoint, store):
    for number in range(2 * 3 + 1):
        store._bucket.on_object("create_multipart_upload", "write", f"v/{number}")
    elsewhere = S3Store(S3Settings(BUCKET, "some/prefix2", endpoint=endpoint.url))
    elsewhere._bucket.on_object("create_multipart_upload", "write", "v/0")
    assert store.sweep(0, int(endpoint.now * 1000) + 1) == 7
    assert [upload.key for upload in endpoint.uploads.values()] == ["some/prefix2/v/0"]


def test_an_endpoint_that_knows_no_uploads_has_none_to_sweep(endpoint, store):
    endpoint.faults = [once("uploads", (404, "NoSuchUpload"))]
    assert store.sweep(0, 1 << 50) == 0


# reading


@pytest.mark.parametrize("fault", [CUT, (503, "SlowDown"), 300_000, 8 * MIB - 1])
def test_reading_goes_on_where_the_connection_broke(endpoint, store, fault):
    send(store, data := os.urandom(9 * MIB))
    endpoint.faults = [once("get", fault, times=3)]
    assert content(store) == data


def test_a_connection_that_never_gives_anything_is_told(endpoint, store):
    send(store, bytes(1000))
    endpoint.faults = [once("get", 10, times=10**6)]
    with pytest.raises(StorageError, match="broke"):
        content(store)
    assert endpoint.done("get") <= 5


@pytest.mark.parametrize("conditions", ["kept", "ignored"])
@pytest.mark.parametrize("other", [b"x" * 20, b"y" * 21])
def test_an_object_that_was_replaced_is_refused(endpoint, store, conditions, other):
    endpoint.conditions = conditions
    store.put_bytes("v/0", b"z" * 20)
    with store.open("v/0") as source:
        assert source.readinto_at(0, bytearray(10)) == 10
        store.put_bytes("v/0", other, replace=True)
        with pytest.raises(IntegrityError, match="replaced"):
            source.readinto_at(10, bytearray(10))
        store.delete("v/0")
        with pytest.raises(NotFound, match="deleted"):
            source.readinto_at(10, bytearray(10))


def test_an_object_that_was_replaced_after_a_broken_connection_is_not_mixed(endpoint, store):
    send(store, os.urandom(9 * MIB))

    def replacing(asked):
        if asked.does != "get":
            return None
        endpoint.faults = []
        endpoint.after = [lambda _: endpoint.objects.update({"some/prefix/v/0": (bytes(9 * MIB), "another", "")})]
        return 300_000

    endpoint.faults = [replacing]
    with pytest.raises(IntegrityError, match="replaced"):
        content(store)


# listing


def test_a_listing_has_pages_and_leaves_out_what_is_no_key(endpoint, store):
    for number in range(8):
        store.put_bytes(f"v/{number}", bytes(number))
    for name in ("some/prefix/a//b", "some/prefix/folder/", "some/prefix2/a", "other"):
        endpoint.objects[name] = (b"", "tag", "")
    assert list(store.list()) == [(f"v/{number}", number) for number in range(8)]
    assert endpoint.done("list") == 4


def test_a_stale_listing_is_not_taken_for_the_truth(endpoint, store):
    store.put_bytes("v/0", b"1")
    endpoint.listing = dict(endpoint.objects)
    store.delete("v/0")
    store.put_bytes("v/1", b"2")
    assert list(store.list("v/")) == [("v/0", 1)]
    assert not store.exists("v/0")
    assert store.exists("v/1")
    for call in (store.open, store.delete):
        with pytest.raises(NotFound):
            call("v/0")
    store.put_bytes("v/0", b"again")


def test_a_listing_that_does_not_go_on_is_told(endpoint, store, monkeypatch):
    monkeypatch.setattr(
        "tests.unit.stores.s3_endpoint._xml", lambda *_: b"<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>"
    )
    with pytest.raises(StorageError, match="does not go on"):
        list(store.list())


# errors and settings


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        ((403, "AccessDenied"), "the credentials need"),
        ((403, "InvalidAccessKeyId"), "boto3 looks"),
        ((403, "SignatureDoesNotMatch"), "boto3 looks"),
        ((404, "NoSuchBucket"), "bucket"),
        ((403, "RequestTimeTooSkewed"), "clock"),
        ((400, "<b>\x1b[31m"), "try again"),
    ],
)
def test_refusals_have_a_hint_and_no_words_of_the_endpoint(endpoint, store, answer, hint):
    endpoint.faults = [once("list", answer, times=9)]
    with pytest.raises(StorageError) as found:
        list(store.list())
    assert hint in found.value.hint
    for word in ("secret", "an-id-of-nobody", "\x1b", "words of"):
        assert word not in found.value.diagnostics()
    assert found.value.__cause__ is None


def test_without_credentials(endpoint, store, monkeypatch, tmp_path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    with pytest.raises(StorageError, match="no credentials") as found:
        store.exists("a")
    assert "profile" in found.value.hint
    with pytest.raises(StorageError, match="ProfileNotFound"):
        S3Store(S3Settings(BUCKET, "p", endpoint=endpoint.url, profile="nobody")).exists("a")
    assert endpoint.asked == []


def test_nobody_there(store, endpoint):
    endpoint.__exit__()
    with pytest.raises(StorageError, match="cannot be reached"):
        store.exists("a")
    endpoint.__class__.__init__(endpoint)
    endpoint.__enter__()


@pytest.mark.parametrize("missing", ["boto3", "botocore"])
def test_without_boto3(store, monkeypatch, missing):
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(Unsupported) as found:
        store.exists("a")
    assert found.value.hint == "pip install '.[s3]'"


def test_names_are_at_most_1024_bytes_with_the_prefix(store):
    key = "/".join(["x" * 250] * 4)
    with pytest.raises(InvalidName, match="1024"):
        store.exists(key + "/" + "y" * 20)
    assert not store.exists(key)


def test_a_forked_child_has_a_connection_of_its_own(store):
    store.put_bytes("a", b"1")
    child = os.fork()
    if not child:
        os._exit(0 if store.read_bytes("a", limit=9) == b"1" else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert store.read_bytes("a", limit=9) == b"1"
