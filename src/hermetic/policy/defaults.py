"""The files that `hermetic init` writes, and the schemas that go with them. They are package data, read here and nowhere else."""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING

from hermetic.policy import bundle, cedar_schema, schema
from hermetic.policy.model import FILE

if TYPE_CHECKING:
    from hermetic.policy.bundle import PolicyBundle

POLICY_FILES = ("break-glass.cedar", "domain-owner.cedar", "grants.cedar", "guards.cedar", "roles.cedar")


def document_text(domain: str, project: str) -> str:
    """Return hermetic.yaml for a new project, comments included. `domain` is a domain id, `project` a plain name."""
    template = _shipped("shipped", FILE)
    return template.replace("DOMAIN-ID", domain).replace("PROJECT-NAME", project)


def cedar_texts() -> dict[str, str]:
    """Return the shipped access policies: `policies/NAME.cedar` to text."""
    return {bundle.FOLDER + name: _shipped("shipped", "policies", name) for name in POLICY_FILES}


def default_bundle(domain: str, project: str) -> PolicyBundle:
    """Return the bundle of both, which `hermetic init` applies."""
    return bundle.of_texts(document_text(domain, project), cedar_texts())


def json_schema_text() -> str:
    """Return the shipped JSON Schema of hermetic.yaml."""
    return _shipped(schema.FILE)


def cedar_schema_text() -> str:
    """Return the shipped Cedar schema, for the shipped roles."""
    return _shipped(cedar_schema.FILE)


def _shipped(*path: str) -> str:
    return resources.files("hermetic.policy").joinpath(*path).read_text(encoding="utf-8")
