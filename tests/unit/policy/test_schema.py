"""The JSON Schema that editors use agrees with the parser, and the shipped files are the generated ones."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest

from hermetic.policy import cedar_schema, defaults, document, schema
from hermetic.policy._yaml import Node, Wrong, compose
from tests.unit.policy.test_document import PLACES
from tests.unit.policy.values import DOMAIN, HEAD

VALIDATOR = jsonschema.Draft202012Validator(schema.generate())

# Mistakes that a JSON Schema cannot express: they need values of other places, other lines, or YAML itself.
BEYOND = (
    "which is retired",
    "is retired twice",
    "can run programs or code",
    "loop", "approved-only", "no default purpose", "out of bounds", "less often", "less enforcement", "never decides", "either `path`",
    "no `kind`", "no meaning", "begin with a kind", "no store is named", "no folder", "same folder", "share the store", "production",
    "of your own has no", "the duty of role", "without a limit", "needs `epsilon`", "not a date", "twice", "anchors", "tags", "merge",
    "plain text", "not YAML", "second document", "control or unprintable",
)  # fmt: skip


def plain(node: Node) -> Any:
    if isinstance(node.value, dict):
        return {key: plain(member.node) for key, member in node.value.items()}
    return [plain(item) for item in node.value] if isinstance(node.value, list) else node.value


def agrees(text: str) -> bool | None:
    try:
        return VALIDATOR.is_valid(plain(compose(text)))
    except Wrong:
        return None


def test_the_shipped_schema_is_the_generated_one() -> None:
    assert defaults.json_schema_text() == schema.text(), "run: python -m hermetic.policy.schema > src/hermetic/policy/schema.json"


def test_the_shipped_cedar_schema_is_the_generated_one() -> None:
    command = "python -m hermetic.policy.cedar_schema > src/hermetic/policy/hermetic.cedarschema"
    assert defaults.cedar_schema_text() == cedar_schema.generate(), f"run: {command}"


def test_the_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(schema.generate())


@pytest.mark.parametrize("text", [HEAD, defaults.document_text(DOMAIN, "risk")])
def test_what_the_parser_reads_the_schema_accepts(text: str) -> None:
    document.parse(text)
    VALIDATOR.validate(plain(compose(text)))


@pytest.mark.parametrize(("body", "line", "column", "message"), PLACES, ids=[row[3][:40] for row in PLACES])
def test_what_the_parser_refuses_the_schema_refuses_unless_it_cannot_say_it(body: str, line: int, column: int, message: str) -> None:
    if not any(words in message for words in BEYOND):
        assert agrees(HEAD + body) is False
    assert document.problems(HEAD + body)


def test_every_key_is_described() -> None:
    def walk(part: Any) -> None:
        for name, sub in part.get("properties", {}).items():
            assert len(sub["description"]) > 8, name
            walk(sub)
        for key in ("items", "additionalProperties"):
            if isinstance(part.get(key), dict):
                walk(part[key])

    walk(schema.generate())
