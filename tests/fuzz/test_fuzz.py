"""Every parser against inputs that a seed made: none raises anything but HermeticError, what is accepted is written back the same.

`make fuzz` does this for longer, guided by coverage.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

from hermetic.audit import note
from hermetic.formats.fields import Fields
from tests.fuzz import _coverage, _session, fuzz_parsers
from tests.fuzz._seeded import Defect, fuzz
from tests.fuzz._targets import TARGETS
from tests.fuzz._targets_broken import TARGETS as BROKEN


@pytest.mark.parametrize("name", TARGETS)
def test_no_foreign_exception(name, record_property):
    tried = fuzz(name, TARGETS[name])
    record_property("fuzzed inputs", tried.inputs)


def test_what_it_begins_with_is_the_same_in_every_process():
    """Nothing in it is random, dated, or in the order of a hash."""
    code = "import zlib\nfrom tests.fuzz._targets import TARGETS\n"
    code += "for name, target in TARGETS.items(): print(name, zlib.crc32(repr(target.start()).encode()))"
    runs = [
        subprocess.run(
            [sys.executable, "-c", code], cwd=_session.ROOT, env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        )
        for seed in ("1", "2")
    ]
    assert runs[0].stdout.splitlines() == runs[1].stdout.splitlines()
    assert len(runs[0].stdout.splitlines()) == len(TARGETS)


@pytest.mark.parametrize(("name", "cause"), [("broken-foreign", KeyError), ("broken-free", AssertionError)])
def test_a_defect_is_found(name, cause):
    with pytest.raises(Defect, match=name) as found:
        fuzz(name, BROKEN[name])
    assert isinstance(found.value.__cause__, cause)


def test_a_defect_in_the_product_is_found(monkeypatch):
    monkeypatch.setattr(note, "decode_size", lambda text, _what="": int(text))
    monkeypatch.setattr(Fields, "text", lambda self, name, *, limit: self._members[name][:limit])
    for name, cause in (("checkpoint", ValueError), ("domain-json", TypeError), ("object-header", TypeError)):
        with pytest.raises(Defect, match=name) as found:
            fuzz(name, TARGETS[name])
        assert isinstance(found.value.__cause__, cause)


def test_the_same_inputs_every_time():
    first, second = [], []
    for seen in (first, second):
        target = TARGETS["object-trailer"]
        fuzz("x", type(target)(seen.append, 500, target.seeds, words=target.words))
    assert first == second
    assert len(set(first)) > 400


def test_a_coverage_guided_session(tmp_path):
    pytest.importorskip("atheris")
    good = _session.run("object-trailer", seconds=60, runs=2_000, seed=1, folder=tmp_path)
    assert (good.failure, good.executions >= 2_000) == ("", True)
    broken = _session.run("broken-foreign", seconds=60, runs=20_000, seed=1, folder=tmp_path)
    assert "KeyError" in broken.failure
    assert list((tmp_path / "broken-foreign").glob("crash-*"))
    assert "FAILED" in "".join(_session.table([good, broken]))


@pytest.mark.parametrize(("failure", "low", "code"), [("", [], 0), ("Traceback", [], 1), ("", ["ids"], 1)])
def test_a_crash_or_a_parser_that_is_hardly_covered_fails_the_command(monkeypatch, capsys, failure, low, code):
    pytest.importorskip("atheris")
    asked = []
    monkeypatch.setattr(_session, "run", lambda name, **options: asked.append(options) or _session.Result(name, 5, 3, 80, failure))
    monkeypatch.setattr(_coverage, "report", lambda: low)
    assert fuzz_parsers.main(["--only=pins,names", "-max_total_time=20", "-jobs=1"]) == code
    assert asked == [{"seconds": 10, "seed": 1}] * 2
    assert ("FAILED" in capsys.readouterr().out) is bool(failure)
