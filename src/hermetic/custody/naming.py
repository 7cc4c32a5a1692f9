"""What ids in a request mean now, for those who decide about it: names beside ids, and the policy that a decision would rest on.

None of it is signed: an approver signs ids, names where the request has them, and who asks. It is what custody knows at this moment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hermetic.access import approvals, identity
from hermetic.catalog import assets, versions
from hermetic.errors import FormatError, HermeticError, Unsupported
from hermetic.formats import codec
from hermetic.formats.messages.base import Pair
from hermetic.formats.readable import spelled
from hermetic.ids import Ref, VersionId, check_id
from hermetic.keys import kek as keks
from hermetic.keys import roots

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hermetic.access.approvals import Asked
    from hermetic.custody.call import Call
    from hermetic.db.rows import ReadSession

UNKNOWN = "not known here"


def about(call: Call, session: ReadSession, item: Asked) -> tuple[Pair, ...]:
    """Return what custody knows of a request's ids, of who asks, and of the policy in force."""
    try:
        request: Any = codec.decode_kept(item.request)
    except (FormatError, Unsupported):
        request = None  # of a newer release: nothing is known of its ids
    policy = call.custodian.policy.current(session)
    return (
        *_things(session, request, getattr(request, "environment", None) or policy.document.environment),
        Pair("asked by", _principal(session, item.requester_id)),
        Pair("policy in force", f"{policy.digest.hex()}, applied by {spelled(policy.applied_by)}"),
        Pair("approvals are for", f"{item.action}: {item.needed} of {len(_others(session, item))} who could give them"),
    )


def _things(session: ReadSession, request: Any, environment: Any) -> Iterator[Pair]:
    if isinstance(kek := getattr(request, "kek", None), str):
        yield Pair("kek", _known(_kek, session, kek))
    if isinstance(root := getattr(request, "root", None), str) and root:
        yield Pair("root", _known(_root, session, root))
    given = getattr(request, "versions", None) or getattr(request, "version", None) or ()
    for at, version in enumerate((given,) if isinstance(given, str) else given):
        yield Pair(f"versions[{at}]" if isinstance(given, tuple) else "version", _known(_version, session, version))
    if not given:
        for at, ref in enumerate(getattr(request, "refs", ())):
            yield Pair(f"refs[{at}]", _known(lambda session, text: _ref(session, text, environment), session, ref))


def _known(look: Any, session: ReadSession, text: str) -> str:
    """Return what is known of one id; a row that is gone or changed must not hide the request."""
    try:
        return str(look(session, text))
    except HermeticError as error:
        return f"{UNKNOWN}: {spelled(error.message)}"


def _kek(session: ReadSession, text: str) -> str:
    found = [kek for kek in keks.ls(session) if kek.kek_id.startswith(text)]
    if len(found) != 1:
        return UNKNOWN
    kek = found[0]
    owner = f", owner {spelled(kek.owner)}" if kek.owner else ""
    scope = f"{kek.environment}/{kek.data_class}/{spelled(kek.project)}"
    return f"{kek.kek_id}: {scope}, {kek.state.value}, version {kek.versions[-1].number}{owner}"


def _root(session: ReadSession, text: str) -> str:
    found = [root for root in roots.ls(session) if root.root_id.startswith(text)]
    return f"{found[0].root_id}: {spelled(found[0].provider_uri)}, {found[0].state.value}" if len(found) == 1 else UNKNOWN


def _version(session: ReadSession, text: str) -> str:
    return _described(session, versions.get(session, VersionId(check_id(text))))


def _ref(session: ReadSession, text: str, environment: Any) -> str:
    return _described(session, versions.resolve(session, Ref.parse(text), environment, deleted=True)[1])


def _described(session: ReadSession, version: Any) -> str:
    asset = assets.get(session, version.asset_id)
    owner = f", owner {spelled(asset.owner)}" if asset.owner else ""
    return f"{version.id}: {asset.name}@{version.number}, {version.data_class}, {asset.environment}, {version.state.value}{owner}"


def _principal(session: ReadSession, principal_id: str) -> str:
    found = identity.find(session, principal_id)
    if found is None:
        return UNKNOWN
    roles = ", ".join(found.principal.roles) or "no roles"
    return f"{spelled(found.principal.name)} ({principal_id}), {found.principal.kind.value}, {found.state}, {roles}"


def _others(session: ReadSession, item: Asked) -> tuple[Any, ...]:
    found = identity.find(session, item.requester_id)
    return () if found is None else approvals.others(session, found.principal)
