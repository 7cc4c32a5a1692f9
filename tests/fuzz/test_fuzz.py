"""Every parser against inputs that a seed made: none raises anything but HermeticError, what is accepted is written back the same.

`make fuzz` does this for longer, guided by coverage.
"""

from __future__ import annotations

import pytest

from tests.fuzz import _session
from tests.fuzz._seeded import Defect, fuzz
from tests.fuzz._targets import TARGETS
from tests.fuzz._targets_broken import TARGETS as BROKEN


@pytest.mark.parametrize("name", TARGETS)
def test_no_foreign_exception(name, record_property):
    tried = fuzz(name, TARGETS[name])
    record_property("fuzzed inputs", tried.inputs)


@pytest.mark.parametrize(("name", "cause"), [("broken-foreign", KeyError), ("broken-free", AssertionError)])
def test_a_defect_is_found(name, cause):
    with pytest.raises(Defect, match=name) as found:
        fuzz(name, BROKEN[name])
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
