"""What is fuzzed: every parser of bytes and text that somebody else could have written.

A target raises nothing but HermeticError, whatever it is given; what it accepts, it writes back to the same bytes. Each has good
inputs to start from. tests/fuzz/fuzz_parsers.py runs them, coverage-guided; tests/fuzz/test_fuzz.py tries a fixed number of inputs in
`make test`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.fuzz import (
    _targets_broken,
    _targets_home,
    _targets_log,
    _targets_objects,
    _targets_openbao,
    _targets_policy,
    _targets_recovery,
    _targets_scan,
    _targets_signed,
    _targets_tensors,
)

if TYPE_CHECKING:
    from tests.fuzz._target import Target

TARGETS = {
    **_targets_objects.TARGETS,
    **_targets_signed.TARGETS,
    **_targets_log.TARGETS,
    **_targets_policy.TARGETS,
    **_targets_home.TARGETS,
    **_targets_openbao.TARGETS,
    **_targets_recovery.TARGETS,
    **_targets_scan.TARGETS,
    **_targets_tensors.TARGETS,
}


def find(name: str) -> Target:
    """Return a target, or one of those that are broken on purpose."""
    return TARGETS.get(name) or _targets_broken.TARGETS[name]


# Which modules the targets are about: branch coverage of these is reported, and must be at least 95 %.
PARSERS = (
    *_targets_objects.PARSERS,
    *_targets_signed.PARSERS,
    *_targets_log.PARSERS,
    *_targets_policy.PARSERS,
    *_targets_home.PARSERS,
    *_targets_openbao.PARSERS,
    *_targets_tensors.PARSERS,
)
