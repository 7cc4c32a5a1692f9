"""Commands ask custody the right thing and show its answer, as text and as one JSON document."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest

from hermetic.cli import words
from hermetic.cli.main import root
from hermetic.domain.notifying import Delivered
from hermetic.errors import KeyServiceUnavailable, NotFound, PolicyDenied
from hermetic.formats.messages import backup, catalogue, domain, keys, log, policy, signing, versions
from hermetic.formats.messages.base import Done, Pair, Receipt
from hermetic.ids import DataClass, Enforcement, Environment, Purpose
from hermetic.policy import defaults
from hermetic.recovery.compromise import Report
from tests.unit.evidence import sample

RECEIPT = Receipt(1, 17, b"{}", "c2sp.org/tlog-proof@v1\nindex 17\n")
PATIENTS = sample.asset("dataset/patients", "restricted")
KEY = replace(
    sample.key("restricted", ("dataset/patients",)),
    versions=(keys.KeyVersionRow(1, "deactivated", 0, 9, 5), keys.KeyVersionRow(2, "active", 0, 0, 0)),
)


def details(**given):
    values = {
        "ref": "dataset/patients@3", "name": "dataset/patients", "asset": sample.DOMAIN, "version": sample.DOMAIN, "number": 3,
        "state": "published", "data_class": DataClass.RESTRICTED, "environment": Environment.DEVELOPMENT, "owner": "ana",
        "project": "cardio", "purpose": Purpose.INGEST, "run": None, "writer": "ana", "created_ms": 0, "published_ms": sample.NOW,
        "retention_days": 730, "length": 2048, "store": "sealed", "kek": sample.DOMAIN, "kek_number": 1, "kek_state": "active",
        "manifest": b"{}", "openings": (), "members": (versions.Member("a.csv", 0, 2048),), "parents": (), "labels": (("rows", "12"),),
        "releases": 4, "last_release_ms": sample.NOW,
    }  # fmt: skip
    return catalogue.VersionDetails(**(values | given))


def test_ls(hermetic, custody):
    custody.answers[catalogue.ListAssets] = catalogue.AssetList((PATIENTS,))
    done = hermetic("ls", "dataset/*", "--env", "development")
    assert custody.asked == [catalogue.ListAssets("dataset/*", Environment.DEVELOPMENT)]
    assert done.out.splitlines() == [
        "NAME              CLASS       LATEST  OWNER     SIZE  CHANGED",
        "dataset/patients  restricted       1  ana    4.0 KiB  2025-11-20 08:00",
    ]
    assert hermetic("ls", "--json").json["assets"][0]["name"] == "dataset/patients"
    assert "ENVIRONMENT" in hermetic("ls", "-l").out


def test_ls_says_the_environment_where_any_is_another(hermetic, custody):
    custody.answers[catalogue.ListAssets] = catalogue.AssetList((PATIENTS, replace(PATIENTS, environment=Environment.STAGING)))
    heading, *rows = hermetic("ls").out.splitlines()
    assert heading.split()[:3] == ["NAME", "CLASS", "ENVIRONMENT"]
    assert [row.split()[2] for row in rows] == ["development", "staging"]
    custody.answers[catalogue.ListAssets] = catalogue.AssetList((replace(PATIENTS, environment=Environment.STAGING),))
    assert "ENVIRONMENT" in hermetic("ls").out
    assert "ENVIRONMENT" not in hermetic("ls", "--env", "staging").out
    custody.environment = Environment.STAGING
    assert "ENVIRONMENT" not in hermetic("ls").out


def test_ls_of_a_whole_name_lists_its_versions(hermetic, custody):
    def answer(request):
        if request.ref == "dataset/patients@2":
            raise NotFound("dataset/patients has no version 2")
        return details(ref=request.ref, asset=PATIENTS.asset)

    custody.answers |= {
        catalogue.ListAssets: catalogue.AssetList((replace(PATIENTS, latest=3),)),
        catalogue.ShowVersion: answer,
    }
    done = hermetic("ls", "dataset/patients")
    assert [line.split()[0] for line in done.out.splitlines()[4:]] == ["VERSION", "dataset/patients@3", "dataset/patients@1"]
    assert [row["ref"] for row in hermetic("ls", "dataset/patients", "--json").json["versions"]][1:] == ["dataset/patients@1"]
    assert "versions" not in hermetic("ls", "dataset/*", "--json").json
    custody.answers[catalogue.ShowVersion] = details(asset=sample.DOMAIN[::-1])  # of that name in another environment
    assert hermetic("ls", "dataset/patients", "--json").json["versions"] == []


def test_ls_of_an_asset_whose_first_version_was_never_finished(hermetic, custody):
    custody.answers[catalogue.ListAssets] = catalogue.AssetList((replace(PATIENTS, latest=0),))
    assert hermetic("ls").out.splitlines()[1].split()[:3] == ["dataset/patients", "restricted", "none"]


def test_show(hermetic, custody):
    custody.answers[catalogue.ShowVersion] = details()
    out = hermetic("show", "dataset/patients").out
    assert "made of" in out
    assert "a.csv" in out
    assert "rows" in out
    assert hermetic("show", "dataset/patients", "--json").json["kek_state"] == "active"


def node(ref, **given):
    values = {
        "version": ref, "data_class": DataClass.INTERNAL, "owner": "ana", "run": None, "run_name": None, "purpose": Purpose.INGEST,
        "published_ms": 0, "code_version": None, "decision": None,
    }  # fmt: skip
    return catalogue.LineageNode(ref=ref, **(values | given))


def test_lineage_is_a_tree_and_a_diamond_is_shown_once(hermetic, custody):
    nodes = (node("m@1", run_name="train", code_version="git:abc"), node("f@1"), node("g@1"), node("d@1"))
    edges = tuple(catalogue.LineageEdge(*pair.split("<")) for pair in ("m@1<f@1", "m@1<g@1", "f@1<d@1", "g@1<d@1"))
    custody.answers[catalogue.TraceLineage] = catalogue.Lineage(nodes, edges)
    lines = hermetic("lineage", "model/m").out.splitlines()
    assert [line.split("  internal")[0] for line in lines] == ["m@1", "  f@1", "    d@1", "  g@1", "    d@1 (see above)"]
    assert "run train for ingest, code git:abc" in lines[0]


def test_rename_and_decide(hermetic, custody):
    renamed = Done(("grant g1 covers it no more",))
    custody.answers |= {catalogue.RenameAsset: renamed, catalogue.RecordDecision: catalogue.Decided(RECEIPT)}
    assert "grant g1 covers it no more" in hermetic("rename", "dataset/a", "dataset/b", "--reason", "typo").out
    assert custody.asked[-1] == catalogue.RenameAsset("dataset/a", "dataset/b", reason="typo")
    done = hermetic("decide", "dataset/a", "--class", "internal", "--retention", "2w", "--reason", "de-identified", "--json")
    assert done.json["log_index"] == 17
    assert custody.asked[-1] == catalogue.RecordDecision("dataset/a", "de-identified", None, DataClass.INTERNAL, 14)


def test_decide_wants_something_and_a_reason(hermetic, custody):
    assert hermetic("decide", "dataset/a", "--reason", "x").code == 2
    assert hermetic("decide", "dataset/a", "--owner", "ana").code == 2
    assert custody.asked == []


def test_exposures_are_listed(hermetic, custody):
    custody.answers[catalogue.ListExposures] = catalogue.ExposureList((sample.exposure("dataset/a@1", "/srv/a.csv"),))
    assert "/srv/a.csv" in hermetic("expose").out
    assert hermetic("expose", "--json").json["exposures"][0]["ref"] == "dataset/a@1"


def test_expose_wants_a_time(hermetic, custody):
    done = hermetic("expose", "dataset/a", "a.csv")
    assert (done.code, custody.asked) == (2, [])
    assert "--for 2h" in done.err


def test_keys_are_listed_and_shown_with_their_blast_radius(hermetic, custody):
    custody.answers |= {keys.ListKeys: keys.KeyList((KEY,)), keys.ShowKey: KEY}
    assert "restricted" in hermetic("key", "ls").out
    out = hermetic("key", "show", "mfrg").out
    assert custody.asked[-1] == keys.ShowKey("mfrg")
    assert "Blast radius: 1 asset\n  dataset/patients\n" in out


def test_rotate_rewraps_until_nothing_is_left(hermetic, custody):
    batches = iter([keys.Rewrapped(KEY.kek, 2, 3, 2), keys.Rewrapped(KEY.kek, 2, 2, 0)])
    custody.answers |= {
        keys.RotateKey: keys.KeyChanged(KEY, RECEIPT),
        keys.RewrapKey: lambda _request: next(batches),
        keys.ShowKey: KEY,
    }
    assert hermetic("key", "rotate", "mfrg", "--reason", "quarter", "--json").json["moved"] == 5
    assert custody.asked[0] == keys.RotateKey("mfrg", "quarter")
    custody.asked.clear()
    assert hermetic("key", "rotate", "mfrg", "--no-rewrap").code == 0
    assert not any(isinstance(request, keys.RewrapKey) for request in custody.asked)


def test_a_revocation_says_what_it_closes(hermetic, custody):
    row = replace(KEY, versions=(keys.KeyVersionRow(1, "compromised", 0, 9, 2), keys.KeyVersionRow(2, "active", 0, 0, 0)))
    custody.answers[keys.ChangeKeyState] = keys.KeyChanged(row, RECEIPT)
    assert (
        "2 versions of dataset/patients can be opened for --purpose recover only"
        in hermetic("key", "revoke", "mfrg", "--reason", "lost").err
    )
    assert "cannot be opened" not in hermetic("key", "suspend", "mfrg", "--reason", "lost").err


def test_a_rotation_says_what_stays_on_a_revoked_version(hermetic, custody):
    row = replace(KEY, versions=(keys.KeyVersionRow(1, "compromised", 0, 9, 1), keys.KeyVersionRow(2, "active", 0, 0, 3)))
    custody.answers |= {
        keys.RotateKey: keys.KeyChanged(row, RECEIPT),
        keys.RewrapKey: keys.Rewrapped(KEY.kek, 2, 0, 0),
        keys.ShowKey: row,
    }
    for verb in ("rotate", "rewrap"):
        said = hermetic("key", verb, "mfrg", "--reason", "lost").err
        assert "1 data key of version 1, which is revoked, did not move" in said
        assert f"hermetic key compromise {KEY.kek} --reason WHY --go-on" in said


@pytest.mark.parametrize(("state", "said"), [("compromised", "nothing was left to do"), ("active", "leave out --go-on")])
def test_going_on_with_a_compromise_says_what_it_did(hermetic, custody, monkeypatch, state, said):
    row = replace(KEY, versions=(keys.KeyVersionRow(1, state, 0, 9, 2),))
    report = Report(row, None, (), 3, (), 0.1)
    monkeypatch.setattr("hermetic.recovery.compromise.compromise", lambda *_, **__: report)
    done = hermetic("key", "compromise", "mfrg", "--reason", "lost", "--go-on")
    assert said in done.err
    assert "went on with" in done.out
    assert "no new release" not in done.out
    monkeypatch.setattr("hermetic.recovery.compromise.compromise", lambda *_, **__: replace(report, revoke_s=0.02))
    assert "0.02 s no new release" in hermetic("key", "compromise", "mfrg", "--reason", "lost").out


def test_a_rewrap_that_does_not_move_stops(hermetic, custody):
    custody.answers |= {keys.RewrapKey: keys.Rewrapped(KEY.kek, 2, 0, 4), keys.ShowKey: KEY}
    assert hermetic("key", "rewrap", "mfrg").code == 1


@pytest.mark.parametrize("verb", ["suspend", "resume", "revoke"])
def test_key_states_change_with_a_reason(hermetic, custody, verb):
    custody.answers[keys.ChangeKeyState] = keys.KeyChanged(KEY, RECEIPT)
    assert hermetic("key", verb, "mfrg").code == 2
    assert hermetic("key", verb, "mfrg", "--reason", "lost laptop", "--json").json["log_index"] == 17
    assert custody.asked == [keys.ChangeKeyState("mfrg", verb, "lost laptop")]


GRANT = policy.GrantRow("g1", "ben", "open", "dataset/*", (Purpose.TRAIN,), sample.NOW, 3, "active", sample.NOW, "audit")


def test_grants(hermetic, custody):
    custody.answers |= {policy.GiveGrant: GRANT, policy.RevokeGrant: Done(), policy.ListGrants: policy.GrantList((GRANT,))}
    done = hermetic(
        "access", "grant", "ben", "open", "dataset/*", "--purpose", "train", "--for", "8h", "--uses", "3", "--reason", "audit"
    )
    assert done.code == 0
    asked = custody.asked[0]
    assert (asked.principal, asked.action, asked.pattern, asked.purposes, asked.uses) == (
        "ben",
        "open",
        "dataset/*",
        (Purpose.TRAIN,),
        3,
    )
    assert hermetic("access", "revoke", "g1", "--reason", "done").code == 0
    assert "dataset/*" in hermetic("access", "ls").out


def test_roles(hermetic, custody):
    row = policy.PrincipalRow("p1", "ben", "person", ("data-steward",), "active")
    custody.answers |= {policy.SetRoles: row, policy.ListPrincipals: policy.PrincipalList((row,))}
    assert "data-steward" in hermetic("access", "roles").out
    assert hermetic("access", "roles", "ben", "--role", "data-steward", "--reason", "joins").code == 0
    assert custody.asked[-1] == policy.SetRoles("ben", ("data-steward",), "joins")
    assert hermetic("access", "roles", "ben").code == 2
    assert hermetic("access", "roles", "ben", "--role", "x").code == 2


def in_force(custody, **changes):
    bundle = defaults.default_bundle(sample.DOMAIN, "cardio")
    files = {name: content.replace(*changes[name]) if name in changes else content for name, content in bundle.files.items()}
    old = type(bundle)(files)
    custody.answers[policy.ShowPolicy] = policy.PolicyInForce(old.digest(), old.to_bytes(), sample.NOW, "ana")
    return old


def test_policy_show_says_whether_the_files_were_edited(hermetic, custody):
    in_force(custody)
    assert "the same" in hermetic("policy", "show").out
    in_force(custody, **{"hermetic.yaml": (b"cardio", b"cordia")})
    done = hermetic("policy", "show", "--diff")
    assert "edited since" in done.out
    assert "-project: cordia" in done.out
    assert "+project: cardio" in done.out


def test_policy_apply_sends_the_files_once(hermetic, custody):
    in_force(custody)
    assert hermetic("policy", "apply", "--json").json["state"] == "already in force"
    old = in_force(custody, **{"hermetic.yaml": (b"cardio", b"cordia")})
    assert hermetic("policy", "apply", "--dry-run", "--json").json["state"] == "checked, not applied"
    custody.answers[policy.ApplyPolicy] = policy.PolicyApplied(b"\1" * 32, old.digest(), RECEIPT)
    assert hermetic("policy", "apply", "--json").json["state"] == "applied"
    assert custody.asked[-1] == policy.ApplyPolicy(custody.project.bundle().to_bytes())


def test_policy_explain(hermetic, custody):
    custody.answers[policy.Explain] = policy.Explanation(False, ("deny-debug",), ("approval",), ("debug is never allowed",))
    done = hermetic("policy", "explain", "open", "dataset/a", "--purpose", "debug")
    assert done.code == 3
    assert "deny-debug" in done.out
    assert custody.asked == [policy.Explain("open", "dataset/a", Purpose.DEBUG, None)]
    hermetic("policy", "explain", "open", "dataset/a", "--principal", "ana", "--enforcement", "service")
    assert custody.asked[-1] == policy.Explain("open", "dataset/a", None, "ana", enforcement=Enforcement.SERVICE)


def test_policy_schema_needs_no_domain(hermetic, tmp_path):
    assert hermetic("policy", "schema", "--json").json["title"] == "hermetic.yaml"
    assert hermetic("policy", "schema", "-o", "schema.json").code == 0
    assert (tmp_path / "schema.json").stat().st_size > 1000


def test_log_ls_shows_the_latest(hermetic, custody):
    row = log.LogRow(1, 3, sample.NOW, "release.intent", b"{}", (Pair("request", "r1"),), (Pair("principal", "ana"),))
    custody.answers[log.ReadLog] = log.LogPage((row,), 4)
    out = hermetic("log", "ls", "--kind", "release").out
    assert custody.asked == [log.ReadLog(-50, 50, "release", None)]
    assert "principal=ana request=r1" in out
    assert hermetic("log", "ls", "--json").json["entries"][0]["opened"] == {"principal": "ana"}


def test_log_ls_tells_who_did_it_from_whom_it_was_done_to(hermetic, custody):
    pairs = (Pair("principal", "spiffe://d/person/ben"), Pair("credential", "c1"))
    row = log.LogRow(1, 3, sample.NOW, "credential.issued", b"{}", pairs, (Pair("principal", "ana"),))
    custody.answers[log.ReadLog] = log.LogPage((row,), 4)
    assert "principal=ana of=spiffe://d/person/ben credential=c1\n" in hermetic("log", "ls").out


def test_log_verify_compares_with_pins_and_anchors(hermetic, custody, tmp_path):
    (tmp_path / "anchor.txt").write_text("checkpoint")
    custody.answers[log.VerifyLog] = log.LogVerified(214, bytes(32), 1, 0, 214, 0, ())
    done = hermetic("log", "verify", "--anchor", "anchor.txt")
    assert custody.asked[0].anchors == (
        log.Anchor("note", "your pins", False),
        log.Anchor("older", "your pins of an earlier generation", False),
        log.Anchor("checkpoint", "anchor.txt", True),
    )
    assert custody.asked[0].log_keys == ("key",)
    assert done.code == 0
    assert "externally anchored      never" in done.out
    custody.answers[log.VerifyLog] = log.LogVerified(
        214, bytes(32), 1, 0, 214, 1, (Pair("open-intent", "medium|entry 3|no outcome|look"),)
    )
    assert hermetic("log", "verify").code == 7


def test_log_prove_writes_the_proof(hermetic, custody, tmp_path):
    custody.answers[log.ProveEntry] = log.EntryProof(RECEIPT, "log+key", ())
    assert hermetic("log", "prove", "17").out == RECEIPT.proof
    assert hermetic("log", "prove", "17", "-o", "p.txt").code == 0
    assert (tmp_path / "p.txt").read_text() == RECEIPT.proof
    done = hermetic("log", "prove", "17", "-o", "p.txt")
    assert (done.code, done.out) == (1, "")


def test_status_exits_with_7_when_there_are_findings(hermetic, custody):
    custody.answers[domain.GatherFacts] = sample.FULL_FACTS
    done = hermetic("status")
    assert done.code == 7
    for word in (
        "Which keys",
        "Who can decrypt",
        "Where plaintext",
        "What is retained",
        "externally anchored",
        "never",
        "policy-not-applied",
    ):
        assert word in done.out
    assert hermetic("status", "--json").json["safe"] is False


def test_status_says_in_which_environment_what_is(hermetic, custody):
    custody.answers[domain.GatherFacts] = sample.facts(assets=(PATIENTS,))
    assert "environment " not in hermetic("status").out.partition("1  Which keys")[0]
    staged = replace(PATIENTS, environment=Environment.STAGING)
    custody.answers[domain.GatherFacts] = sample.facts(assets=(PATIENTS, staged))
    done = hermetic("status")
    assert "environment      development; there is more in staging (1 asset)\n" in done.out
    assert done.out.count("ENVIRONMENT") == 3
    document = hermetic("status", "--json").json
    assert document["environments"] == {"development": 1, "staging": 1}
    for answer in ("protection", "openness", "retention"):
        assert [row["environment"] for row in document[answer]] == ["development", "staging"]


def test_status_is_not_silent_when_no_root_is_in_reach(hermetic, custody):
    custody.answers[domain.GatherFacts] = KeyServiceUnavailable("the token is not there", hint="plug it in")
    done = hermetic("status")
    assert done.code == 6
    assert "cannot be told: no root of this domain is in reach" in done.out
    assert "the token is not there" in done.out
    assert "hint: plug it in" in done.err
    assert hermetic("status", "--json").json["error"]["exit_code"] == 6


def test_status_says_that_custody_is_out_of_reach_where_it_runs_elsewhere(hermetic, custody, monkeypatch):
    monkeypatch.setenv("HERMETIC_URL", "https://custody.example")
    custody.answers[domain.GatherFacts] = KeyServiceUnavailable("custody is away")
    assert "cannot be told: custody is out of reach" in hermetic("status").out


def test_who_may_not_see_the_whole_domain_is_told_who_they_are_and_where_their_settings_lie(hermetic, custody, tmp_path):
    custody.answers[domain.GatherFacts] = PolicyDenied("refused: no policy permits it", reasons=("no policy permits it",))
    done = hermetic("status")
    assert done.code == 3
    assert f"{custody.welcome.principal} ({', '.join(custody.welcome.roles)})" in done.err
    assert str(tmp_path / "config.yaml") in done.err


def test_status_says_until_when_the_root_is_open_and_who_has_keys_at_all(hermetic, custody):
    custody.answers[domain.GatherFacts] = sample.FULL_FACTS
    out = hermetic("status").out
    assert f", unlocked until {words.moment(sample.NOW)}\n" in out
    assert "only the user who holds the root has keys at all" in out


def test_findings_that_say_the_same_are_shown_once(hermetic, custody):
    assets = tuple(replace(sample.FULL_FACTS.assets[0], name=f"dataset/a{number}") for number in range(5))
    custody.answers[domain.GatherFacts] = replace(sample.FULL_FACTS, assets=assets, unknown_owners=("ana",))
    out = hermetic("status").out
    assert out.count("its owner ana is not known") == 1
    assert "unknown-owner  dataset/a0, dataset/a1, dataset/a2 and 2 more\n" in out


def test_a_lower_class_is_said_to_hold_for_new_versions_only(hermetic, custody):
    custody.answers[catalogue.RecordDecision] = catalogue.Decided(RECEIPT)
    assert (
        "versions that are there stay as they were sealed"
        in hermetic("decide", "dataset/a", "--class", "internal", "--reason", "x").err
    )
    assert hermetic("decide", "dataset/a", "--owner", "ana", "--reason", "x").err == ""


def test_status_of_a_sound_domain_is_0(hermetic, custody, monkeypatch):
    monkeypatch.setattr("hermetic.cli.around.swap_areas", tuple)
    custody.answers[domain.GatherFacts] = sample.facts(policy_digest=custody.project.bundle().digest())
    done = hermetic("status")
    assert (done.code, done.err) == (0, "")


def test_status_scans_where_told(hermetic, custody, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.csv").write_text("a,b\n1,2\n" * 50)
    custody.answers |= {
        domain.GatherFacts: sample.FULL_FACTS,
        versions.RecogniseDigests: lambda request: versions.Recognised(("dataset/patients@3",) * len(request.digests)),
    }
    document = hermetic("status", "--scan", "data", "--json").json
    assert [(item["kind"], item["where"], item["ref"]) for item in document["plaintext"] if item["kind"] == "copy"] == [
        ("copy", "data/a.csv", "dataset/patients@3")
    ]


def test_map_writes_the_picture_and_says_the_same(hermetic, custody, tmp_path):
    custody.answers[domain.GatherFacts] = sample.FULL_FACTS
    done = hermetic("map", "--svg", "map.svg")
    assert done.code == 7
    assert (tmp_path / "map.svg").read_text().startswith("<svg ")
    assert "1  ingestion" in done.out
    assert len(hermetic("map", "--json").json["stages"]) == 7
    assert hermetic("map", "--suggest").out.startswith("pipeline:\n")


def test_backup(hermetic, custody, tmp_path):
    custody.answers |= {
        domain.GatherFacts: sample.facts(),
        backup.TakeBackup: backup.BackupState("/b", sample.NOW, 214, None, has_recovery=True, problem=None),
        keys.ListKeys: keys.KeyList((KEY,)),
    }
    assert hermetic("backup").code == 0
    assert hermetic("backup", "status", "--json").json["backup"]["place"] == "/mnt/backup"
    done = hermetic("backup", "now")
    assert (done.code, f"hint: add a line to {tmp_path / 'config.yaml'}: `backup: {{place: /another/disk}}`" in done.err) == (2, True)
    custody.config.backup_place = tmp_path
    assert hermetic("backup", "now").code == 0
    custody.answers[backup.TakeBackup] = backup.BackupState("/b", None, 0, None, has_recovery=True, problem="disk full")
    done = hermetic("backup", "now")
    assert (done.code, "disk full" in done.err) == (1, True)
    custody.answers[domain.GatherFacts] = sample.facts(backup=())
    assert hermetic("backup").code == 7


def test_scan_needs_no_domain(hermetic, tmp_path):
    assert hermetic("scan").code == 0
    (tmp_path / "a.csv").write_text("name,age\nana,7\n" * 50)
    done = hermetic("scan")
    assert done.code == 7
    assert "a.csv" in done.out
    document = hermetic("scan", ".", "--json").json
    assert document["counts"]["plaintext"] == 1
    assert hermetic("scan", "nowhere").code == 1


def test_inspect_of_something_else_is_refused(hermetic, tmp_path):
    (tmp_path / "x.sealed").write_bytes(b"nothing of ours" * 100)
    assert hermetic("inspect", "x.sealed").code == 4
    assert hermetic("inspect", "missing").code == 1


def test_seal_wants_one_source(hermetic):
    assert hermetic("seal").code == 2
    assert hermetic("seal", "a", "--from-scan", "b").code == 2
    assert hermetic("seal", "--from-scan", "b", "--as", "dataset/x").code == 2


def test_cat_to_a_file_is_refused_before_any_key_is_asked_for(hermetic, custody):
    done = hermetic("cat", "dataset/a")  # the tests' stdout is a regular file
    assert (done.code, done.out, custody.asked) == (2, "", [])
    assert "hint: hermetic expose dataset/a TARGET --for 2h puts it on disk on record" in done.err
    done = hermetic("cat", "dataset/a@1/two words.csv", "--purpose", "prepare")
    assert "hint: hermetic expose 'dataset/a@1/two words.csv' TARGET --for 2h --purpose prepare puts" in done.err


def test_init_needs_a_root_without_a_terminal(hermetic):
    done = hermetic("init")
    assert done.code == 2
    assert "--root local:passphrase" in done.err


def test_version(hermetic):
    assert hermetic("--version").out.startswith("hermetic ")


def test_the_directory_can_be_named(hermetic, tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.csv").write_text("name,age\nana,7\n" * 50)
    assert "a.csv" in hermetic("-C", "sub", "scan").out


def test_root_group_is_lazy():
    assert root.commands == {}


SIGNING = signing.SigningKeyRow("mfrggzdf", "log", "ed25519", bytes(32), "active", sample.NOW, ("local:passphrase",), "ana", "", 365)


@pytest.mark.parametrize(
    ("given", "code"), [({"sent": 2}, 0), ({"sent": 1, "failed": 1, "waiting": 1}, 1), ({"dead": 1}, 1), ({"waiting": 1}, 0), ({}, 0)]
)
def test_notify_fails_if_a_target_did_not_take_something(hermetic, custody, given, code):
    told = []
    custody.notifier = lambda: SimpleNamespace(configured=True, deliver=lambda **how: told.append(how) or Delivered(**given))
    done = hermetic("request", "notify", "--json")
    assert (done.code, done.json["waiting"]) == (code, given.get("waiting", 0))
    assert ("--again" in done.err) == (given == {"waiting": 1})
    hermetic("request", "notify", "--again")
    assert told == [{"again": False}, {"again": True}]


def test_signing_keys(hermetic, custody):
    before = replace(SIGNING, key="nbswy3dp", state="destroyed", roots=(), doubtful_after="1/4")
    changed = signing.SigningKeyChanged(SIGNING, before, RECEIPT)
    custody.answers |= {
        signing.ListSigningKeys: signing.SigningKeyList((before, SIGNING)),
        signing.RotateSigningKey: changed,
        signing.ChangeSigningCare: replace(changed, before=None),
    }
    assert [line.split()[:3] for line in hermetic("key", "signing", "ls").out.splitlines()[1:]] == [
        ["nbswy3dp", "log", "destroyed"],
        ["mfrggzdf", "log", "active"],
    ]
    out = hermetic("key", "signing", "rotate", "log", "--reason", "stolen", "--compromised-after", "4").out
    assert custody.asked[-1] == signing.RotateSigningKey("log", "stolen", 4)
    assert "after entry 1/4" in out
    assert hermetic("key", "signing", "rotate", "everything").code == 2
    assert hermetic("key", "signing", "set", "log", "--rotate-every", "365d", "--owner", "ana", "--json").json["log_index"] == 17
    assert custody.asked[-1] == signing.ChangeSigningCare("log", owner="ana", rotate_after_days=365)
    hermetic("key", "signing", "set", "manifest", "--rotate-every", "never")
    assert custody.asked[-1] == signing.ChangeSigningCare("manifest", rotate_after_days=0)


def test_keys_that_are_nearly_used_up_say_so(hermetic, custody):
    row = replace(KEY, versions=(keys.KeyVersionRow(1, "active", sample.NOW, 2**30, 3, used=50),))
    custody.answers |= {keys.ListKeys: keys.KeyList((row,)), keys.ShowKey: row}
    assert "50 % used" in hermetic("key", "ls").out
    assert f"{2**30} (50 %)" in hermetic("key", "show", "mfrg").out
    custody.answers[keys.ListKeys] = keys.KeyList((KEY,))
    assert "used" not in hermetic("key", "ls").out
