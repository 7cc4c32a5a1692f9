"""Which asset a path is: `rules:` of the policy in force, not of a file that somebody has just edited."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from hermetic.errors import UsageError
from hermetic.formats.messages.policy import ShowPolicy
from hermetic.policy import rules
from hermetic.policy.bundle import PolicyBundle
from hermetic.policy.document import parse

if TYPE_CHECKING:
    from hermetic.assets.sealing import Terms
    from hermetic.assets.session import Session
    from hermetic.ids import AssetName, Environment
    from hermetic.policy.model import PolicyDocument
    from hermetic.policy.rules import Resolution

_parsed: dict[bytes, PolicyDocument] = {}


def document_in_force(session: Session) -> PolicyDocument:
    """Return hermetic.yaml as it was last applied."""
    policy = session.ask(ShowPolicy())
    document = _parsed.get(policy.digest)
    if document is None:
        document = parse(PolicyBundle.from_bytes(policy.bundle).document_text())
        _parsed.clear()  # one domain, one policy at a time
        _parsed[policy.digest] = document
    return document


def described(session: Session, terms: Terms, path: Path | None) -> Terms:
    """Return `terms`, completed by what the rules say about `path`. Raises UsageError if that leaves no name."""
    if path is None:
        if terms.name is None:
            raise UsageError("a version needs a name", hint="write name='dataset/NAME'")
        return terms
    found = rule_at(session, path)
    if terms.name is None and found is None:
        raise UsageError(f"no rule says what {str(path)!r} is", hint=f"name it with --as KIND/NAME; or {missing_rule(session, path)}")
    return terms if found is None else described_by(terms, found)


def rule_at(session: Session, path: Path) -> Resolution | None:
    """Return what the rules in force say about a path, None if nothing. Raises InvalidName if the name they make is none."""
    inside = _inside_project(session, path)
    return rules.match_path(document_in_force(session), inside) if inside is not None else None


def missing_rule(session: Session, path: Path) -> str:
    """Return what to do so that a rule covers `path`."""
    inside = _inside_project(session, path)
    if inside is None:
        return "move it into the project, where rules hold"
    if session.connection.project.bundle().digest() != session.ask(ShowPolicy()).digest:
        return "run `hermetic policy apply`: hermetic.yaml was edited since, and its rules do not count before"
    return f"add to `rules:` in hermetic.yaml: {rules.suggest_rule(inside).strip()}, then `hermetic policy apply`"


def rule_for(session: Session, name: AssetName) -> Resolution | None:
    """Return what the rules in force say about an asset name, None if nothing."""
    return rules.match_asset(document_in_force(session), name)


def placed(session: Session, name: AssetName) -> Environment:
    """Return the environment that a name is looked up in where nobody says one: by the rules in force, else the usual one."""
    return _placed(document_in_force(session), name)


def check_store(session: Session, name: AssetName, environment: Environment | None) -> None:
    """Raise NotFound where this machine does not know the store that a new version goes to, before custody has begun anything."""
    connection = session.connection
    project = connection.project
    same = connection.welcome.policy_digest == project.bundle().digest()
    document = project.document if same else document_in_force(session)
    session.store(document.store_for(environment or _placed(document, name)))


def _placed(document: PolicyDocument, name: AssetName) -> Environment:
    said = rules.match_asset(document, name)
    return document.environment if said is None or said.placed is None else said.placed


def _inside_project(session: Session, path: Path) -> str | None:
    """Return `path` relative to the project with slashes, None if it lies elsewhere."""
    root = Path(os.path.realpath(session.connection.project.root))
    place = Path(os.path.realpath(path.parent)) / path.name
    return place.relative_to(root).as_posix() if place.is_relative_to(root) and place != root else None


def described_by(terms: Terms, found: Resolution) -> Terms:
    """Return `terms`, completed by what a rule says."""
    return replace(
        terms,
        name=terms.name or str(found.name),
        data_class=terms.data_class or found.data_class,
        owner=terms.owner or found.owner,
        project=terms.project or found.project,
        environment=terms.environment or found.placed,
        purposes=terms.purposes if terms.purposes is not None else found.purposes,
    )
