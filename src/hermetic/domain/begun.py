"""Which settings this process began with, and whether config.yaml says something else now.

A process reads its settings when it connects. What it reads anew whenever it needs it does not count (`ANEW`), nor do comments,
order and spelling: what was read is compared with what would be read now.

    .serving.RANDOM     beside config.yaml, locked as long as a service runs: digests of the settings that it began with

By that custody's own user learns it too, who asks custody in another process than the service. A file that nobody locks is of a
service that was killed; the next one to start removes it.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import secrets
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from hermetic.domain import config
from hermetic.errors import HermeticError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ANEW: Final = frozenset({"providers", "login"})  # of roots (`connect`), and of those who log in elsewhere
UNREADABLE: Final = "unreadable"
SERVING: Final = ".serving."
LIMIT: Final = 65_536


@dataclass(frozen=True, slots=True)
class Begun:
    """The settings that a process works with; called, it says what became of them since, and of those of services that run here."""

    folder: Path
    settings: config.UserConfig

    def __call__(self) -> str:
        """Return the names of what config.yaml says otherwise now, "unreadable" where it cannot be read, "" for nothing."""
        try:
            now = config.load(self.folder).to_body()
        except HermeticError:
            return UNREADABLE
        known = _digests(now)
        changed = set[str]()
        for then in (_digests(self.settings.to_body()), *_running(self.folder)):
            changed |= {name for name in known.keys() | then.keys() if known.get(name) != then.get(name)}
        return ", ".join(sorted(changed))


class Note:
    """What a service leaves beside config.yaml while it runs. Without it, as on a disk that is full, it serves all the same."""

    def __init__(self, folder: Path, settings: config.UserConfig) -> None:
        self._path, self._descriptor = folder / f"{SERVING}{secrets.token_hex(8)}", -1
        with suppress(OSError):
            for path in folder.glob(f"{SERVING}*"):
                with suppress(OSError):
                    if path.stat().st_size and _read(path) is None:  # an empty one is of a service that starts as well
                        path.unlink(missing_ok=True)
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
            os.write(self._descriptor, json.dumps(_digests(settings.to_body())).encode("ascii"))

    def remove(self) -> None:
        """Take it away: the service ends."""
        if self._descriptor >= 0:
            with suppress(OSError):
                self._path.unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = -1


def _running(folder: Path) -> Iterator[dict[str, str]]:
    """Yield the digests that services which run here began with."""
    for path in sorted(folder.glob(f"{SERVING}*")):
        with suppress(OSError, ValueError):  # it ended just now, or has not written yet
            raw = _read(path)
            told = None if raw is None else json.loads(raw)
            if isinstance(told, dict):
                yield {str(name): str(value) for name, value in told.items()}


def _read(path: Path) -> bytes | None:
    """Return the content of a file that somebody has locked, None where nobody has."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return os.read(descriptor, LIMIT)
    finally:
        os.close(descriptor)
    return None


def _digests(body: dict[str, Any]) -> dict[str, str]:
    """Return a digest of what is said about each matter that is not read anew."""
    told = {name: json.dumps(value, sort_keys=True, default=str) for name, value in body.items() if name not in ANEW}
    return {name: hashlib.sha256(text.encode("utf-8")).hexdigest() for name, text in told.items()}
