"""Capabilities CL1 to CL8: classes, inventory, map, "are we safe yet", lineage, owners, purposes. Test names carry the row's id."""

from __future__ import annotations

import json

import pytest

import hermetic
from hermetic.errors import PolicyDenied, UsageError
from hermetic.ids import DataClass, Kind, Purpose

CLASSES = [item.value for item in DataClass]
KINDS = [item.value for item in Kind if item is not Kind.SCRATCH]


def test_CL1_every_kind_takes_every_class(pipeline):
    with hermetic.connect() as h:
        for kind in KINDS:
            for data_class in CLASSES:
                assert h.seal(b"x", name=f"{kind}/{data_class}", data_class=data_class, parents=()).ref == f"{kind}/{data_class}@1"
        assert {(row.name.split("/")[0], row.data_class.value) for row in h.list()} >= {
            (kind, name) for kind in KINDS for name in CLASSES
        }


def test_CL1_the_class_decides_keys_padding_access_approvals_and_retention(pipeline):
    with hermetic.connect() as h:
        for data_class in CLASSES:
            h.seal(bytes(100_001), name=f"dataset/{data_class}", data_class=data_class, parents=())
        shown = {name: h.show(f"dataset/{name}") for name in CLASSES}
        for data_class in CLASSES:
            without = data_class == "restricted"  # only restricted data asks what for
            with pytest.raises(PolicyDenied) if without else h.open(f"dataset/{data_class}"):
                h.open(f"dataset/{data_class}").close()
    assert len({item.kek for item in shown.values()}) == len(CLASSES)
    assert {name: item.retention_days for name, item in shown.items()} == {
        "public": None,
        "internal": None,
        "confidential": 5 * 365,
        "restricted": 2 * 365,
    }
    rotation = {key["data_class"]: key["rotate_after_days"] for key in pipeline.hermetic("key", "ls", "--json").json["keys"]}
    assert rotation == {"public": 365, "internal": 365, "confidential": 180, "restricted": 90}
    sizes = {name: sum(path.stat().st_size for path in stored(pipeline, item.version)) for name, item in shown.items()}
    assert sizes["public"] == sizes["internal"] < sizes["confidential"] == sizes["restricted"]  # padded
    asked = pipeline.hermetic("policy", "explain", "share", "dataset/restricted", "--purpose", "share", "--json")
    assert (asked.code, asked.json["allowed"]) == (3, False)
    assert "restricted-sharing-needs-approval" in asked.json["policies"]


def stored(pipeline, version):
    return list((pipeline.project / "sealed" / version).glob("*.sealed"))


def test_CL3_inventory_and_scan(pipeline):
    (pipeline.project / "loose.csv").write_bytes(b"name,age\n" + b"ann,44\n" * 50)
    (pipeline.project / "copy of patients.bin").write_bytes(b"".join(_content("dataset/patients", "prepare")))
    scanned = pipeline.hermetic("scan", ".", "--json")
    files = {item["path"]: (item["state"], item["copy_of"]) for item in scanned.json["files"]}
    assert scanned.code == 7
    assert files["./loose.csv"] == ("plaintext", "")
    assert files["./copy of patients.bin"][1] == "dataset/patients@1"
    assert files["./hermetic.yaml"] == ("unknown", "")
    assert scanned.json["counts"]["sealed"] == len(list((pipeline.project / "sealed").rglob("*.sealed")))
    listed = {item["name"]: item for item in pipeline.hermetic("ls", "--json").json["assets"]}
    patients = listed["dataset/patients"]
    assert [patients[name] for name in ("owner", "environment", "versions", "retention_days")] == ["ana", "development", 1, 730]
    assert pipeline.hermetic("show", "dataset/patients", "--json").json["kek_state"] == "active"


def _content(ref, purpose):
    with hermetic.connect() as h, h.open(ref, purpose=purpose) as file:
        yield file.read()


def test_CL4_the_map_answers_for_seven_stages(pipeline):
    done = pipeline.hermetic("map", "--json", "--svg", "map.svg")
    stages = {item["stage"]: item for item in done.json["stages"]}
    assert list(stages) == ["ingestion", "preparation", "features", "training", "registry", "inference", "monitoring"]
    for item in stages.values():
        assert {item[question]["state"] for question in ("stored", "moving", "processed")} <= {
            "protected",
            "partial",
            "plaintext",
            "unknown",
        }
        for thing in (*item["stores"], *item["compute"]):
            assert thing["origins"]
            assert set(thing["origins"]) <= {"declared", "discovered", "observed"}
    assert stages["ingestion"]["stored"]["state"] == "protected"
    assert any(item["gaps"] for item in stages.values())  # nobody declared a pipeline
    assert (done.code, (pipeline.project / "map.svg").read_text()[:4]) == (7, "<svg")


def test_CL5_one_command_answers_the_four_questions(pipeline):
    pipeline.hermetic("expose", "dataset/patients", "plain.csv", "--for", "1h", "--purpose", "prepare")
    done = pipeline.hermetic("status", "--json")
    protection = {item["name"]: item for item in done.json["protection"]}
    assert protection["dataset/patients"]["kek_state"] == "active"
    opener = next(item for item in done.json["openness"] if item["name"] == "dataset/patients")
    assert opener["openers"][0]["policies"] == ["owner-opens"]
    assert opener["releases"] >= 2
    exposed = next(item for item in done.json["plaintext"] if item["kind"] == "exposure")
    assert exposed["where"].endswith("plain.csv")
    assert {item["name"] for item in done.json["retention"]} >= {"dataset/patients", "model/risk"}
    assert (done.code, done.json["safe"]) == (7, False)
    assert all(item["remedy"] for item in done.json["findings"])


def test_CL6_lineage_leads_back_to_raw_data(pipeline):
    nodes = {item["ref"]: item for item in pipeline.hermetic("lineage", "model/risk", "--json").json["nodes"]}
    assert list(nodes) == ["model/risk@1", "features/counts@1", "dataset/patients@1"]
    assert nodes["features/counts@1"]["run_name"] == "prepare"
    assert nodes["features/counts@1"]["decision"] == "names removed"
    assert nodes["model/risk@1"]["code_version"]


def test_CL6_what_is_derived_takes_the_strictest_class_unless_decided(pipeline):
    classes = {item["name"]: item["data_class"] for item in pipeline.hermetic("ls", "--json").json["assets"]}
    assert (classes["features/raw"], classes["features/counts"]) == ("restricted", "internal")
    with hermetic.connect() as h, pytest.raises(UsageError, match="without a reason on record"):
        h.seal(b"1", name="features/lower", data_class="public", parents=["dataset/patients"])


def test_CL7_an_asset_whose_owner_nobody_knows_is_a_finding(pipeline):
    found = [item for item in pipeline.hermetic("status", "--json").json["findings"] if item["code"] == "unknown-owner"]
    assert any("ana" in item["message"] or "ana" in item["subject"] for item in found)
    assert pipeline.hermetic("decide", "dataset/patients", "--owner", "root", "--reason", "ana has left").code == 0
    assert "unknown-owner" not in {item["code"] for item in pipeline.hermetic("status", "--json").json["findings"]}


def test_CL8_another_purpose_is_refused_and_on_record(pipeline):
    with hermetic.connect() as h, pytest.raises(PolicyDenied, match="no-restricted-debug") as refused:
        h.open("dataset/patients", purpose="debug")
    assert refused.value.exit_code == 3
    last = pipeline.hermetic("log", "ls", "--json").json["entries"][-1]
    assert (last["kind"], last["visible"]["purpose"]) == ("release.denied", Purpose.DEBUG.value)
    assert "no-restricted-debug" in json.loads(bytes.fromhex(last["leaf"]))["facts"]["reasons"]
