"""Which settings this process began with, and whether config.yaml says something else now.

A process reads its settings when it connects. What it reads anew whenever it needs it does not count (`ANEW`), nor do comments,
order and spelling: what was read is compared with what would be read now.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from hermetic.domain import config
from hermetic.errors import HermeticError

if TYPE_CHECKING:
    from pathlib import Path

ANEW: Final = frozenset({"providers", "login"})  # of roots (`connect`), and of those who log in elsewhere
UNREADABLE: Final = "unreadable"


@dataclass(frozen=True, slots=True)
class Begun:
    """The settings that a process works with; called, it says what became of them since."""

    folder: Path
    settings: config.UserConfig

    def __call__(self) -> str:
        """Return the names of what config.yaml says otherwise now, "unreadable" where it cannot be read, "" for nothing."""
        try:
            now = config.load(self.folder).to_body()
        except HermeticError:
            return UNREADABLE
        then = self.settings.to_body()
        return ", ".join(name for name in sorted((now.keys() | then.keys()) - ANEW) if now.get(name) != then.get(name))
