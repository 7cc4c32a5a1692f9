"""Which handler answers which request, by wire name. The only table of what custody does.

Handlers are imported when they are first needed: a command that opens one asset does not pay for those that draw maps.
"""

from __future__ import annotations

import importlib
from functools import cache
from typing import TYPE_CHECKING, Any

from hermetic.custody import denial
from hermetic.errors import HermeticError, UsageError
from hermetic.formats import codec

if TYPE_CHECKING:
    from collections.abc import Callable

    from hermetic.custody.call import Call

HANDLERS: dict[str, str] = {
    "hello": "greeting.hello",
    "gather-facts": "facts.gather_facts",
    "gather-measures": "measuring.gather_measures",
    "record-check": "facts.record_restore_check",
    "record-recovery": "facts.record_recovery",
    "open-versions": "release.open_versions",
    "begin-version": "sealing.begin_version",
    "publish-version": "publishing.publish_version",
    "abandon-version": "publishing.abandon_version",
    "share-version": "sharing.share_version",
    "promote-version": "promoting.promote_version",
    "roll-back": "promoting.roll_back",
    "check-leases": "leasing.check_leases",
    "end-leases": "leasing.end_leases",
    "recognise-digests": "cataloguing.recognise_digests",
    "list-assets": "cataloguing.list_assets",
    "show-version": "cataloguing.show_version",
    "rename-asset": "renaming.rename_asset",
    "record-decision": "cataloguing.record_decision",
    "find-objects": "locating.find_objects",
    "place-objects": "locating.place_objects",
    "trace-lineage": "cataloguing.trace_lineage",
    "end-exposure": "exposing.end_exposure",
    "list-exposures": "exposing.list_exposures",
    "collect-garbage": "cataloguing.collect_garbage",
    "start-run": "running.start_run",
    "open-scratch": "running.open_scratch",
    "finish-run": "running.finish_run",
    "show-run": "running.show_run",
    "list-runs": "running.list_runs",
    "list-keys": "keyring.list_keys",
    "show-key": "keyring.show_key",
    "rotate-key": "keyring.rotate_key",
    "rewrap-key": "rewrapping.rewrap_key",
    "change-key-state": "keyring.change_key_state",
    "change-key-schedule": "scheduling.change_key_schedule",
    "list-signing-keys": "signing_keys.list_signing_keys",
    "rotate-signing-key": "signing_keys.rotate_signing_key",
    "change-signing-care": "signing_keys.change_signing_care",
    "list-suites": "suites.list_suites",
    "list-roots": "rooting.list_roots",
    "add-root": "rooting.add_root",
    "extend-root": "rooting.extend_root",
    "set-root-state": "rooting.set_root_state",
    "rewrap-root": "rootrewrap.rewrap_root",
    "drop-root": "uprooting.drop_root",
    "check-roots": "rooting.check_roots",
    "show-policy": "policies.show_policy",
    "apply-policy": "policies.apply_policy",
    "explain": "policies.explain",
    "give-grant": "people.give_grant",
    "revoke-grant": "people.revoke_grant",
    "list-grants": "people.list_grants",
    "list-principals": "people.list_principals",
    "set-roles": "people.set_roles",
    "disable-principal": "disabling.disable_principal",
    "break-glass": "breaking.break_glass",
    "review-grant": "breaking.review_grant",
    "list-identities": "certified.list_identities",
    "show-identity": "certified.show_identity",
    "enrol-identity": "certified.enrol_identity",
    "issue-certificate": "certified.issue_certificate",
    "renew-certificate": "certified.renew_certificate",
    "revoke-credential": "certified.revoke_credential",
    "list-authorities": "authorising.list_authorities",
    "create-authority": "authorising.create_authority",
    "rotate-authority": "authorising.rotate_authority",
    "retire-authority": "authorising.retire_authority",
    "trust-authority": "authorising.trust_authority",
    "export-trust": "authorising.export_trust",
    "begin-totp": "second_factors.begin_totp",
    "finish-totp": "second_factors.finish_totp",
    "begin-webauthn": "second_factors.begin_webauthn",
    "finish-webauthn": "second_factors.finish_webauthn",
    "confirm-totp": "second_factors.confirm_totp",
    "confirm-webauthn": "second_factors.confirm_webauthn",
    "list-factors": "second_factors.list_factors",
    "remove-factor": "second_factors.remove_factor",
    "invite-factor": "second_factors.invite_factor",
    "enrol-approver": "enrolling.enrol_approver",
    "remove-approver": "enrolling.remove_approver",
    "list-approvers": "enrolling.list_approvers",
    "list-requests": "approving.list_requests",
    "show-request": "approving.show_request",
    "add-statement": "approving.add_statement",
    "withdraw-request": "approving.withdraw_request",
    "plan-destruction": "destroying.plan_destruction",
    "announce-destruction": "destroying.announce_destruction",
    "cancel-destruction": "destroying.cancel_destruction",
    "destroy-due": "destroying.destroy_due",
    "plan-shred": "shredding.plan_shred",
    "shred-versions": "shredding.shred_versions",
    "show-certificate": "certifying.show_certificate",
    "record-copies-destroyed": "certifying.record_copies_destroyed",
    "record-package-destroyed": "remains.record_package_destroyed",
    "read-log": "logbook.read_log",
    "verify-log": "logbook.verify_log",
    "prove-entry": "logbook.prove_entry",
    "export-log": "logbook.export_log",
}


@cache
def handler_of(name: str) -> Callable[[Call, Any], Any]:
    """Return the function that answers the request with this wire name. Raises UsageError when custody answers no such request."""
    if name not in HANDLERS:
        raise UsageError(f"custody does not answer {name!r}")
    module, _, function = HANDLERS[name].partition(".")
    found: Callable[[Call, Any], Any] = getattr(importlib.import_module(f"hermetic.custody.{module}"), function)
    return found


def answer(call: Call) -> Any:
    """Answer a request; a refusal is on the log before it is told. Raises HermeticError."""
    handler = handler_of(codec.name_of(type(call.request)))
    try:
        return handler(call, call.request)
    except HermeticError as error:
        denial.note(call, error)
        raise
