import json
import subprocess
import sys
from pathlib import Path

import pytest

from hermetic.bench import measuring
from hermetic.bench.measuring import Sample, Work, in_turns, measure, summary, undisturbed

SOURCE = Path(measuring.__file__).resolve().parents[2]


def samples(*seconds, foreign=0.0, memory=None):
    return [Sample(value, value / 2, foreign, memory) for value in seconds]


def test_summary_is_median_and_quartiles():
    found = summary(samples(7.0, 1.0, 5.0, 3.0, 2.0, 4.0, 6.0))
    assert (found.count, found.least, found.low, found.median, found.high) == (7, 1.0, 2.5, 4.0, 5.5)
    assert found.spread == pytest.approx(0.75)
    assert found.processor == 2.0
    assert found.memory is None


def test_summary_takes_the_highest_peak():
    assert summary([Sample(1, 1, 0, 5), Sample(1, 1, 0, 9), Sample(1, 1, 0, None)]).memory == 9


def test_per_divides_times_and_leaves_memory():
    one = summary(samples(2.0, 4.0, 6.0, memory=8)).per(2)
    assert (one.least, one.median, one.memory, one.count) == (1.0, 2.0, 8, 3)


def test_works_take_turns_and_the_first_round_does_not_count():
    done = []
    works = {
        name: Work(lambda name=name: done.append(name), lambda: done.append("before"), lambda: done.append("after")) for name in "ab"
    }
    found = in_turns(works, 2)
    assert done == ["before", "a", "after", "before", "b", "after"] * 3
    assert {name: len(taken) for name, taken in found.items()} == {"a": 2, "b": 2}


def test_what_was_begun_is_cleaned_up_after_an_error():
    done = []

    def fail():
        raise OSError("full")

    with pytest.raises(OSError, match="full"):
        in_turns({"a": Work(fail, after=lambda: done.append("after"))}, 1)
    assert done == ["after"]


def test_a_disturbed_round_is_repeated_and_the_quietest_counts():
    given = iter([Sample(1, 1, 0.9, 0), Sample(2, 1, 0.5, 0), Sample(3, 1, 0.7, 0)])
    assert undisturbed(lambda: next(given)).seconds == 2
    assert next(given, None) is None


def test_a_quiet_round_is_taken_as_it_is():
    given = iter([Sample(1, 1, 0.0, 0), Sample(2, 1, 0.0, 0)])
    assert undisturbed(lambda: next(given)).seconds == 1


def test_memory_is_the_rise_at_the_peak():
    size = 64 << 20
    taken = [measure(lambda: bytearray(b"x") * size).memory for _ in range(3)]
    if None in taken:
        pytest.skip("this kernel does not let a process forget its peak")
    assert size * 0.9 < max(taken) < size * 1.5  # a kernel that takes back memory meanwhile makes the rise look smaller


def test_it_needs_the_standard_library_only():
    code = "import json, sys; import hermetic.bench.measuring; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, {str(SOURCE)!r}); {code}"],
        capture_output=True,
        text=True,
        check=True,
    )
    foreign = {name.split(".")[0] for name in json.loads(done.stdout)} - set(sys.stdlib_module_names) - {"__main__"}
    assert foreign == {"hermetic"}
