import pytest

from hermetic.bench import budgets
from hermetic.errors import ConfigError, NotFound
from tests.unit.bench.sample import figure, report

HEAD = "format: hermetic-bench-budget/1\nbudgets:\n"


def parse(lines):
    return budgets.parse((HEAD + lines).encode(), "b.yaml")


def over(lines, found=None):
    return budgets.check(parse(lines), found or report(), "b.yaml")


def test_within():
    lines = "  - {metric: load/blake3/2, max_ratio: 0.5, max_seconds: 0.5, max_mib: 10}\n  - {metric: release, max_seconds: 0.002}\n"
    assert over(lines) == ()


@pytest.mark.parametrize(
    ("limit", "said"),
    [
        ("max_ratio: 0.49", "0.5 x plain, over the budget of 0.49 x plain"),
        ("max_seconds: 0.4", "0.5 s, over the budget of 0.4 s"),
        ("max_mib: 9.5", "10 MiB, over the budget of 9.5 MiB"),
    ],
)
def test_over(limit, said):
    (finding,) = over(f"  - {{metric: load/blake3/2, {limit}}}\n")
    assert (finding.code, finding.subject, finding.message) == ("over-budget", "load/blake3/2", said)


def test_a_noisy_figure_over_budget_says_so():
    (finding,) = over("  - {metric: load/blake3/2, max_ratio: 0.4}\n", report(figure(foreign=0.5)))
    assert finding.message.endswith("the measurement was noisy")


def test_a_metric_nobody_measured_is_a_mistake():
    with pytest.raises(ConfigError, match=r"b.yaml:3: 'load/blake3/16' is not measured in this run") as caught:
        over("  - {metric: load/blake3/16, max_ratio: 1}\n")
    assert caught.value.hint == "measured are: load/blake3/2"


def test_a_metric_that_does_not_exist_is_found_before_measuring():
    with pytest.raises(ConfigError, match=r"b.yaml:4: 'lod' is no metric"):
        budgets.check_names(
            parse("  - {metric: release, max_ratio: 1}\n  - {metric: lod, max_ratio: 1}\n"), frozenset({"release"}), "b.yaml"
        )


def test_memory_that_is_not_known_is_no_pass():
    with pytest.raises(ConfigError, match="memory is not known here"):
        over("  - {metric: load/blake3/2, max_mib: 9.5}\n", report(figure(memory=None)))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("budgets: [", "not YAML"),
        ("\xff", "not YAML"),
        ("budgets: []", "no budget file"),
        ("format: hermetic-bench-budget/2\nbudgets: []", "no budget file"),
        (HEAD + "  []", "is empty"),
        (HEAD + "  - load\n", "names a metric and a limit"),
        (HEAD + "  - {metric: release}\n", "is one of max_ratio, max_seconds, max_mib"),
        (HEAD + "  - {metric: release, max_time: 3}\n", "is one of max_ratio, max_seconds, max_mib"),
        (HEAD + "  - {metric: release, max_ratio: yes please}\n", "a number above 0"),
        (HEAD + "  - {metric: release, max_ratio: true}\n", "a number above 0"),
        (HEAD + "  - {metric: release, max_ratio: .nan}\n", "a number above 0"),
        (HEAD + "  - {metric: release, max_ratio: 0}\n", "a number above 0"),
        (HEAD + "  - {metric: release, max_ratio: 1}\nbudget: 3\n", "unknown key 'budget'"),
    ],
)
def test_broken_files(text, said):
    with pytest.raises(ConfigError, match=said):
        budgets.parse(text.encode("latin-1"), "b.yaml")


def test_json_is_yaml():
    limits = budgets.parse(b'{"format": "hermetic-bench-budget/1", "budgets": [{"metric": "release", "max_ratio": 2}]}', "b.json")
    assert [(limit.metric, limit.measure, limit.most) for limit in limits] == [("release", "ratio", 2.0)]


def test_what_is_recorded_holds_for_the_run_it_came_from():
    found = report(figure(), figure("lazy", sealed=0.0123456), figure("release", sealed=0.0098765))
    text = budgets.record(found)
    limits = budgets.parse(text.encode(), "b.yaml")
    assert budgets.check(limits, found, "b.yaml") == ()
    assert {limit.metric for limit in limits} == {"load/blake3/2", "lazy/blake3/2", "release"}
    assert next(limit.most for limit in limits if limit.metric == "load/blake3/2") == 0.625


def test_a_recorded_budget_finds_a_run_half_as_fast():
    limits = budgets.parse(budgets.record(report(figure())).encode(), "b.yaml")
    (finding,) = budgets.check(limits, report(figure(sealed=1.0)), "b.yaml")
    assert finding.subject == "load/blake3/2"


def test_a_missing_file_is_told_with_how_to_make_one(tmp_path):
    with pytest.raises(NotFound, match="no budget file") as caught:
        budgets.read(tmp_path / "b.yaml")
    assert "--record" in caught.value.hint


def test_a_record_of_a_noisy_run_says_so():
    assert "noisy, measure" in budgets.record(report(figure(foreign=0.5)))
    assert "noisy" not in budgets.record(report())
