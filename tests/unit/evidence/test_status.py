"""StatusReport: the four questions from facts, and each finding from what causes it, alone."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from hermetic.cli.status import _releases
from hermetic.evidence import status
from hermetic.evidence.surroundings import Anchoring, PlainFile, SwapArea
from hermetic.formats.messages.base import Pair
from hermetic.formats.messages.domain import OpenerFact, RootFact, UseFact
from hermetic.formats.messages.keys import KeyVersionRow
from hermetic.formats.release import RELEASE
from hermetic.ids import DataClass, Environment, Purpose
from hermetic.policy._yaml import Place
from hermetic.policy.model import PolicyException
from tests.unit.evidence import sample

PATIENTS = sample.asset("dataset/patients", "restricted")
KEY = sample.key("restricted", ("dataset/patients",))
SOUND = sample.facts(assets=(PATIENTS,), keys=(KEY,))


def codes(facts=SOUND, around=None) -> list[str]:
    report = status.report(facts, sample.welcome(), around or sample.around())
    return [finding.code for finding in report.findings]


def test_a_sound_domain_has_no_findings():
    report = status.report(SOUND, sample.welcome(), sample.around())
    assert report.findings == ()
    assert report.to_json()["safe"] is True


def test_an_empty_domain_has_no_findings():
    assert codes(sample.facts()) == []


@pytest.mark.parametrize(("said", "told"), [("9.1.0", "9.1.0"), ("", "unknown"), ("1\x1b[2J", "unknown"), ("1" * 40, "unknown")])
def test_whose_release_is_which(said, told):
    report = status.report(replace(SOUND, enforcement="service"), replace(sample.welcome(), release=said), sample.around())
    assert (report.release, report.custody_release) == (RELEASE, told)
    assert _releases(report) == [("release", f"{RELEASE} here, {told} in custody")]
    assert _releases(status.report(SOUND, sample.welcome(), sample.around())) == []  # one process has one release


def test_question_1_names_key_state_and_roots_of_each_asset():
    report = status.report(SOUND, sample.welcome(), sample.around())
    (row,) = report.protection
    assert (row.name, row.kek, row.kek_number, row.kek_state, row.roots) == (
        "dataset/patients", KEY.kek, 1, "active", ("local:keyring",),
    )  # fmt: skip
    assert row.rotation_due_ms == KEY.created_ms + 90 * sample.DAY


def test_an_asset_under_two_keys_has_two_rows():
    other = replace(KEY, data_class=DataClass.INTERNAL, kek="other")
    report = status.report(replace(SOUND, keys=(KEY, other)), sample.welcome(), sample.around())
    assert [row.kek for row in report.protection] == [KEY.kek, "other"]


def test_question_2_names_openers_policies_and_counts():
    facts = replace(
        SOUND,
        openers=(OpenerFact("dataset/patients", "ana", (Purpose.TRAIN,), ("owner-opens",)),),
        uses=(UseFact("ana", "dataset/patients", Purpose.TRAIN, 3, 50), UseFact("ben", "dataset/patients", Purpose.TRAIN, 2, 70)),
        denials=4,
    )
    report = status.report(facts, sample.welcome(), sample.around())
    (row,) = report.openness
    assert [(opener.principal, opener.policies) for opener in row.openers] == [("ana", ("owner-opens",))]
    assert (row.releases, row.last_release_ms) == (5, 70)
    assert (report.recording.releases, report.recording.denials, report.recording.size) == (5, 4, 214)


def test_the_log_is_never_externally_anchored_unless_something_external_vouches():
    alone = replace(SOUND, backup=sample.GOOD_BACKUP[:-1])
    assert status.report(alone, sample.welcome(), sample.around()).recording.externally_anchored == "never"
    anchored = replace(SOUND, backup=(*sample.GOOD_BACKUP, Pair("anchor_size", "200"), Pair("anchor_problem", "")))
    report = status.report(anchored, sample.welcome(), sample.around())
    assert report.recording.externally_anchored.startswith("given to the anchor command up to entry 200")


def test_question_3_lists_open_exposures_copies_and_swap():
    facts = replace(
        SOUND, exposures=(sample.exposure("dataset/patients@3", "/p"), sample.exposure("dataset/patients@3", "/q", ended_ms=1))
    )
    around = sample.around(
        plain_files=(PlainFile("raw.csv", "csv", 9), PlainFile("copy.csv", "csv", 9, "dataset/patients@3")),
        scanned=("data",),
        swap=(SwapArea("/dev/zram0", "memory"), SwapArea("/swapfile", "unknown")),
    )
    report = status.report(facts, sample.welcome(), around)
    assert [(item.kind, item.where) for item in report.plaintext] == [
        ("exposure", "/p"),
        ("file", "raw.csv"),
        ("copy", "copy.csv"),
        ("swap", "/swapfile"),
    ]
    assert report.scanned == ("data",)


def test_that_nobody_looked_for_copies_is_said():
    assert status.report(SOUND, sample.welcome(), sample.around()).scanned is None


def test_question_4_names_retention_and_when_it_ends():
    report = status.report(SOUND, sample.welcome(), sample.around())
    (row,) = report.retention
    assert (row.retention_days, row.due_ms, row.overdue) == (730, PATIENTS.updated_ms + 730 * sample.DAY, False)


PRODUCTION = replace(PATIENTS, environment=Environment.PRODUCTION)
OLD = (KeyVersionRow(1, "active", sample.NOW - 91 * sample.DAY, 1, 1),)
LEFT = (KeyVersionRow(1, "deactivated", 0, 1, 3), KeyVersionRow(2, "active", sample.NOW, 1, 1))
CASES = {
    "insecure-root": replace(SOUND, roots=(RootFact("r", "local:insecure-file", "unlocked", ()),)),
    "root-unfinished": replace(SOUND, roots=(RootFact("r", "local:keyring", "pre-active", ()),)),
    "root-suspended": replace(SOUND, roots=(RootFact("r", "local:keyring", "suspended", ()),)),
    "root-retiring": replace(SOUND, roots=(RootFact("r", "local:keyring", "deactivated", ()),)),
    "root-not-wiped": replace(SOUND, roots=(RootFact("r", "local:insecure-file", "destroyed", ()),)),
    "root-compromised-kept": replace(SOUND, roots=(RootFact("r", "local:keyring", "compromised", ()),)),
    "root-compromised": replace(SOUND, roots=(RootFact("r", "local:keyring", "destroyed", ("root-compromised|high|all|do",)),)),
    "root-remark": replace(SOUND, roots=(RootFact("r", "local:keyring", "unlocked", ("the keyring is not locked",)),)),
    "root-not-rotated": replace(SOUND, roots=(RootFact("r", "awskms:x", "active", ("root-not-rotated|low|it does not|make it",)),)),
    "production-cooperative": replace(
        SOUND, assets=(PRODUCTION,), keys=(replace(KEY, environment=Environment.PRODUCTION, contact="sam"),)
    ),
    "asset-without-owner": replace(SOUND, assets=(replace(PATIENTS, owner=""),)),
    "unknown-owner": replace(SOUND, unknown_owners=("ana",)),
    "asset-without-key": replace(SOUND, keys=()),
    "key-suspended": replace(SOUND, keys=(replace(KEY, state="suspended"),)),
    "key-compromised": replace(SOUND, assets=tuple(replace(item, kek_state="compromised") for item in SOUND.assets)),
    "rotation-overdue": replace(SOUND, keys=(replace(KEY, versions=OLD),)),
    "key-without-owner": replace(SOUND, keys=(replace(KEY, owner=""),)),
    "key-without-contact": replace(SOUND, keys=(KEY, replace(KEY, environment=Environment.PRODUCTION, contact=""))),
    "key-nearly-used-up": replace(SOUND, keys=(replace(KEY, versions=(KeyVersionRow(1, "active", sample.NOW, 2**30, 1, used=50),)),)),
    "log-nearly-full": replace(SOUND, log_size=2**30),
    "approver-enrolled-alone": replace(SOUND, critical=(Pair("approver-enrolled-alone", "bob"),)),
    "few-approvers": replace(SOUND, critical=(Pair("few-approvers", "2|2"),)),
    "destroyed-without-approval": replace(SOUND, critical=(Pair("destroyed-without-approval", "domain|3"),)),
    "destruction-held-up": replace(SOUND, critical=(Pair("destruction-held-up", "kek/1|2 data keys hang on it"),)),
    "shred-incomplete": replace(SOUND, critical=(Pair("shred-incomplete", "dataset/patients@1"),)),
    "copies-hold-destroyed": replace(SOUND, critical=(Pair("copies-hold-destroyed", "/mnt/backup"),)),
    "destruction-not-announced": replace(SOUND, critical=(Pair("destruction-not-announced", "abcd/1"),)),
    "destruction-incomplete": replace(SOUND, critical=(Pair("destruction-incomplete", "abcd/1"),)),
    "duties-together": replace(SOUND, critical=(Pair("duties-together", "ana|restricted"), Pair("of-a-newer-release", "x"))),
    "settings-outdated": replace(SOUND, critical=(Pair("settings-outdated", "config.yaml|backup, notify"),)),
    "rewrap-unfinished": replace(SOUND, keys=(replace(KEY, versions=LEFT),)),
    "exposure-overdue": replace(SOUND, exposures=(sample.exposure("dataset/patients@3", "/p", until_ms=sample.NOW - 1),)),
    "retention-over": replace(SOUND, assets=(replace(PATIENTS, retention_days=0, updated_ms=sample.NOW - sample.DAY),)),
    "policy-not-applied": replace(SOUND, policy_digest=b"\1" * 32),
    "open-intents": replace(SOUND, open_intents=2),
    "backup-missing": replace(SOUND, backup=sample.GOOD_BACKUP[-1:]),
    "log-never-anchored": replace(SOUND, backup=sample.GOOD_BACKUP[:-1]),
    "anchor-failing": replace(SOUND, backup=(*sample.GOOD_BACKUP, Pair("anchor_problem", "ended with 1"))),
    "backup-not-checked": replace(SOUND, backup=tuple(pair for pair in sample.GOOD_BACKUP if pair.name != "checked_ms")),
    "backup-without-recovery": replace(SOUND, backup=tuple(pair for pair in sample.GOOD_BACKUP if pair.name != "has_recovery")),
    "backup-failing": replace(SOUND, backup=(*sample.GOOD_BACKUP, Pair("problem", "disk full"))),
}


@pytest.mark.parametrize("code", CASES)
def test_each_weakness_is_one_finding_with_a_remedy(code):
    report = status.report(CASES[code], sample.welcome(), sample.around())
    assert [finding.code for finding in report.findings] == [code]
    assert all(finding.remedy and finding.subject and finding.message for finding in report.findings)


def test_once_is_no_number_of_times():
    facts = replace(SOUND, critical=(Pair("destroyed-without-approval", "domain|1"),))
    (finding,) = status.report(facts, sample.welcome(), sample.around()).findings
    assert finding.message.startswith("once something was shredded")


def test_an_asset_that_is_not_in_its_store_is_a_finding():
    assert codes(around=sample.around(missing=("dataset/patients",))) == ["version-missing"]
    assert codes(around=sample.around(others=("dataset/patients",))) == ["version-in-another-clone"]


@pytest.mark.parametrize(("state", "enough"), [("active", True), ("pre-active", False), ("suspended", False), ("deactivated", False)])
@pytest.mark.parametrize("holder", ["shares", "escrow"])
def test_recovery_roots_count_as_recovery_while_they_are_active(state, enough, holder):
    without = CASES["backup-without-recovery"]
    held = RootFact("r2", f"recovery:{holder}/x", state, ())
    found = [code for code in codes(replace(without, roots=(*without.roots, held))) if not code.startswith("root-")]
    assert found == ([] if enough else ["backup-without-recovery"])


@pytest.mark.parametrize(
    ("holder", "passphrase", "said"),
    [
        ("shares", False, "hermetic key recover --check"),
        ("shares", True, "hermetic key recover --check, or hermetic restore --check"),
        ("escrow", False, "hermetic key recover --check --escrow-key FILE, by whoever holds it"),
        (None, True, "hermetic restore --check"),
        (None, False, "make shares or set a recovery passphrase, and try them"),
    ],
)
def test_a_backup_that_was_never_tried_is_tried_with_what_opens_it(holder, passphrase, said):
    backup = tuple(pair for pair in sample.GOOD_BACKUP if pair.name != "checked_ms" and (passphrase or pair.name != "has_recovery"))
    held = () if holder is None else (RootFact("r2", f"recovery:{holder}/x", "active", ()),)
    report = status.report(replace(SOUND, backup=backup, roots=(*SOUND.roots, *held)), sample.welcome(), sample.around())
    assert next(finding.remedy for finding in report.findings if finding.code == "backup-not-checked") == said


def test_a_suspended_key_counts_its_assets_in_words():
    for assets, said in (((), "0 assets"), (("dataset/a",), "1 asset"), (("dataset/a", "dataset/b"), "2 assets")):
        report = status.report(
            replace(SOUND, keys=(replace(KEY, state="suspended", assets=assets),)), sample.welcome(), sample.around()
        )
        message = next(finding.message for finding in report.findings if finding.code == "key-suspended")
        assert message.endswith(f" is suspended: {said} cannot be opened")


def test_a_stale_backup_is_a_finding_only_if_it_lacks_something():
    old = (Pair("place", "/b"), Pair("last_ms", str(sample.NOW - 2 * sample.DAY)), Pair("log_size", "200"), *sample.GOOD_BACKUP[3:])
    assert codes(replace(SOUND, backup=old)) == ["backup-stale"]
    assert codes(replace(SOUND, backup=old, log_size=200)) == []


@pytest.mark.parametrize("data_class", DataClass)
def test_a_plaintext_copy_is_as_severe_as_scan_says(data_class):
    around = sample.around(plain_files=(PlainFile("copy.csv", "csv", 9, "dataset/patients@3"), PlainFile("x.csv", "csv", 9)))
    assets = tuple(replace(asset, data_class=data_class) for asset in SOUND.assets)
    report = status.report(replace(SOUND, assets=assets), sample.welcome(), around)
    assert [(finding.code, finding.severity) for finding in report.findings] == [
        ("plaintext-copy", "high"),
        ("plaintext-file", "high"),
    ]


def test_remedies_can_be_typed_as_they_stand():
    facts = replace(SOUND, exposures=(sample.exposure("dataset/patients@3", "/a b", until_ms=sample.NOW - 1),))
    around = sample.around(plain_files=(PlainFile("my data/x.csv", "csv", 9),))
    remedies = {finding.code: finding.remedy for finding in status.report(facts, sample.welcome(), around).findings}
    assert remedies["exposure-overdue"] == "hermetic expose --end '/a b'"
    assert remedies["plaintext-file"].startswith("hermetic seal 'my data/x.csv' --as ")


def test_swap_matters_only_where_it_is_plain():
    for kind, expected in (("plain", ["swap-not-encrypted"]), ("encrypted", []), ("memory", []), ("unknown", [])):
        assert codes(SOUND, sample.around(swap=(SwapArea("/dev/sda2", kind),))) == expected


def test_first_use_is_a_finding():
    assert codes(SOUND, sample.around(anchoring=Anchoring(first_use=True))) == ["trusted-on-first-use"]


def test_the_most_severe_finding_comes_first():
    revoked = tuple(replace(item, kek_state="compromised") for item in SOUND.assets)
    facts = replace(SOUND, unknown_owners=("ana",), assets=revoked, open_intents=1)
    assert codes(facts) == ["key-compromised", "open-intents", "unknown-owner"]


def test_json_is_plain_and_complete():
    document = status.report(sample.FULL_FACTS, sample.welcome(), sample.FULL_AROUND).to_json()
    assert json.loads(json.dumps(document)) == document
    assert document["policy_digest"] == "00" * 32
    assert document["safe"] is False


def excepted(expires=sample.NOW + sample.DAY, **given):
    entry = PolicyException(Place(1, 1), "x1", "unknown-owner", "dataset/*", "left the company", "sam", expires)
    return sample.around(document=replace(sample.document(), exceptions=(entry,)), **given)


def test_an_exception_in_force_accepts_a_finding_on_record():
    report = status.report(replace(SOUND, unknown_owners=("ana",)), sample.welcome(), excepted())
    assert report.findings == ()
    (item,) = report.accepted
    assert (item.finding.code, item.exception, item.approver) == ("unknown-owner", "x1", "sam")


def test_an_expired_exception_is_a_finding_and_covers_nothing():
    facts = replace(SOUND, unknown_owners=("ana",))
    assert codes(facts, excepted(expires=sample.NOW)) == ["exception-expired", "unknown-owner"]


def test_remedies_that_work_where_custody_runs_are_for_whoever_runs_it():
    facts = replace(SOUND, roots=(RootFact("r1", "local:insecure-file", "active", ()),), backup=())
    here = {finding.code: finding.remedy for finding in status.report(facts, sample.welcome(), sample.around()).findings}
    there = {finding.code: finding.remedy for finding in status.report(facts, sample.welcome(), sample.around(apart=True)).findings}
    assert here.keys() == there.keys() >= {"insecure-root", "backup-missing", "log-never-anchored"}
    for code in ("insecure-root", "backup-missing", "log-never-anchored"):
        assert there[code].startswith("tell whoever runs custody; there: ")
        assert "your own" not in there[code]
    suspended = replace(SOUND, keys=(replace(KEY, state="suspended"),))
    (finding,) = status.report(suspended, sample.welcome(), sample.around(apart=True)).findings
    assert finding.remedy.startswith("hermetic key resume"), "custody does that for whoever may"


def test_an_asset_of_the_same_name_elsewhere_is_another():
    patients = SOUND.assets[0]
    staged = replace(patients, environment=Environment.STAGING, asset=patients.asset[::-1])
    facts = replace(
        SOUND,
        assets=(patients, staged),
        keys=(KEY, replace(KEY, environment=Environment.STAGING, kek="other")),
        openers=(OpenerFact("dataset/patients", "ana", (Purpose.TRAIN,), ("owner-opens",), Environment.STAGING),),
        uses=(UseFact("ana", "dataset/patients", Purpose.TRAIN, 3, 50, Environment.STAGING),),
    )
    report = status.report(facts, sample.welcome(), sample.around())
    assert [(row.environment, row.kek) for row in report.protection] == [("development", KEY.kek), ("staging", "other")]
    assert [(row.environment, len(row.openers), row.releases) for row in report.openness] == [("development", 0, 0), ("staging", 1, 3)]
    assert [row.environment for row in report.retention] == ["development", "staging"]
    assert (report.environment, report.environments) == ("development", {"development": 1, "staging": 1})
    works = status.report(facts, sample.welcome(), sample.around(environment=Environment.STAGING))
    assert works.environment == "staging"


def test_a_home_whose_place_was_taken_over_is_told_to_retire():
    said = {pair.name: pair.value for pair in sample.GOOD_BACKUP} | {"problem": "a later state", "taken_over": "true"}
    facts = replace(SOUND, backup=tuple(Pair(name, value) for name, value in said.items()))
    (finding,) = status.report(facts, sample.welcome(), sample.around()).findings
    assert finding.code == "backup-failing"
    assert "retire it" in finding.remedy
    assert "backup now" not in finding.remedy


@pytest.mark.parametrize(
    ("lacks", "told"),
    [
        ({"problem": "the disk is full"}, "nothing newer than the one of 1 hour ago"),
        ({"last_ms": ""}, "no copy"),
        ({"place": ""}, "no copy"),
    ],
)
def test_shares_and_escrow_are_worth_nothing_without_a_copy(lacks, told):
    said = {pair.name: pair.value for pair in sample.GOOD_BACKUP} | lacks
    roots = (*SOUND.roots, RootFact("r2", "recovery:escrow/legal", "active", ()))
    facts = replace(SOUND, roots=roots, backup=tuple(Pair(name, value) for name, value in said.items()))
    found = {finding.code: finding for finding in status.report(facts, sample.welcome(), sample.around()).findings}
    assert found["recovery-without-copy"].subject == "recovery:escrow/legal"
    assert told in found["recovery-without-copy"].message
    assert "recovery-without-copy" not in codes(replace(facts, backup=sample.GOOD_BACKUP))
