"""Capability TE3: metrics about custody, in a form that Prometheus takes, with nothing protected in them."""

from __future__ import annotations

from prometheus_client.openmetrics.parser import text_string_to_metric_families


def test_TE3_figures_of_custody_without_names(pipeline):
    found = pipeline.hermetic("status", "--metrics")
    assert found.code == 0, found.err
    values = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(found.out)
        for sample in family.samples
    }
    assert values["hermetic_custody_up",] == 1
    assert values["hermetic_log_entries",] == values["hermetic_log_unanchored_entries",] > 0
    assert values["hermetic_key_versions", "active"] >= 1
    assert [name for name in values if name[0] == "hermetic_findings"]
    names = [row["name"] for row in pipeline.hermetic("ls", "--json").json["assets"]]
    assert names
    for word in (*names, *(name.partition("/")[2] for name in names), "MARKER-", "ana"):
        assert word not in found.out, word
