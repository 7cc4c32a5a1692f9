"""`hermetic bench` as a command: what it plans, prints and exits with. The measuring itself is in tests/unit/bench."""

from types import SimpleNamespace

import pytest

from hermetic.bench import running
from hermetic.formats.messages.catalogue import ShowVersion
from hermetic.formats.messages.versions import Member
from tests.unit.bench.sample import figure, report

BUDGET = "format: hermetic-bench-budget/1\nbudgets:\n  - {metric: release, max_ratio: %s}\n"


@pytest.fixture
def planned(monkeypatch):
    """What was planned; the run finds fixed figures."""
    plans = []

    def run(plan, *, advance):
        plans.append(plan)
        advance(1)
        return report(figure(), figure("release", sealed=0.002))

    monkeypatch.setattr(running, "run", run)
    monkeypatch.setattr(running, "processors", lambda: 4)
    return plans


def test_defaults(hermetic, planned, monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert hermetic("bench").code == 0
    (plan,) = planned
    assert (plan.threads, plan.rounds, plan.folder, plan.shape.total) == ((1, 2, 4), 7, tmp_path, 256 << 20)
    assert plan.suites == ("FLOE-AES256-GCM-1M-BLAKE3", "FLOE-AES256-GCM-1M-SHA256")
    assert plan.works == ("seal", "expose", "load", "lazy", "epoch", "release")


def test_options(hermetic, planned, tmp_path):
    given = ["--size", "1MiB", "--only", "lazy,load", "--suite", "FLOE-AES256-GCM-64K-SHA256", "--threads", "3", "--rounds", "9"]
    assert hermetic("bench", *given, "--folder", tmp_path).code == 0
    (plan,) = planned
    assert (plan.threads, plan.rounds, plan.works, plan.suites) == ((3,), 9, ("lazy", "load"), ("FLOE-AES256-GCM-64K-SHA256",))


def test_table(hermetic, planned):
    out = hermetic("bench").out
    assert "load     blake3        2  500 ms      4%  128.0 MiB/s  1.00 s   0.50" in out
    assert "release  -             -    2 ms      4%        500/s  1.00 s   0.00" in out


def test_json_has_every_figure(hermetic, planned):
    document = hermetic("bench", "--json").json
    assert [(item["metric"], item["ratio"]) for item in document["figures"]] == [("load/blake3/2", 0.5), ("release", 0.002)]
    assert (document["over_budget"], document["machine"]["file_system"]) == (None, "ext4")


@pytest.mark.parametrize(("most", "code"), [("0.002", 0), ("0.0019", 7)])
def test_budget(hermetic, planned, tmp_path, most, code):
    (tmp_path / "b.yaml").write_text(BUDGET % most)
    outcome = hermetic("bench", "--only", "release", "--budget", "b.yaml", "--json")
    assert outcome.code == code
    assert len(outcome.json["over_budget"]) == (code == 7)


def test_a_budget_for_what_is_not_measured_is_told_before_measuring(hermetic, planned, tmp_path):
    (tmp_path / "b.yaml").write_text(BUDGET % 1)
    outcome = hermetic("bench", "--only", "load", "--budget", "b.yaml")
    assert (outcome.code, planned) == (2, [])
    assert "b.yaml:3: 'release' is not measured in this run" in outcome.err


def test_record_and_plot(hermetic, planned, tmp_path):
    assert hermetic("bench", "--record", "b.yaml", "--plot", "p.svg").code == 0
    assert (tmp_path / "p.svg").read_text().startswith("<svg")
    assert hermetic("bench", "--budget", "b.yaml", "--suite", "blake3", "--threads", "2", "--only", "load,release").code == 0
    again = hermetic("bench", "--record", "b.yaml")
    assert (again.code, len(planned)) == (1, 2)
    assert "b.yaml exists already" in again.err


@pytest.mark.parametrize(
    ("given", "code", "said"),
    [
        (["nothing"], 1, "there is no file 'nothing'"),
        (["empty"], 2, "'empty' is empty"),
        (["empty", "--size", "1MiB"], 2, "a file has the size it has"),
        (["--size", "1GB"], 2, "is not a size"),
        (["--size", "0"], 2, "is not a size"),
        (["--threads", "0"], 2, "is not a list of thread counts"),
        (["--threads", "1,x"], 2, "is not a list of thread counts"),
        (["--suite", "md5"], 2, "'md5' is not a suite"),
        (["--rounds", "3"], 2, "3 is not in the range"),
        (["--budget", "nothing"], 1, "there is no budget file"),
        (["--plot", "nowhere/p.svg"], 2, "there is no folder 'nowhere'"),
        (["--like", "dataset/x"], 1, "no hermetic.yaml"),
    ],
)
def test_what_is_refused(hermetic, planned, tmp_path, given, code, said):
    (tmp_path / "empty").touch()
    outcome = hermetic("bench", *given)
    assert (outcome.code, planned) == (code, [])
    assert said in outcome.err


def test_like_a_version_reads_sizes_from_the_catalogue_and_nothing_else(hermetic, planned, custody):
    members = (Member("b/patients.parquet", 0, 3000), Member("a.csv", 1, 1000))
    custody.answers[ShowVersion] = SimpleNamespace(members=members)
    assert hermetic("bench", "--like", "dataset/patients@2", "--size", "400").code == 0
    (plan,) = planned
    assert (plan.shape.label, plan.shape.sizes, plan.shape.source) == ("like dataset/patients@2", (100, 300), None)
    assert [type(request) for request in custody.asked] == [ShowVersion]
