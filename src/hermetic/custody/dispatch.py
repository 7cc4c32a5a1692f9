"""Which handler answers which request. The only table of what custody does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hermetic.custody import (
    cataloguing,
    denial,
    facts,
    keyring,
    leasing,
    logbook,
    people,
    policies,
    publishing,
    release,
    running,
    sealing,
)
from hermetic.errors import HermeticError, UsageError
from hermetic.formats import messages as _messages  # noqa: F401 - loads the package whose modules register
from hermetic.formats.messages import catalogue, domain, keys, log, policy, runs, versions

if TYPE_CHECKING:
    from collections.abc import Callable

    from hermetic.custody.call import Call

HANDLERS: dict[type, Callable[[Call, Any], Any]] = {
    domain.Hello: facts.hello,
    domain.GatherFacts: facts.gather_facts,
    domain.RecordRestoreCheck: facts.record_restore_check,
    versions.OpenVersions: release.open_versions,
    versions.BeginVersion: sealing.begin_version,
    versions.PublishVersion: publishing.publish_version,
    versions.AbandonVersion: publishing.abandon_version,
    versions.CheckLeases: leasing.check_leases,
    versions.EndLeases: leasing.end_leases,
    versions.RecogniseDigests: cataloguing.recognise_digests,
    catalogue.ListAssets: cataloguing.list_assets,
    catalogue.ShowVersion: cataloguing.show_version,
    catalogue.RenameAsset: cataloguing.rename_asset,
    catalogue.RecordDecision: cataloguing.record_decision,
    catalogue.TraceLineage: cataloguing.trace_lineage,
    catalogue.EndExposure: cataloguing.end_exposure,
    catalogue.ListExposures: cataloguing.list_exposures,
    catalogue.CollectGarbage: cataloguing.collect_garbage,
    runs.StartRun: running.start_run,
    runs.OpenScratch: running.open_scratch,
    runs.FinishRun: running.finish_run,
    runs.ShowRun: running.show_run,
    runs.ListRuns: running.list_runs,
    keys.ListKeys: keyring.list_keys,
    keys.ShowKey: keyring.show_key,
    keys.RotateKey: keyring.rotate_key,
    keys.RewrapKey: keyring.rewrap_key,
    keys.ChangeKeyState: keyring.change_key_state,
    policy.ShowPolicy: policies.show_policy,
    policy.ApplyPolicy: policies.apply_policy,
    policy.Explain: policies.explain,
    policy.GiveGrant: people.give_grant,
    policy.RevokeGrant: people.revoke_grant,
    policy.ListGrants: people.list_grants,
    policy.ListPrincipals: people.list_principals,
    policy.SetRoles: people.set_roles,
    log.ReadLog: logbook.read_log,
    log.VerifyLog: logbook.verify_log,
    log.ProveEntry: logbook.prove_entry,
    log.ExportLog: logbook.export_log,
}


def answer(call: Call) -> Any:
    """Answer a request; a refusal is on the log before it is told. Raises HermeticError."""
    handler = HANDLERS.get(type(call.request))
    if handler is None:
        raise UsageError(f"custody does not answer {type(call.request).__name__}")
    try:
        return handler(call, call.request)
    except HermeticError as error:
        denial.note(call, error)
        raise
