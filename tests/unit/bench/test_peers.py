"""The tables beside rivals, on fixed numbers; the measuring needs environments that tests do not make."""

import json
import sys
from pathlib import Path

import pytest

from tests.unit.bench.sample import side

BENCHMARKS = Path(__file__).resolve().parents[3] / "benchmarks"


@pytest.fixture(autouse=True)
def scripts(monkeypatch):
    """Make the scripts importable as they import each other, and forget them afterwards."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.syspath_prepend(str(BENCHMARKS / "peers"))
    yield
    for name in set(sys.modules) - before:
        if str(BENCHMARKS) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def goals(found):
    import _table

    return [line.partition(": ")[2] for line in _table.goals(found) if line.startswith("  ")]


def test_goals_are_met_missed_or_not_measured():
    found = {
        ("seal", "hermetic, pipeline"): side(0.7),
        ("seal", "cp"): side(1.0),
        ("seal", "copy loop in Python"): side(0.4),
        ("one", "hermetic, API"): side(0.011),
    }
    said = goals(found)
    assert said[:3] == [
        "<= 0.8 x cp: 0.7, met",
        "<= 1.4 x copy loop in Python: 1.75, MISSED",
        "<= 1 x cp, then sync of the copy: not measured",
    ]
    assert "<= 0.01 s: 0.011, MISSED" in said


def test_the_fastest_that_encrypts_is_a_rival_and_not_plain():
    found = {
        ("load", "hermetic, API"): side(0.1),
        ("load", "hermetic, pipeline"): side(0.05),
        ("load", "tensorizer, plain"): side(0.01),
        ("load", "cryptotensors"): side(0.4),
        ("load", "tensorizer, encrypted"): side(0.9),
    }
    assert "<= 0.4 x the fastest that encrypts: 0.25, met" in goals(found)


def test_each_figure_stands_beside_its_baseline_with_its_terms():
    import _table

    found = {("seal", "cp"): side(1.0), ("seal", "age"): side(3.0)}
    rows = {line.split()[0]: line for line in _table.tables(found, ("seal", "open")) if line.startswith("  ") and line.strip()}
    assert rows["cp"].split()[-4:] == ["not", "synced;", "nothing", "verified"]
    assert "3.00   not synced; tag of each 64 KiB, no signature" in rows["age"]
    assert json.loads(json.dumps(_table.to_json(found)))[0]["median"] == 1.0


def test_every_contender_has_an_environment_a_module_and_its_works():
    import ast

    import _contenders
    import _environments

    names = {"load": "load_all"}
    for one in _contenders.CONTENDERS:
        assert one.environment in _environments.ENVIRONMENTS, one
        tree = ast.parse((BENCHMARKS / "peers" / "contenders" / f"{one.module}.py").read_text())
        functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
        assert {names.get(work, work) for work in one.works} <= functions, one
    labels = [one.label for one in _contenders.CONTENDERS]
    assert len(labels) == len(set(labels))
    assert set(_contenders.BASELINES.values()) <= set(labels)
    assert {goal.label for goal in __import__("_table").GOALS} <= set(labels)


def test_the_weights_are_291_tensors_one_of_16_mib(tmp_path):
    import _data

    sizes = _data.sizes(1024 * _data.MIB)
    assert (len(sizes), sizes[0], sum(sizes)) == (291, 16 << 20, 1 << 30)
    _data._write_weights(tmp_path / "w", 32 * _data.MIB)
    numpy = pytest.importorskip("safetensors.numpy")
    tensors = numpy.load_file(tmp_path / "w")
    assert (len(tensors), tensors["layer.000.weight"].nbytes) == (291, 16 << 20)


def test_an_environment_that_cannot_be_made_says_why(monkeypatch, tmp_path):
    import _environments

    monkeypatch.setattr(_environments, "PLACE", tmp_path)
    monkeypatch.setattr(_environments, "ROOT", tmp_path)
    monkeypatch.setitem(_environments.ENVIRONMENTS, "x", _environments.Environment(("./nothing-here",)))
    (tmp_path / "x" / "bin").mkdir(parents=True)
    (tmp_path / "x" / "bin" / "python").symlink_to("/bin/false")
    with pytest.raises(_environments.Missing, match="failed"):
        _environments.ensure("x")
    monkeypatch.setitem(_environments.ENVIRONMENTS, "y", _environments.Environment(programs=("no-such-program",)))
    with pytest.raises(_environments.Missing, match="no no-such-program"):
        _environments.ensure("y")


def test_a_process_that_fails_is_told_by_its_last_line(tmp_path):
    import _fresh

    with pytest.raises(_fresh.Failed, match="broken"):
        _fresh.fresh([sys.executable, "-c", "raise SystemExit('broken')"])


def test_outputs_are_removed_and_what_else_is_said_comes_along(tmp_path):
    import _fresh

    (tmp_path / "out").mkdir()
    (tmp_path / "back").write_bytes(b"x")
    taken = _fresh.fresh(
        [sys.executable, "-c", "print('[1.0, 0.5, 0.0, 7, \"digest\"]')"],
        remove=[tmp_path / "out", tmp_path / "back", tmp_path / "no"],
    )
    assert (taken.sample.seconds, taken.sample.memory, taken.said) == (1.0, 7, ["digest"])
    assert list(tmp_path.iterdir()) == []
