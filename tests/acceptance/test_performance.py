"""Capability PF1: what sealing costs, measured on the user's own machine."""

from __future__ import annotations

import json

from tests.acceptance.conftest import ROWS


def bench(pipeline, *more):
    return pipeline.hermetic("bench", "--suite", "blake3", "--threads", "1", "--folder", pipeline.root, *more)


def test_PF1_sealed_beside_plain_in_the_shape_of_an_asset(pipeline):
    before = pipeline.hermetic("show", "dataset/patients", "--json").json["releases"]
    done = bench(pipeline, "--like", "dataset/patients", "--only", "load,release", "--json")
    assert done.code == 0, done.err
    figures = {figure["metric"]: figure for figure in done.json["figures"]}
    assert set(figures) == {"load/blake3/1", "release"}
    assert all(
        figure[side]["rounds"] == 7 and figure[side]["seconds"] > 0 for figure in figures.values() for side in ("sealed", "plain")
    )
    assert done.json["sizes"] == [len(ROWS)]
    assert pipeline.hermetic("show", "dataset/patients", "--json").json["releases"] == before


def test_PF1_a_run_slower_than_its_budget_is_a_finding(pipeline):
    budget = pipeline.root / "budget.json"
    limit = {"metric": "release", "max_seconds": 1e-7}  # nothing is that fast
    budget.write_text(json.dumps({"format": "hermetic-bench-budget/1", "budgets": [limit]}))
    done = bench(pipeline, "--size", "65536", "--only", "release", "--budget", budget, "--json")
    assert (done.code, [finding["subject"] for finding in done.json["over_budget"]]) == (7, ["release"])
