"""Files of AWS CloudTrail as the documentation shows them (AWS KMS Developer Guide, log entries)."""

from __future__ import annotations

import gzip
import json

import pytest

from hermetic.audit.recorded import Coverage, Unreadable
from hermetic.errors import NotFound, StorageError, UsageError
from hermetic.providers import cloudtrail
from hermetic.providers.cloudtrail import Trail

NAME = "1234abcd-12ab-34cd-56ef-1234567890ab"
ARN = f"arn:aws:kms:us-west-2:111122223333:key/{NAME}"
ROOT = "rootrootrootrootrootrootro"


def event(name="Decrypt", *, time="2025-05-20T20:45:00Z", resources=(ARN,), parameters=None, **more):
    return {
        "eventVersion": "1.11",
        "userIdentity": {
            "type": "IAMUser",
            "principalId": "EX_PRINCIPAL_ID",
            "arn": "arn:aws:iam::111122223333:user/Alice",
            "accountId": "111122223333",
            "accessKeyId": "EXAMPLE_KEY_ID",
            "userName": "Alice",
        },
        "eventTime": time,
        "eventSource": "kms.amazonaws.com",
        "eventName": name,
        "awsRegion": "us-west-2",
        "sourceIPAddress": "192.0.2.0",
        "userAgent": "Boto3/1.44",
        "requestParameters": {"encryptionAlgorithm": "SYMMETRIC_DEFAULT"} if parameters is None else parameters,
        "responseElements": None,
        "requestID": "12345126-30d5-4b28-98b9-9153da559963",
        "eventID": "abcde202-ba1a-467c-b4ba-f729d45ae521",
        "readOnly": True,
        "resources": [{"accountId": "111122223333", "type": "AWS::KMS::Key", "ARN": one} for one in resources],
        "eventType": "AwsApiCall",
        **more,
    }


@pytest.fixture
def found(tmp_path):
    def look(*contents, name=NAME):
        paths = []
        for number, content in enumerate(contents):
            paths.append(tmp_path / f"trail-{number}.json")
            paths[-1].write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
        look.coverage = Coverage()
        return list(Trail(paths, look.coverage, name=name, root=ROOT))

    return look


def test_a_use(found):
    (use,) = found({"Records": [event()]})
    assert (use.what, use.operation, use.request, use.granted) == ("use", "unwrap", "12345126-30d5-4b28-98b9-9153da559963", True)
    assert (use.who, use.address, use.login) == ("arn:aws:iam::111122223333:user/Alice", "192.0.2.0", "EXAMPLE_KEY_ID")
    assert (use.identity, use.at_ms, use.place) == ("EX_PRINCIPAL_ID", 1747773900000, "trail-0.json, event 0")


@pytest.mark.parametrize(
    "content",
    [
        gzip.compress(json.dumps({"Records": [event()]}).encode()),
        [event()],
        event(),
        {"Events": [{"EventName": "Decrypt", "CloudTrailEvent": json.dumps(event())}]},
        json.dumps(event()).encode() + b"\n\n" + json.dumps(event("ListKeys")).encode() + b"\n",
    ],
)
def test_forms_of_files(found, content):
    assert [one.operation for one in found(content)] == ["unwrap"]


@pytest.mark.parametrize(
    ("name", "what", "operation"),
    [
        ("Encrypt", "use", "wrap"),
        ("ReEncrypt", "use", "rewrap"),
        ("GenerateDataKeyWithoutPlaintext", "use", "datakey"),
        ("ScheduleKeyDeletion", "change", "ScheduleKeyDeletion"),
        ("PutKeyPolicy", "change", "PutKeyPolicy"),
        ("CreateGrant", "change", "CreateGrant"),
        ("DisableKey", "change", "DisableKey"),
    ],
)
def test_operations(found, name, what, operation):
    (one,) = found({"Records": [event(name)]})
    assert (one.what, one.operation, one.grave) == (what, operation, name in {"PutKeyPolicy", "CreateGrant"})


def test_what_is_about_the_root(found):
    """By the key, or by the root's id in the context that each request of ours carries."""
    other = "arn:aws:kms:us-west-2:111122223333:key/ffffabcd-12ab-34cd-56ef-1234567890ab"
    in_context = event(resources=[other], parameters={"encryptionContext": {"hermetic": "x", "root": ROOT}})
    moved = event("ReEncrypt", resources=[], parameters={"sourceEncryptionContext": {"root": ROOT}})
    by_alias = event("Encrypt", resources=[], parameters={"keyId": "alias/hermetic"})
    records = [
        in_context,
        moved,
        event(resources=[other]),
        event("DescribeKey"),
        event("RotateKey"),
        event(eventSource="s3.amazonaws.com"),
    ]
    assert [one.operation for one in found({"Records": records})] == ["unwrap", "rewrap"]
    assert found.coverage.entries == 6
    assert [one.operation for one in found({"Records": [by_alias]}, name="alias/hermetic")] == ["wrap"]
    assert found({"Records": [event(resources=[f"arn:aws:kms:us-west-2:1:key/x{NAME}"])]}) == []
    assert [one.operation for one in found({"Records": [event()]}, name=f"key/{NAME}")] == ["unwrap"]


def test_refusals(found):
    (one,) = found({"Records": [event(errorCode="AccessDenied", requestParameters=None)]})
    assert not one.granted


def test_assumed_roles_are_one_identity(found):
    who = {"type": "AssumedRole", "principalId": "AROAEXAMPLE:session-1", "arn": "arn:aws:sts::1:assumed-role/r/session-1"}
    (one,) = found({"Records": [event(userIdentity=who)]})
    assert (one.identity, one.login) == ("AROAEXAMPLE", "")


@pytest.mark.parametrize(
    "strange",
    [
        7,
        None,
        "text",
        {},
        {"eventTime": 7},
        event(time="yesterday"),
        event(resources=["x"]) | {"resources": [7]},
        event() | {"requestParameters": 7},
    ],
)
def test_what_cannot_be_read_is_told(found, strange):
    (damage, use) = found({"Records": [strange, event()]})
    assert isinstance(damage, Unreadable)
    assert use.operation == "unwrap"


def test_files_that_are_none(found, tmp_path, monkeypatch):
    assert all(
        isinstance(one, Unreadable) for one in [*found({"Records": []}), *found(b"rubbish"), *found(b"[" * 100_000), *found(b"")]
    )
    with pytest.raises(NotFound):
        list(Trail([tmp_path / "none"], Coverage(), name=NAME, root=ROOT))
    with pytest.raises(StorageError):
        found(gzip.compress(b"x" * 10_000)[:-20])
    monkeypatch.setattr(cloudtrail, "FILE_LIMIT", 1000)
    with pytest.raises(UsageError):
        found(gzip.compress(b"x" * 10_000))
