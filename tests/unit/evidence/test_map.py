"""PipelineMap: what belongs to which stage, how it is known, and what is a finding."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from hermetic.evidence import map as pipeline
from hermetic.evidence import stages, suggest
from hermetic.evidence.chart import Origin
from hermetic.formats.messages.base import Pair
from hermetic.ids import Environment, Purpose, Stage
from hermetic.policy import defaults
from hermetic.policy import document as policy_document
from hermetic.policy.model import Flow, StageRules
from tests.unit.evidence import sample


def view(drawn, stage):
    return next(item for item in drawn.stages if item.stage is stage)


@pytest.mark.parametrize(
    ("name", "latest", "written", "read", "expected"),
    [
        ("dataset/a", 1, (), (), Stage.INGESTION),
        ("dataset/a", 1, (Purpose.INGEST,), (), Stage.INGESTION),
        ("dataset/a", 1, (Purpose.PREPARE,), (), Stage.PREPARATION),
        ("features/a", 1, (), (), Stage.FEATURES),
        ("embeddings/a", 1, (), (), Stage.FEATURES),
        ("checkpoint/a", 1, (), (), Stage.TRAINING),
        ("model/a", 1, (), (), Stage.REGISTRY),
        ("model/a", 0, (), (), Stage.TRAINING),
        ("payload/a", 1, (), (), Stage.INFERENCE),
        ("log/a", 1, (), (), Stage.MONITORING),
        ("feedback/a", 1, (), (), Stage.MONITORING),
        ("config/a", 1, (), (Purpose.SERVE,), Stage.INFERENCE),
        ("secret/a", 1, (), (), Stage.TRAINING),
        ("backup/a", 1, (), (), None),
    ],
)
def test_assets_belong_to_stages(name, latest, written, read, expected):
    assert stages.of_asset(name, latest=latest, written_for=written, read_for=read) is expected


def test_runs_belong_to_stages_by_purpose_and_for_features_by_what_they_wrote():
    assert stages.of_run(sample.run("a", "prepare", (), ("dataset/x@1",))) is Stage.PREPARATION
    assert stages.of_run(sample.run("a", "prepare", (), ("features/x@1",))) is Stage.FEATURES
    assert stages.of_run(sample.run("a", "serve", (), ())) is Stage.INFERENCE


def test_every_purpose_has_a_stage():
    for purpose in Purpose:
        assert stages.of_run(sample.run("a", purpose, (), ())) in Stage


def test_seven_stages_are_always_shown_and_empty_ones_are_gaps():
    drawn = pipeline.draw(sample.facts(), sample.around())
    assert [item.stage for item in drawn.stages] == list(Stage)
    assert all(item.gaps == ("nothing declared, discovered or observed",) for item in drawn.stages)
    assert drawn.findings == ()


def test_without_a_declared_pipeline_there_is_one_finding_for_it():
    drawn = pipeline.draw(sample.facts(assets=sample.ASSETS, runs=sample.RUNS), sample.around())
    assert [finding.code for finding in drawn.findings] == ["pipeline-not-declared"]


def test_observed_but_undeclared_is_a_finding_for_store_compute_and_flow():
    drawn = pipeline.draw(sample.FULL_FACTS, sample.FULL_AROUND)
    found = {(finding.code, finding.subject) for finding in drawn.findings}
    assert ("undeclared-store", "monitoring/sealed") in found
    assert ("undeclared-compute", "training/export") in found
    assert ("undeclared-flow", "ingestion -> features") in found
    assert ("plaintext-store", "data/raw") in found
    assert not any(subject == "training/train-risk" for _, subject in found)


def test_parts_say_how_they_are_known():
    drawn = pipeline.draw(sample.FULL_FACTS, sample.FULL_AROUND)
    training = view(drawn, Stage.TRAINING)
    assert {node.name: node.origins for node in training.compute} == {
        "train-risk": (Origin.DECLARED, Origin.OBSERVED),
        "export": (Origin.OBSERVED,),
    }
    assert {node.name: node.origins for node in view(drawn, Stage.MONITORING).compute}["drift-watch"] == (Origin.DECLARED,)
    assert {node.name: node.origins for node in training.stores}["out"] == (Origin.DISCOVERED,)
    assert all(flow.origins for flow in drawn.flows)


def test_a_plaintext_copy_stands_in_the_stage_of_its_original():
    ingestion = view(pipeline.draw(sample.FULL_FACTS, sample.FULL_AROUND), Stage.INGESTION)
    raw = next(store for store in ingestion.stores if store.name == "data/raw")
    assert {item.name for item in raw.holdings} == {"patients.csv", "extra.parquet"}
    assert not any(item.sealed for item in raw.holdings)


def test_three_questions_are_answered_per_stage():
    drawn = pipeline.draw(sample.FULL_FACTS, sample.FULL_AROUND)
    ingestion, registry = view(drawn, Stage.INGESTION), view(drawn, Stage.REGISTRY)
    assert (ingestion.stored.state, ingestion.stored.text) == ("open", "3 sealed, 2 plain, 1 exposed")
    assert ingestion.moving.state == "partial"
    assert ingestion.processed.text == "1 run, plain swap"
    assert (registry.stored.state, registry.processed.state) == ("protected", "unknown")


def test_assets_of_no_stage_stand_beside():
    assert [item.name for item in pipeline.draw(sample.FULL_FACTS, sample.FULL_AROUND).beside] == ["backup/custody"]


def test_lineage_that_no_run_explains_is_a_flow_outside_any_run():
    facts = sample.facts(
        assets=sample.ASSETS,
        runs=sample.RUNS,
        edges=(Pair("dataset/patients", "dataset/cohort"), Pair("dataset/cohort", "model/risk")),
    )
    flows = pipeline.draw(facts, sample.around()).flows
    assert [(flow.source, flow.target) for flow in flows if flow.over == "outside any run"] == [
        ("asset:dataset/cohort", "asset:model/risk")
    ]


def test_a_declared_flow_that_never_was_is_shown_and_not_a_finding():
    rules = {Stage.INGESTION: StageRules((), (Flow("hospital", "inbox", "mtls"),), ("inbox",))}
    drawn = pipeline.draw(sample.facts(), sample.around(document=sample.document(rules)))
    (flow,) = drawn.flows
    assert (flow.source, flow.source_stage, flow.target_stage, flow.sealed) == ("outside:hospital", None, Stage.INGESTION, None)
    assert drawn.findings == ()


def test_json_is_plain():
    document = pipeline.draw(sample.FULL_FACTS, sample.FULL_AROUND).to_json()
    assert json.loads(json.dumps(document)) == document
    assert len(document["stages"]) == 7


def test_a_suggested_pipeline_section_declares_everything_observed():
    assets = tuple(replace(asset, environment=Environment.DEVELOPMENT) for asset in sample.ASSETS)
    facts = sample.facts(assets=assets, runs=sample.RUNS)
    section = suggest.pipeline_section(pipeline.draw(facts, sample.around()))
    shipped = defaults.document_text(sample.DOMAIN, "cardio")
    rules = policy_document.parse(f"{shipped}\n{section}").pipeline
    again = pipeline.draw(facts, sample.around(document=sample.document(dict(rules))))
    assert again.findings == ()
