"""Capabilities AC2, AC3, AC4, AC6, AC8, AU1 to AU4, PO1, BR1: policy, access, the log, recovery."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys

import pytest

import hermetic
from hermetic.assets.workspace import Workspace
from hermetic.domain import config
from hermetic.errors import ApprovalNeeded, LogTampered, NotAuthenticated, NotFound, PolicyDenied
from hermetic.formats.messages.access import DisablePrincipal
from hermetic.formats.messages.domain import GatherFacts
from hermetic.formats.messages.policy import GiveGrant
from hermetic.formats.messages.runs import StartRun
from hermetic.ids import Environment, Purpose
from tests import world as w
from tests.acceptance.conftest import PASSPHRASE, ROWS
from tests.unit.custody.approving import Person, the_request


def test_AC2_every_decision_names_the_policies_that_made_it(pipeline):
    asked = pipeline.hermetic("policy", "explain", "open", "dataset/patients", "--purpose", "prepare", "--json").json
    assert (asked["allowed"], asked["policies"]) == (True, ["owner-opens"])
    with hermetic.connect() as h:
        h.open("dataset/patients", purpose="audit").close()
    entries = pipeline.hermetic("log", "ls", "--json").json["entries"]
    intent = [json.loads(bytes.fromhex(item["leaf"]))["facts"] for item in entries if item["kind"] == "release.intent"][-1]
    assert (intent["policies"], intent["purpose"], intent["enforcement"]) == (["owner-opens"], "audit", "cooperative")


def test_AC3_a_grant_covers_one_version_of_one_asset(world):
    port = world.port()
    w.seal(port)
    w.seal(port)
    w.seal(port, "dataset/others")
    w.enrol(port, "nobody", ["approver"])
    port.ask(GiveGrant("nobody", "open", "dataset/patients@1", (Purpose.PREPARE,), w.START + w.HOUR, "one look", None))
    other = world.port(uid=65534)
    w.open_(other, "dataset/patients@1")
    for ref in ("dataset/patients@2", "dataset/others@1"):
        with pytest.raises(PolicyDenied):
            w.open_(other, ref)


def test_AC4_environments_are_apart_and_a_promotion_seals_anew(world):
    """Nothing crosses but by an approved promotion; `tests/unit/custody/test_environments.py` tries every way."""
    config.save(world.home.domain_config(world.domain), config.UserConfig(store_folders={"staging": world.root / "staging"}))
    with Workspace(world.connect()) as h:
        mo = Person("mo")
        mo.enrol(h.connection.port)
        source = h.seal(b"weights", name="model/risk", data_class="restricted")
        run = h.connection.ask(StartRun(w.fresh(), "evaluate", Purpose.EVALUATE, environment=Environment.STAGING)).run
        with pytest.raises(NotFound, match="in staging"):
            h.open("model/risk", run=run)
        with pytest.raises(PolicyDenied, match="nothing crosses"):
            w.open_(h.connection, "model/risk", purpose=None, run=run, environment=Environment.DEVELOPMENT)
        with pytest.raises(ApprovalNeeded) as waiting:
            h.promote("model/risk", "staging", reason="evaluated")
        assert waiting.value.exit_code == 5
        row = the_request(h.connection.port)
        mo.answers(h.connection.port, row, row.created_ms)
        done = h.promote("model/risk", "staging", reason="evaluated")
        copy = h.show(done.ref, environment="staging")
        assert copy.kek != h.show(source.ref).kek
        with h.open("model/risk", run=run) as file:
            assert file.read() == b"weights"


def test_CO4_keys_and_objects_stay_in_their_regions(world):
    """What would cross is refused; `tests/unit/custody/test_residency.py` tries every way."""
    folder = world.home.domain_config(world.domain)
    config.save(folder, config.UserConfig(providers={"local:insecure-file": {"region": "eu-central"}}))
    with Workspace(world.connect()) as h:
        port = h.connection
        w.change_policy(world, port, lambda text: text.replace("  restricted:\n", "  restricted:\n    regions: [eu-central]\n"))
        with pytest.raises(PolicyDenied, match="store sealed has no region on record"):
            h.seal(b"secret", name="dataset/patients", data_class="restricted")
        w.change_policy(world, port, lambda text: text.replace("path: sealed}", "path: sealed, region: eu-central}"))
        h.seal(b"secret", name="dataset/patients", data_class="restricted")
        h.open("dataset/patients", purpose="prepare").close()
        w.change_policy(world, port, lambda text: text.replace("region: eu-central}", "region: us-east}"))
        with pytest.raises(PolicyDenied, match="stays in eu-central, and store sealed is in us-east"):
            h.open("dataset/patients", purpose="prepare")
        assert "object-elsewhere" in {note.name for note in port.ask(GatherFacts()).critical}


def test_AC6_what_is_granted_ends_by_itself(world):
    """By the clock, by uses, by bytes; `tests/unit/custody/test_breaking_glass.py` has emergencies."""
    port = world.port()
    w.seal(port, content=b"0123456789")
    w.enrol(port, "nobody", ["approver"])
    terms = ("nobody", "open", "dataset/patients", (Purpose.PREPARE,))
    port.ask(GiveGrant(*terms, w.START + w.HOUR, "two looks", length=25))
    other = world.port(uid=65534)
    lease = w.open_(other).released[0].lease
    w.open_(other)
    with pytest.raises(PolicyDenied):  # 5 bytes are left
        w.open_(other)
    assert w.ended(other, lease) is None
    world.clock.now += w.HOUR
    assert w.ended(other, lease) is not None


def test_AC8_a_principal_is_out_at_once(world):
    port = world.port()
    w.seal(port)
    w.enrol(port, "nobody", ["ml-engineer"])
    other = world.port(uid=65534)
    lease = w.open_(other, purpose=Purpose.TRAIN).released[0].lease
    assert port.ask(DisablePrincipal("nobody", "laptop stolen")).leases == 1
    assert "disabled" in w.ended(other, lease)
    with pytest.raises(NotAuthenticated):
        w.open_(other, purpose=Purpose.TRAIN)


def test_AU1_the_log_is_verified_proved_and_exported(pipeline):
    assert pipeline.hermetic("log", "verify", "--json").json["open_intents"] == 0
    assert pipeline.hermetic("log", "prove", "3", "-o", "proof.txt").code == 0
    assert (pipeline.project / "proof.txt").read_text().startswith("c2sp.org/tlog-proof@v1\n")
    assert pipeline.hermetic("log", "export", "tiles").code == 0
    assert (pipeline.project / "tiles" / "checkpoint").is_file()
    (root,) = pipeline.hermetic("log", "reconcile", "--json").json["roots"]
    assert (root["provider"], root["compared"]) == ("local:insecure-file", False), "tests/interop/openbao has others"


def test_AU2_no_record_no_key(pipeline):
    """Die with the key in hand: the release is on record. `tests/faults` does it at every step."""
    code = (
        "import os, signal, hermetic\nfrom hermetic import steps\n"
        "steps.install(lambda step: os.kill(os.getpid(), signal.SIGKILL) if step == 'custody.release.unwrapped' else None)\n"
        "hermetic.connect().open('dataset/patients', purpose='prepare')\n"
    )
    before = pipeline.hermetic("log", "verify", "--json").json["size"]
    died = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True)
    assert died.returncode == -signal.SIGKILL, died.stderr
    after = pipeline.hermetic("log", "verify", "--json").json
    assert (after["size"], after["open_intents"]) == (before + 1, 1)


def test_AU3_a_log_that_was_put_back_is_found(pipeline):
    (folder,) = pipeline.home.glob("data/*")
    shutil.copytree(folder, pipeline.root / "older")
    assert pipeline.hermetic("seal", "hermetic.yaml", "--as", "config/policy", "--class", "internal").code == 0
    shutil.rmtree(folder)
    shutil.copytree(pipeline.root / "older", folder)
    done = pipeline.hermetic("log", "verify")
    assert done.code == 4
    with pytest.raises(LogTampered), hermetic.connect() as h:
        h.open("dataset/patients", purpose="prepare")


def test_AU4_entries_hold_nothing_that_is_protected(pipeline):
    leaves = b"".join(
        bytes.fromhex(item["leaf"]) for item in pipeline.hermetic("log", "ls", "--json", "--limit", "1000").json["entries"]
    )
    for word in (b"patients", b"risk", b"names removed", b"ana", b"prepare.py", b"MARKER"):
        assert b'"' + word + b'"' not in leaves
        assert b"/" + word not in leaves


def test_PO1_an_error_names_line_and_remedy(pipeline):
    policy = pipeline.project / "hermetic.yaml"
    policy.write_text(
        policy.read_text().replace(
            "    padding: padme\n    default_purpose: none", "    padding: none-at-all\n    default_purpose: none"
        )
    )
    line = policy.read_text().splitlines().index("    padding: none-at-all") + 1
    done = pipeline.hermetic("policy", "apply")
    assert done.code == 2
    assert f"hermetic.yaml:{line}:14: " in done.err
    assert "hint: " in done.err


def test_BR1_restored_on_a_fresh_machine_everything_opens(pipeline, monkeypatch):
    (pipeline.root / "passphrase").write_text(PASSPHRASE)
    shutil.rmtree(pipeline.home)
    fresh = pipeline.root / "fresh"
    fresh.mkdir(mode=0o700)
    monkeypatch.setenv("HERMETIC_HOME", str(fresh))
    arguments = ("--root", "local:insecure-file", "--recovery-passphrase-file", "../passphrase", "--json")
    done = pipeline.hermetic("restore", "--from", "../backup", *arguments)
    assert done.code == 0, done.err
    assert (done.json["generation"], done.json["lost"]) == (2, False)
    with hermetic.connect() as h:
        for row in h.list():
            with h.open(row.name, purpose="prepare") as file:
                assert len(file.read()) == row.length
        with h.open("dataset/patients", purpose="prepare") as file:
            assert file.read() == ROWS
