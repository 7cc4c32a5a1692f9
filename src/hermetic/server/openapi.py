"""The OpenAPI document of the service, made from the message classes that the codec knows.

Each request is a path; its answer is what its class names, every error a `refusal` with a status of `http_status`. Binary
is base64url text, times are milliseconds. A field with a `default` is left out when it has it. To requests nothing may be added, to
answers of later releases fields are: parts that are in both are described twice, as `NAME` and as `NAME.asked` (spec/port.md
section 1.1).
`docs/reference/openapi.json` is this document, written by `make docs`.
"""

from __future__ import annotations

import dataclasses
import enum
import inspect
import json
import types
import typing
from typing import Any, Final

from hermetic.domain.remote import AGAIN, SECRET
from hermetic.formats import codec, parts
from hermetic.formats.canonical import MAX_INTEGER
from hermetic.formats.messages.base import Refusal, Request
from hermetic.server.http_status import MEANINGS

VERSION: Final = "1"
_MEDIA: Final = "application/json"
_WITH_KEYS: Final = "Hermetic-Recipient-Proof"
_INTRO: Final = (
    "Every request of the port by POST, over mutual TLS 1.3. A body is one message in the canonical form of RFC 8785, at most "
    f"{codec.MESSAGE_LIMIT} bytes; other spellings of the same JSON are refused. Binary is base64url without padding, times are Unix "
    "milliseconds. A field with a default is left out when it has that value. Pass over fields of answers that you do not know, but "
    "refuse an answer whose `crit` names one. See spec/port.md."
)


def document() -> str:
    """Return the document as JSON text, the same at every call."""
    return json.dumps(_document(), indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def _document() -> dict[str, Any]:
    schemas: dict[str, Any] = {}
    for cls in codec.registered().values():
        _envelope(cls, schemas)
    asked = {name: cls for name, cls in codec.registered().items() if issubclass(cls, Request)}
    paths = {f"/v1/{name}": {"post": _operation(name, cls, schemas)} for name, cls in sorted(asked.items())}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Hermetic custody", "version": VERSION, "description": _INTRO},
        "paths": paths | _probes(),
        "components": {
            "schemas": schemas,
            "responses": {str(status): _refused(status, meaning, schemas) for status, meaning in MEANINGS.items()},
            "securitySchemes": {"certificate": {"type": "mutualTLS", "description": "A certificate of an authority of the domain."}},
        },
        "security": [{"certificate": []}],
    }


def _operation(name: str, cls: type, schemas: dict[str, Any]) -> dict[str, Any]:
    text = inspect.cleandoc(cls.__doc__ or "")
    answer = answer_of(cls)
    statuses = {str(status): {"$ref": f"#/components/responses/{status}"} for status in MEANINGS}
    said = {"description": inspect.cleandoc(answer.__doc__ or "").partition("\n")[0]}
    return {
        "operationId": name,
        "summary": text.partition("\n")[0],
        "description": text,
        "parameters": _headers(name, cls),
        "requestBody": {"required": True, "content": {_MEDIA: {"schema": _envelope(cls, schemas)}}},
        "responses": {"200": said | {"content": {_MEDIA: {"schema": _envelope(answer, schemas)}}}} | statuses,
    }


def answer_of(cls: type) -> type:
    """Return the class of the message that answers a request."""
    for base in getattr(cls, "__orig_bases__", ()):
        if typing.get_origin(base) is Request:
            (named,) = typing.get_args(base)
            if isinstance(named, type):
                return named
            module = vars(inspect.getmodule(cls))
            name = named.__forward_arg__ if isinstance(named, typing.ForwardRef) else str(named)
            found: type = module[name]
            return found
    raise TypeError(f"{cls.__name__} names no answer")


def _headers(name: str, cls: type) -> list[dict[str, Any]]:
    if any(field.name == "recipient" for field in dataclasses.fields(cls)):
        return [_PROOF]
    return [] if name in AGAIN | SECRET else [_KEY]


_PROOF: Final = {
    "name": _WITH_KEYS,
    "in": "header",
    "required": True,
    "description": "The signature by the certificate's key over the recipient's public key (spec/port.md section 4.2), base64url.",
    "schema": {"type": "string", "contentEncoding": "base64url"},
}
_KEY: Final = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "A request that changes something is done once for each key, and answered with what it was answered then.",
    "schema": {"type": "string", "pattern": "^[A-Za-z0-9._:-]{8,128}$"},
}


def _probes() -> dict[str, Any]:
    def probe(summary: str, *, media: str = "text/plain", may_fail: bool = False) -> dict[str, Any]:
        responses = {"200": {"description": "Yes.", "content": {media: {}}}} | ({"503": {"description": "No."}} if may_fail else {})
        return {"get": {"summary": summary, "responses": responses}}

    return {
        "/healthz": probe("Whether the process is alive."),
        "/readyz": probe("Whether database, root and log can be reached.", may_fail=True),
        "/v1/openapi.json": probe("This document.", media=_MEDIA),
    }


def _refused(status: int, meaning: str, schemas: dict[str, Any]) -> dict[str, Any]:
    if status in {400, 431}:
        return {"description": meaning}  # said before there is a request to answer
    said: dict[str, Any] = {"description": meaning, "content": {_MEDIA: {"schema": _envelope(Refusal, schemas)}}}
    if status in {429, 503}:
        said["headers"] = {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}}
    return said


def _envelope(cls: type, schemas: dict[str, Any]) -> dict[str, Any]:
    name = codec.name_of(cls)
    key = f"{name}.message"
    if key not in schemas:
        asked = codec.asks(cls)
        members = {"hermetic": {"const": codec.WIRE_VERSION}, "type": {"const": name}, "body": _part(cls, schemas, asked=asked)}
        schemas[key] = _object(members) if asked else _object(members | {"crit": _CRITICAL}, optional=frozenset({"crit"}))
    return {"$ref": f"#/components/schemas/{key}"}


_CRITICAL: Final = {
    "type": "array",
    "items": {"type": "string"},
    "minItems": 1,
    "uniqueItems": True,
    "description": "Paths of fields in the body that whoever reads the answer has to understand, in order.",
}


def _part(cls: type, schemas: dict[str, Any], *, asked: bool) -> dict[str, Any]:
    """Describe a part: one of requests as closed, under a name of its own unless it is a request itself."""
    name = f"{cls.__name__}.asked" if asked and not codec.asks(cls) else cls.__name__
    if name not in schemas:
        schemas[name] = {}  # parts may hold each other
        hints, defaults = typing.get_type_hints(cls), parts.defaults_of(cls)
        fields = {field.name: _kind(hints[field.name], schemas, asked=asked) for field in dataclasses.fields(cls)}
        said = {key: _unless(kind, defaults[key]) if key in defaults else kind for key, kind in fields.items()}
        found = _object(said, optional=frozenset(defaults), closed=asked)
        schemas[name] = {"description": inspect.cleandoc(cls.__doc__ or "")} | found
    return {"$ref": f"#/components/schemas/{name}"}


def _unless(kind: dict[str, Any], default: Any) -> dict[str, Any]:
    """Describe a field that is there only with another value than its default."""
    if default is None:
        return dict(kind["anyOf"][0]) if "anyOf" in kind else kind
    written = parts.dump(default)
    return kind | {"default": written} | ({"minItems": 1} if written == [] else {"not": {"const": written}})


def _object(properties: dict[str, Any], *, optional: frozenset[str] = frozenset(), closed: bool = True) -> dict[str, Any]:
    required = sorted(properties.keys() - optional)
    return {"type": "object", "properties": properties, "required": required} | ({"additionalProperties": False} if closed else {})


def _kind(kind: Any, schemas: dict[str, Any], *, asked: bool) -> dict[str, Any]:
    origin = typing.get_origin(kind)
    if origin in {typing.Union, types.UnionType}:
        inner = next(arg for arg in typing.get_args(kind) if arg is not types.NoneType)
        return {"anyOf": [_kind(inner, schemas, asked=asked), {"type": "null"}]}
    if origin is tuple:
        return {"type": "array", "items": _kind(typing.get_args(kind)[0], schemas, asked=asked)}
    kind = getattr(kind, "__supertype__", kind)
    if dataclasses.is_dataclass(kind):
        return _part(typing.cast("type", kind), schemas, asked=asked)
    if isinstance(kind, type) and issubclass(kind, enum.StrEnum):
        return {"type": "string", "enum": [str(item.value) for item in kind]}
    return dict(_PLAIN[kind])


_PLAIN: Final[dict[type, dict[str, Any]]] = {
    str: {"type": "string", "maxLength": codec.MESSAGE_LIMIT},
    bool: {"type": "boolean"},
    int: {"type": "integer", "minimum": -MAX_INTEGER, "maximum": MAX_INTEGER},
    bytes: {"type": "string", "contentEncoding": "base64url", "pattern": "^[A-Za-z0-9_-]*$", "maxLength": codec.MESSAGE_LIMIT},
}
