"""Where the next version of a KEK is to live, as the policy in force says: under slots of every root, or in one root alone.

A class that says `kek: in-provider` never gets anything else: no active root that can, no key. What was made before the policy said
so stays as it is until `hermetic key rotate` moves it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermetic.custody import residency
from hermetic.errors import ConfigError, KeyServiceUnavailable, KeyUnusable
from hermetic.formats.messages.base import Pair
from hermetic.ids import KeyState
from hermetic.keys import destruction, in_provider, roots
from hermetic.policy.model import KekPlace

if TYPE_CHECKING:
    from hermetic.custody.call import Call
    from hermetic.custody.residency import Pinned
    from hermetic.db.rows import ReadSession
    from hermetic.keys.kek import Kek
    from hermetic.keys.provider import RootId
    from hermetic.keys.roots import Root
    from hermetic.policy.model import ClassRules, PolicyDocument

NAMED = 5  # KEKs in a remark
_STAYING = {KeyState.ACTIVE, KeyState.SUSPENDED}


def next_home(call: Call, session: ReadSession, pinned: Pinned, present: RootId | None = None) -> Root | None:
    """Return the root that the next version lives in alone, `present` if it will do; None for slots under every root.

    `pinned` is class and environment. Raises KeyUnusable, KeyServiceUnavailable; PolicyDenied where it would be out of its regions.
    """
    rules = call.custodian.policy.current(session).document.classes[pinned[0]]
    if rules.kek is not KekPlace.IN_PROVIDER:
        residency.require_new_slots(call, session, pinned)
        return None
    prefer = residency.preferred(call, session, pinned)
    home = in_provider.choose(session, call.custodian.anchors, rules.kek_provider, keep=present, prefer=prefer)
    residency.require_roots(call, session, pinned, (home,))
    return home


def after(call: Call, session: ReadSession, kek: Kek) -> Root | None:
    """Return the same for the version that follows the newest of a KEK, by the policy in force."""
    newest = max(version.number for version in kek.versions)
    return next_home(call, session, (kek.data_class, kek.environment), in_provider.home_of(session, kek.kek_id, newest))


def fits(session: ReadSession, rules: ClassRules, home: RootId | None) -> bool:
    """Tell whether a version with this home may take new data keys under these rules.

    A suspended root comes back, so what lives in it waits for that; one that is on its way out gets nothing new.
    """
    if rules.kek is not KekPlace.IN_PROVIDER or home is None:
        return (rules.kek is KekPlace.IN_PROVIDER) == (home is not None)
    root = roots.get(session, home)
    return root.state in _STAYING and rules.kek_provider in {None, root.kind}


def alone(session: ReadSession, root_id: RootId) -> tuple[Pair, ...]:
    """Return what stands out about a root that keys live in alone: what opens through it and through nothing else."""
    counts: dict[str, int] = {}
    for kek, number in in_provider.under(session, root_id):
        name = f"{kek.environment.value}/{kek.data_class.value}/{kek.project}"
        counts[name] = counts.get(name, 0) + destruction.count_data_keys(session, kek.kek_id, number)
    if not counts:
        return ()
    names = ", ".join(sorted(counts)[:NAMED]) + (", …" if len(counts) > NAMED else "")
    return (Pair("keys-live-here-alone", f"{sum(counts.values())} data keys open through this root alone, of {names}"),)


def require(call: Call, session: ReadSession, document: PolicyDocument) -> None:
    """Raises ConfigError for a policy with a class that comes to want its key where no active root can keep it.

    What the policy in force wants already is not asked again: it may be the root's suspension that calls for another policy.
    """
    present = call.custodian.policy.current(session).document.classes
    for name, rules in document.classes.items():
        if (rules.kek, rules.kek_provider) == (present[name].kek, present[name].kek_provider):
            continue
        if rules.kek is not KekPlace.IN_PROVIDER:
            continue
        try:
            in_provider.choose(session, call.custodian.anchors, rules.kek_provider)
        except (KeyUnusable, KeyServiceUnavailable) as error:
            where = f"class {name} says `kek: in-provider`"
            raise ConfigError(f"{where}: {error.message}", hint=error.hint, file="hermetic.yaml") from error
