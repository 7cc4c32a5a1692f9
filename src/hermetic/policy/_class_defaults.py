"""What a class and a role are when hermetic.yaml leaves a key out: the secure choice. The shipped file spells out the same values."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from hermetic.formats.padding import Padding
from hermetic.ids import DataClass, Enforcement, Environment, Purpose
from hermetic.policy._units import HOUR_MS, MINUTE_MS, SECOND_MS
from hermetic.policy.model import Duty, KekPlace, Operation, Original, RoleRules, Separation
from hermetic.policy.request import Action

if TYPE_CHECKING:
    from collections.abc import Mapping

_COMMON: dict[str, Any] = {
    "padding": Padding.NONE,
    "default_purpose": Purpose.PREPARE,
    "retention_days": None,
    "rotate_after_days": 365,
    "kek": KekPlace.WRAPPED,
    "kek_provider": None,
    "original": Original.KEEP,
    "require_enforcement": Enforcement.COOPERATIVE,
    "require_attestation": False,
    "separation": Separation.ADVISED,
    "approvals": {},
    "mfa_ms": {},
    "regions": None,
}

CLASSES: Mapping[DataClass, Mapping[str, Any]] = MappingProxyType(
    {
        DataClass.PUBLIC: _COMMON | {"lease_check_ms": MINUTE_MS, "lease_offline_ms": 24 * HOUR_MS},
        DataClass.INTERNAL: _COMMON | {"lease_check_ms": 30 * SECOND_MS, "lease_offline_ms": 8 * HOUR_MS},
        DataClass.CONFIDENTIAL: _COMMON
        | {
            "padding": Padding.PADME,
            "lease_check_ms": 10 * SECOND_MS,
            "lease_offline_ms": HOUR_MS,
            "retention_days": 5 * 365,
            "rotate_after_days": 180,
            "original": Original.REPORT,
        },
        DataClass.RESTRICTED: _COMMON
        | {
            "padding": Padding.PADME,
            "default_purpose": None,
            "lease_check_ms": 5 * SECOND_MS,
            "lease_offline_ms": 15 * MINUTE_MS,
            "retention_days": 2 * 365,
            "rotate_after_days": 90,
            "original": Original.REPORT,
            "approvals": {Action.SHARE: 1, Action.PROMOTE: 1},
        },
    }
)
"""Keyword arguments of ClassRules, without the suite, which follows from `algorithms`."""

_FRESH = 15 * MINUTE_MS

_BY_ENVIRONMENT = MappingProxyType({Environment.DEVELOPMENT: 0, Environment.STAGING: 1})

OPERATIONS: Mapping[Action, Operation] = MappingProxyType(
    {
        Action.ADMINISTER_KEYS: Operation(mfa=_FRESH, enforced_from=Enforcement.SEPARATED),
        Action.CHANGE_ROOTS: Operation(approvals=2, approvals_in=_BY_ENVIRONMENT),
        Action.DESTROY_KEYS: Operation(approvals=2, approvals_in=_BY_ENVIRONMENT),
        Action.DELETE: Operation(approvals=2, approvals_in=_BY_ENVIRONMENT),
        Action.APPLY_POLICY: Operation(approvals=1, mfa=_FRESH, enforced_from=Enforcement.SEPARATED),
        Action.ENROL: Operation(mfa=_FRESH, enforced_from=Enforcement.SEPARATED),
        Action.APPROVE: Operation(mfa=_FRESH, enforced_from=Enforcement.SEPARATED),
        Action.BREAK_GLASS: Operation(mfa=_FRESH, enforced_from=Enforcement.SEPARATED),
    }
)

_WORK = (Purpose.INGEST, Purpose.PREPARE, Purpose.TRAIN, Purpose.EVALUATE)

ROLES: Mapping[str, RoleRules] = MappingProxyType(
    {
        "domain-owner": RoleRules(
            "set the domain up; the only user of a one-person domain",
            Duty.OWNER,
            (*_WORK, Purpose.SERVE, Purpose.SHARE, Purpose.AUDIT, Purpose.RECOVER),
        ),
        "data-steward": RoleRules(
            "answers for data: classifies, keeps, grants, deletes",
            Duty.DATA,
            (Purpose.INGEST, Purpose.PREPARE, Purpose.AUDIT),
        ),
        "ml-engineer": RoleRules("builds features and models outside production", Duty.DATA, (*_WORK, Purpose.DEBUG)),
        "research-lead": RoleRules(
            "answers for a project's models: signs, promotes, shares",
            Duty.DATA,
            (*_WORK, Purpose.DEBUG, Purpose.SHARE),
        ),
        "service": RoleRules("a workload: pipelines and serving", Duty.DATA, (*_WORK, Purpose.SERVE)),
        "security-engineer": RoleRules(
            "answers for keys, policy, backup and incidents; reads no data",
            Duty.KEYS,
            (Purpose.INGEST, Purpose.RECOVER),
        ),
        "approver": RoleRules("says yes or no to the requests of others", Duty.OVERSIGHT, ()),
        "auditor": RoleRules("reads the log and the catalogue, no contents", Duty.OVERSIGHT, (Purpose.AUDIT,)),
        "data-protection-officer": RoleRules(
            "watches over personal data: reads log and catalogue, approves, has data erased",
            Duty.OVERSIGHT,
            (Purpose.AUDIT,),
        ),
    }
)
"""The shipped roles. A file may change their purposes and add roles; it cannot change their duty."""
