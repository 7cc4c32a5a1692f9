"""A throw-away domain for each suite: root in a plain file, all in the benchmark's folder. The user's domain is not asked."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hermetic.domain.connect import connect
from hermetic.domain.create import create_domain
from hermetic.domain.home import PROJECT_FILE, Home
from hermetic.errors import UsageError
from hermetic.formats.messages.policy import ApplyPolicy
from hermetic.formats.suites import APPROVED_SUITE, DEFAULT_SUITE, SUITES

if TYPE_CHECKING:
    from pathlib import Path

SHORT = {"blake3": DEFAULT_SUITE.name, "sha256": APPROVED_SUITE.name}
DATA_CLASS = "internal"
_CLASS_LINE = f"\n  {DATA_CLASS}:\n"


@dataclass(frozen=True, slots=True)
class Throwaway:
    """Where a throw-away domain lies, and the name of its suite."""

    home: Path
    project: Path
    suite: str

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to find it: this process's environment without any setting of the user's own domain."""
        others = {name: value for name, value in os.environ.items() if not name.startswith("HERMETIC_")}
        return others | {"HERMETIC_HOME": str(self.home)}


def suite_name(word: str) -> str:
    """Return the suite that a word of the command line stands for. Raises UsageError."""
    name = SHORT.get(word, word)
    if name not in SUITES:
        raise UsageError(f"{word!r} is not a suite", hint=f"write one of: {', '.join([*SHORT, *SUITES])}")
    return name


def short_name(name: str) -> str:
    """Return the word for a suite in metrics."""
    return next((word for word, full in SHORT.items() if full == name), name)


def create(folder: Path, suite: str) -> Throwaway:
    """Make a domain in the new folder `folder` whose class `internal` is sealed under `suite`. Raises what `create_domain` raises."""
    made = Throwaway(folder / "home", folder / "project", suite)
    made.project.mkdir(parents=True, mode=0o700)
    home = Home(made.home / "data", made.home / "config")
    create_domain(made.project, provider_uri="local:insecure-file", project_name="bench", home=home)
    path = made.project / PROJECT_FILE
    text = path.read_text("utf-8")
    path.write_text(text.replace(_CLASS_LINE, f"{_CLASS_LINE}    suite: {suite}\n", 1), "utf-8")
    with connect(made.project, home=home) as connection:
        connection.ask(ApplyPolicy(connection.project.bundle().to_bytes()))
    return made
