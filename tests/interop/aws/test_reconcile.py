"""`log reconcile` for a root in AWS KMS: each request of ours has on our log the id that the service answered with.

No emulator writes CloudTrail. The server in between notes what came and under which id it was answered, as a trail would, in the form
that the AWS KMS Developer Guide documents.
"""

from __future__ import annotations

import json
import time

import pytest

import hermetic
from hermetic.domain.create import create_domain
from tests.interop.aws.conftest import REGION, client
from tests.interop.aws.test_awskms import new_key
from tests.interop.front import Front, forward
from tests.interop.rooted import command

ARN = f"arn:aws:kms:{REGION}:123456789012:key/"


class Trail:
    """What a trail would have delivered."""

    def __init__(self, endpoint):
        self.events, self._answer = [], forward(endpoint)

    def __call__(self, asked):
        answer = self._answer(asked)
        headers = {name.lower(): value for name, value in {**asked.headers}.items()}
        given = {name.lower(): value for name, value in answer.headers.items()}
        body = asked.json()
        key = str(body.get("KeyId") or body.get("SourceKeyId")).rpartition("/")[2]
        self.events.append(
            {
                "eventTime": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                "eventSource": "kms.amazonaws.com",
                "eventName": headers["x-amz-target"].rpartition(".")[2],
                "sourceIPAddress": "192.0.2.0",
                "userIdentity": {"arn": "arn:aws:iam::1:user/trainer", "principalId": "AIDA1", "accessKeyId": "AKIA1"},
                "requestID": given["x-amzn-requestid"],
                "requestParameters": {"encryptionContext": body.get("EncryptionContext")},
                "resources": [{"ARN": ARN + key}],
                **({} if answer.status == 200 else {"errorCode": "Refused"}),
            }
        )
        return answer

    def write(self, path):
        path.write_text(json.dumps({"Records": self.events}))
        return str(path)


@pytest.fixture
def trail(ministack):
    return Trail(ministack)


def test_a_trail_and_our_log(trail, ministack, project, tmp_path):
    with Front(trail) as between:
        uri = new_key(ministack)
        create_domain(project, provider_uri=uri, project_name="clinic", settings={"endpoint": between.url})
        (project / "visits.csv").write_bytes(b"id\n1\n")
        with hermetic.connect(project) as h:
            h.seal("visits.csv", name="dataset/visits", data_class="confidential", owner="ana")
        command("cat", "dataset/visits", "--purpose", "prepare")
        file = trail.write(tmp_path / "trail.json")
        found = json.loads(command("log", "reconcile", "--audit", file, "--json"))
        assert found["findings"] == []
        assert found["matched"] == found["recorded"] > 8
        assert set(found["operations"]) == {"wrap", "unwrap"}
        event = next(one for one in trail.events if one["eventName"] == "Decrypt")
        service = client(between.url)
        blob = service.encrypt(KeyId=uri.rpartition("/")[2], Plaintext=b"x" * 32)["CiphertextBlob"]
        service.decrypt(CiphertextBlob=blob, KeyId=uri.rpartition("/")[2])
        trail.events.remove(event)
        file = trail.write(tmp_path / "trail.json")
        told = command("log", "reconcile", "--audit", file, code=7)
        assert b"use-unrecorded  unwrap" in told
        assert b"use-unrecorded  wrap" in told
        assert b"use-missing  log entry" in told
        assert event["requestID"].encode() in told
