"""Requests in the shape that Cedar reads. A value of a wrong type is refused by the schema, or raises here and is refused then."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any, TypeAlias

from hermetic.policy import stages
from hermetic.policy.request import AssetResource, effective_roles

if TYPE_CHECKING:
    from hermetic.policy.request import DecisionRequest, DomainResource

CedarJson: TypeAlias = "dict[str, Any]"

_EPOCH = dt.datetime(1970, 1, 1)  # noqa: DTZ001 - arithmetic in UTC only
_MILLISECOND = dt.timedelta(milliseconds=1)


def entities_of(request: DecisionRequest) -> list[CedarJson]:
    """Return the principal, with the roles that count here, and the resource."""
    principal, resource = request.principal, request.resource
    roles = effective_roles(principal, resource.project)
    return [
        {
            "uid": {"type": "Principal", "id": principal.id},
            "attrs": {"name": principal.name, "kind": _word("PrincipalKind", principal.kind)},
            "parents": [{"type": "Role", "id": role} for role in roles],
        },
        _asset(resource) if isinstance(resource, AssetResource) else _domain(resource),
    ]


def _asset(asset: AssetResource) -> CedarJson:
    attributes: CedarJson = {
        "name": asset.name,
        "kind": _word("Kind", asset.kind),
        "class": _word("Class", asset.data_class),
        "sensitivity": asset.data_class.rank,
        "environment": _word("Environment", asset.environment),
        "project": asset.project,
        "owner": asset.owner,
    }
    if asset.version is not None:
        attributes["version"] = asset.version
    if asset.target is not None:
        attributes["target"] = _word("Environment", asset.target)
    return {"uid": {"type": "Asset", "id": asset.id}, "attrs": attributes, "parents": []}


def _domain(domain: DomainResource) -> CedarJson:
    attributes: CedarJson = {}
    if domain.environment is not None:
        attributes["environment"] = _word("Environment", domain.environment)
    if domain.project is not None:
        attributes["project"] = domain.project
    if domain.data_class is not None:
        attributes["class"] = _word("Class", domain.data_class)
    return {"uid": {"type": "Domain", "id": domain.id}, "attrs": attributes, "parents": []}


def context_of(request: DecisionRequest) -> CedarJson:
    """Return the circumstances; what is None is absent."""
    context, stage = request.context, stages.of_request(request)
    values: CedarJson = {
        "enforcement": _word("Enforcement", context.enforcement),
        "now": _extension("datetime", (_EPOCH + context.now_ms * _MILLISECOND).isoformat(timespec="milliseconds") + "Z"),
        "run": context.run,
        "granted": context.granted,
        "approvals": context.approvals,
    }
    if context.purpose is not None:
        values["purpose"] = _word("Purpose", context.purpose)
    if stage is not None:
        values["stage"] = _word("Stage", stage)
    if context.mfa_age_ms is not None:
        values["mfa_age"] = _extension("duration", f"{context.mfa_age_ms}ms")
    if context.network is not None:
        values["network"] = _extension("ip", context.network)
    if context.attestation is not None:
        values["attestation"] = context.attestation
    return values


def _word(kind: str, value: str) -> CedarJson:
    return {"__entity": {"type": kind, "id": value}}


def _extension(function: str, argument: str) -> CedarJson:
    return {"__extn": {"fn": function, "arg": argument}}
