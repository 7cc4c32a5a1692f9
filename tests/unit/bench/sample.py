"""Figures with numbers that can be checked by hand."""

from hermetic.bench.measuring import Summary
from hermetic.bench.report import Figure, Machine, Report

MIB = 1024 * 1024


def side(median, *, low=None, high=None, memory=10 * MIB, foreign=0.0):
    return Summary(
        count=7,
        least=median * 0.9,
        low=low if low is not None else median * 0.98,
        median=median,
        high=high if high is not None else median * 1.02,
        processor=median,
        foreign=foreign,
        memory=memory,
    )


def figure(work="load", suite="blake3", threads=2, *, sealed=0.5, plain=1.0, **more):
    return Figure(work, suite, threads, 0 if work == "release" else 64 * MIB, side(sealed, **more), side(plain))


def report(*figures, label="synthetic", file_system="ext4"):
    machine = Machine("A processor", 2, 8 << 30, file_system, "Linux 6", "3.11.7", "0.1.0")
    return Report(label, (64 * MIB,), 7, "threads over fsspec", machine, figures or (figure(), figure("release", sealed=0.002)))
