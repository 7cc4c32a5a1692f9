"""The JSON Schema of hermetic.yaml, for editors: generated from the same declarations that the parser reads by.

The shipped `schema.json` is made by `python -m hermetic.policy.schema`. What the schema cannot say (loops, shadowed rules, bounds of
durations, expiry) the parser checks.
"""

from __future__ import annotations

import json
from typing import Any

from hermetic.policy._fields import DOCUMENT
from hermetic.policy.model import FORMAT

FILE = "schema.json"


def generate() -> dict[str, Any]:
    """Return the schema (draft 2020-12)."""
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:hermetic:{FORMAT}",
        "title": "hermetic.yaml",
        "description": "Stores, environments, data classes, rules and roles of a Hermetic project (spec/policy.md).",
    }
    return head | DOCUMENT.schema()


def text() -> str:
    """Return the schema as the shipped file holds it."""
    return json.dumps(generate(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    print(text(), end="")  # noqa: T201 - this is how the shipped file is made
