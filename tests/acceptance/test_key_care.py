"""Capabilities KM2, KM3, KM5, SC7, MO4, SG5: rotation beside readers, who answers for keys, retired suites, the playbook, packages."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

import hermetic
from hermetic.errors import HermeticError, KeyUnusable, Locked
from hermetic.providers import kernel_keyring
from tests.acceptance.conftest import PASSPHRASE, ROWS

ROOT = Path(__file__).resolve().parents[2]


def stored(pipeline):
    return {path: hashlib.sha256(path.read_bytes()).digest() for path in pipeline.project.glob("sealed/*/*") if path.is_file()}


def read(name):
    with hermetic.connect() as h, h.open(name, purpose="prepare") as file:
        return file.read()


def test_KM2_the_root_lives_where_one_chooses_and_what_a_provider_enforces_is_measured(pipeline):
    """The embedded default here; tests/interop has the same on OpenBao, SoftHSM2 and swtpm, and the protocols of the clouds."""
    try:
        kernel_keyring.unlocked()
    except HermeticError:
        pytest.skip("the kernel keyring is not available here")
    text = read("dataset/patients")
    (old,) = [root for root in pipeline.hermetic("key", "root", "ls", "--json").json["roots"] if root["state"] == "active"]
    (pipeline.root / "root-passphrase").write_text("another passphrase for the root")
    (pipeline.root / "root-passphrase").chmod(0o600)
    given = ("--passphrase-file", "../root-passphrase")
    assert pipeline.hermetic("key", "root", "add", "local:passphrase", *given).code == 0
    assert pipeline.hermetic("unlock", "--for", "1h", *given).code == 0
    try:
        assert pipeline.hermetic("key", "root", "deactivate", old["root"], "--reason", "moved").code == 0
        assert pipeline.hermetic("key", "root", "drop", old["root"], "--reason", "moved").code == 0
        assert read("dataset/patients") == text
        (said,) = pipeline.hermetic("key", "providers", "--check", "--json").json["providers"]
    finally:
        assert pipeline.hermetic("lock").code == 0
    with pytest.raises(Locked):
        hermetic.connect()
    outcomes = {probe["name"]: probe["outcome"] for probe in said["probes"]}
    bound = ("round-trip", "other-context-refused", "changed-wrap-refused", "other-root-refused")
    assert {outcomes[name] for name in bound} == {"enforced"}
    assert outcomes["kek-in-provider"] == "not enforced"
    told = json.loads((ROOT / "docs" / "reference" / "providers.json").read_text(encoding="utf-8"))
    assert {name.partition(":")[0] for name in told} == {"awskms", "azurekv", "gcpkms", "local", "openbao", "pkcs11", "tpm"}
    assert all(one["report"]["probes"] for one in told.values())


def test_KM3_keys_and_roots_rotate_and_no_sealed_byte_changes(pipeline):
    before, text = stored(pipeline), read("dataset/patients")
    for key in pipeline.hermetic("key", "ls", "--json").json["keys"]:
        done = pipeline.hermetic("key", "rotate", key["kek"], "--reason", "quarterly", "--json")
        assert done.code == 0, done.err
        assert {item["data_keys"] for item in done.json["key"]["versions"][:-1]} == {0}
    (old,) = [root for root in pipeline.hermetic("key", "root", "ls", "--json").json["roots"] if root["state"] == "active"]
    assert pipeline.hermetic("key", "root", "add", "local:insecure-file").code == 0
    assert pipeline.hermetic("key", "root", "deactivate", old["root"], "--reason", "moved").code == 0
    assert pipeline.hermetic("key", "root", "drop", old["root"], "--reason", "moved").code == 0
    assert read("dataset/patients") == text
    assert stored(pipeline) == before


def test_KM3_signing_keys_change_and_everything_verifies(pipeline):
    before, text = stored(pipeline), read("dataset/patients")
    assert pipeline.hermetic("log", "prove", "0", "--output", "../before.proof").code == 0
    with hermetic.connect() as beside:  # another user of the domain, with pins and keys from before
        for use in ("log", "manifest"):
            done = pipeline.hermetic("key", "signing", "rotate", use, "--reason", "yearly", "--json")
            assert done.code == 0, done.err
            assert done.json["before"]["state"] == "destroyed"
        sealed = beside.seal(b"after", name="dataset/after", data_class="restricted", member="x", purpose="ingest")
        beside.verify(sealed.ref)
        beside.verify("dataset/patients@1")
    assert read("dataset/patients") == text
    assert {path: digest for path, digest in stored(pipeline).items() if path in before} == before
    done = pipeline.hermetic("log", "verify", "--json")
    assert done.code in {0, 7}, done.err
    assert [row["state"] for row in pipeline.hermetic("key", "signing", "ls", "--json").json["keys"]] == ["destroyed", "active"] * 2


def test_SC7_a_retired_suite_is_found_and_sealed_anew(pipeline):
    text = read("dataset/patients")
    retired = pipeline.hermetic("show", "dataset/patients", "--json").json["suites"]
    with (pipeline.project / "hermetic.yaml").open("a") as file:
        file.write(f"retired_suites:\n  - {{suite: {retired[0]}, reason: a weakness was found}}\n")
    assert pipeline.hermetic("policy", "apply").code == 0
    plan = pipeline.hermetic("reseal", "--dry-run", "--json").json
    assert "dataset/patients@1" in {one["ref"] for one in plan["versions"]}
    assert plan["bytes"] >= len(text)
    found = {(item["code"], item["subject"]) for item in pipeline.hermetic("status", "--json").json["findings"]}
    assert ("suite-retired", "dataset/patients") in found
    done = pipeline.hermetic("reseal", "--json")
    assert done.code == 0, done.err
    assert {one["old"] for one in done.json["anew"]} == {one["ref"] for one in plan["versions"]}
    assert read("dataset/patients") == text
    after = pipeline.hermetic("show", "dataset/patients", "--json").json
    assert not set(after["suites"]) & set(retired)
    assert "suite-retired" not in {item["code"] for item in pipeline.hermetic("status", "--json").json["findings"]}
    assert pipeline.hermetic("reseal", "--dry-run", "--json").json["versions"] == []


def test_KM5_a_key_that_is_late_or_nobodys_is_a_finding(pipeline):
    kek = pipeline.hermetic("show", "dataset/patients", "--json").json["kek"]
    done = pipeline.hermetic(
        "key", "set", kek, "--owner", "somebody who left", "--contact", "+49 30 5550 123", "--rotate-every", "30d"
    )
    assert done.code == 0, done.err
    found = {(item["code"], item["subject"]) for item in pipeline.hermetic("status", "--json").json["findings"]}
    assert ("unknown-owner", kek) in found
    shown = pipeline.hermetic("key", "show", kek)
    assert "every 30 days" in shown.out
    assert "+49 30 5550 123" in shown.out


def test_MO4_what_a_stolen_key_could_open_is_sealed_anew(pipeline):
    text, before = read("dataset/patients"), stored(pipeline)
    details = pipeline.hermetic("show", "dataset/patients", "--json").json
    done = pipeline.hermetic("key", "compromise", details["kek"], "--reason", "laptop stolen", "--json")
    assert done.code == 0, done.err
    assert {item["old"] for item in done.json["anew"]} >= {"dataset/patients@1"}
    assert read("dataset/patients") == text
    after = pipeline.hermetic("show", "dataset/patients", "--json").json
    assert after["number"] == details["number"] + 1
    assert not {before[path] for path in before} & {digest for path, digest in stored(pipeline).items() if path not in before}
    with pytest.raises(KeyUnusable):
        read("dataset/patients@1")
    codes = {item["code"] for item in pipeline.hermetic("status", "--json").json["findings"]}
    assert "key-compromised" not in codes


def test_SG5_a_named_recipient_opens_a_package_and_nobody_else(pipeline, monkeypatch):
    for name in ("ben.key", "eve.key"):
        done = pipeline.hermetic("package", "key", name, "--name", name, "--passphrase-file", "../passphrase")
        assert done.code == 0, done.err
    policy = pipeline.project / "policies" / "sharing.cedar"
    policy.write_text(
        '@id("shares") permit (principal, action == Action::"share", resource) when { resource.class == Class::"internal" };'
    )
    assert pipeline.hermetic("policy", "apply").code == 0
    (pipeline.project / "sum.csv").write_bytes(ROWS)
    assert pipeline.hermetic("seal", "sum.csv", "--as", "dataset/sum", "--class", "internal", "--remove-original").code == 0
    made = ("package", "create", "dataset/sum", "../sum.hpkg", "--to", "ben.key.pub", "--reason", "joint study")
    assert pipeline.hermetic(*made).code == 0
    assert pipeline.hermetic("package", "sender", "../us.sender").code == 0
    assert b"MARKER" not in (pipeline.root / "sum.hpkg").read_bytes()
    theirs = pipeline.root / "theirs"
    theirs.mkdir()
    monkeypatch.setenv("HERMETIC_HOME", str(pipeline.root / "home-of-theirs"))
    (pipeline.root / "home-of-theirs").mkdir(mode=0o700)
    monkeypatch.chdir(theirs)
    assert pipeline.hermetic("init", "--root", "local:insecure-file").code == 0

    def opened(key):
        place = str(pipeline.project / key)
        options = ("--from", "../us.sender", "--key", place, "--passphrase-file", "../passphrase", "--json")
        return pipeline.hermetic("package", "open", "../sum.hpkg", *options)

    assert opened("eve.key").code == 3
    done = opened("ben.key")
    assert done.code == 0, done.err
    assert json.loads(done.out)["ref"] == "dataset/sum@1"
    assert read("dataset/sum") == ROWS
    assert PASSPHRASE not in done.err
