"""The OpenAPI document says what the codec does: of every message, and of every error."""

from __future__ import annotations

import base64
import dataclasses
import inspect
import json

import jsonschema
import pytest

from hermetic import errors
from hermetic.formats import codec, parts
from hermetic.formats.messages.base import Request
from hermetic.server.http_status import MEANINGS, OF_ERROR, status_of
from hermetic.server.openapi import answer_of, document
from tests.unit.formats.filled import filled

DOCUMENT = json.loads(document())
MESSAGES = sorted(codec.registered())


def check(name, value):
    schema = {"$ref": f"#/components/schemas/{name}.message", "components": DOCUMENT["components"]}
    jsonschema.Draft202012Validator(schema).validate(value)


def test_every_request_and_answer_is_there():
    asked = {name: cls for name, cls in codec.registered().items() if issubclass(cls, Request)}
    assert {path.removeprefix("/v1/") for path, item in DOCUMENT["paths"].items() if "post" in item} == set(asked)
    for name, cls in asked.items():
        operation = DOCUMENT["paths"][f"/v1/{name}"]["post"]
        answer = codec.name_of(answer_of(cls))
        schema = operation["responses"]["200"]["content"]["application/json"]["schema"]
        assert schema == {"$ref": f"#/components/schemas/{answer}.message"}
        assert set(operation["responses"]) == {"200", *map(str, MEANINGS)}


@pytest.mark.parametrize("schema", sorted(DOCUMENT["components"]["schemas"]))
def test_schemas_are_schemas(schema):
    jsonschema.Draft202012Validator.check_schema(DOCUMENT["components"]["schemas"][schema])


def test_what_the_codec_writes_is_described():
    for name in MESSAGES:
        cls = codec.registered()[name]
        value = json.loads(codec.encode(filled(cls)))
        check(name, value)
        check(name, json.loads(codec.encode(bare(filled(cls)))))
        wrong = [value | {"more": 1}, value | {"type": "other"}, value | {"hermetic": 2}]
        more = value | {"body": value["body"] | {"more": 1}}
        if codec.asks(cls):
            wrong += [more, value | {"crit": ["x"]}]
        else:
            check(name, more)
        for field, default in parts.defaults_of(cls).items():
            wrong.append(value | {"body": value["body"] | {field: parts.dump(default)}})
        wrong += [value | {"body": without(value["body"], field)} for field in set(value["body"]) - set(parts.defaults_of(cls))]
        for other in wrong:
            with pytest.raises(jsonschema.ValidationError):
                check(name, other)


def bare(message):
    """The same message with nothing said that may be left out."""
    return dataclasses.replace(message, **parts.defaults_of(type(message)))


def without(body, field):
    return {name: value for name, value in body.items() if name != field}


def test_binary_is_base64url():
    schema = next(item for item in DOCUMENT["components"]["schemas"]["Receipt"]["properties"].values() if "contentEncoding" in item)
    jsonschema.validate(base64.urlsafe_b64encode(b"\xff\xfe\xfd").decode(), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate("a+b/", schema)


def test_every_error_has_a_status_that_is_described():
    found = [cls for _, cls in inspect.getmembers(errors, inspect.isclass) if issubclass(cls, errors.HermeticError)]
    assert {status_of(cls("x")) for cls in found} == set(OF_ERROR.values())
    assert set(OF_ERROR.values()) <= set(MEANINGS)
    told = {cls.__name__: status_of(cls("x")) for cls in found}
    named = ("NotAuthenticated", "PolicyDenied", "NotFound", "Conflict", "ApprovalNeeded", "Locked", "RowTampered", "FormatError")
    assert [told[name] for name in named] == [401, 403, 404, 409, 428, 503, 500, 422]
