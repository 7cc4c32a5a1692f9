"""Log lines of a service on stderr, as JSON (one object a line) or text. Set up once, by `hermetic serve`.

A line has time, level, the logger as `event`, and the fields that the call gave in `extra={"fields": …}`; a plain message stands in
`message`. Tracebacks of defects go along in `traceback`: they name code, and values only where an exception's text has them, which
errors of Hermetic keep free of secrets. Bodies of messages are never logged.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import IO, Any


def fields_of(record: logging.LogRecord) -> dict[str, Any]:
    """Return what a line says."""
    given = getattr(record, "fields", None)
    said: dict[str, Any] = {
        "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "level": record.levelname.lower(),
        "event": record.name.removeprefix("hermetic."),
    }
    if isinstance(given, dict):
        return said | given
    return said | {"message": record.getMessage()}


class JsonLines(logging.Formatter):
    """One JSON object a line; no line break gets into it unescaped."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        said = fields_of(record)
        if record.exc_info:
            said["traceback"] = self.formatException(record.exc_info)
        return json.dumps(said, ensure_ascii=True, default=str)


class TextLines(logging.Formatter):
    """The same for people: one line, control characters written out."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, and the traceback after it where there is one."""
        said = fields_of(record)
        head = f"{said.pop('time')} {said.pop('level').upper()} {said.pop('event')}"
        message = said.pop("message", None)
        rest = ([] if message is None else [str(message)]) + [f"{name}={value}" for name, value in said.items() if value is not None]
        line = " ".join([head, *rest])
        line = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in line)
        return line + ("\n" + self.formatException(record.exc_info) if record.exc_info else "")


def set_up(style: str, stream: IO[str] | None = None) -> None:
    """Send everything from level INFO on to stderr, as `json` or `text`, instead of what was set up before."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonLines() if style == "json" else TextLines())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
