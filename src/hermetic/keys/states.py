"""Key states and their changes: NIST SP 800-57 part 1 revision 5, section 7.

from          to                                             transitions of the standard
pre-active    active, compromised, destroyed                 4, 3, 2
active        suspended, deactivated, compromised, destroyed 7, 8, 6, 5
suspended     active, deactivated, compromised, destroyed    11, 12, 10, 9
deactivated   compromised, destroyed                         14, 13
compromised   destroyed                                      15
destroyed     nothing

state         wrap   unwrap
pre-active    no     no
active        yes    yes
suspended     no     no       the standard lets the reader accept the risk; Hermetic does not
deactivated   no     yes
compromised   no     only to recover or re-encrypt (`recovering`)
destroyed     no     no
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

from hermetic.errors import Conflict, KeyUnusable
from hermetic.ids import KeyState

Use: TypeAlias = Literal["wrap", "unwrap"]

TRANSITIONS: Final[dict[KeyState, frozenset[KeyState]]] = {
    KeyState.PRE_ACTIVE: frozenset({KeyState.ACTIVE, KeyState.COMPROMISED, KeyState.DESTROYED}),
    KeyState.ACTIVE: frozenset({KeyState.SUSPENDED, KeyState.DEACTIVATED, KeyState.COMPROMISED, KeyState.DESTROYED}),
    KeyState.SUSPENDED: frozenset({KeyState.ACTIVE, KeyState.DEACTIVATED, KeyState.COMPROMISED, KeyState.DESTROYED}),
    KeyState.DEACTIVATED: frozenset({KeyState.COMPROMISED, KeyState.DESTROYED}),
    KeyState.COMPROMISED: frozenset({KeyState.DESTROYED}),
    KeyState.DESTROYED: frozenset(),
}

_HINTS: Final[dict[KeyState, str]] = {
    KeyState.PRE_ACTIVE: "it was made but never activated",
    KeyState.ACTIVE: "it is in use",
    KeyState.SUSPENDED: "`hermetic key resume` ends a suspension",
    KeyState.DEACTIVATED: "it opens what it sealed, but seals nothing new: `hermetic key rotate` gives an active version",
    KeyState.COMPROMISED: "seal anew what it protected; --purpose recover opens it",
    KeyState.DESTROYED: "a destroyed key never comes back, nor does what only it protected",
}


def check_transition(old: KeyState, new: KeyState) -> KeyState:
    """Return `new` if a key may go from `old` to `new`. Raises KeyUnusable if not, Conflict if it is in that state already."""
    if old == new:
        raise Conflict(f"the key is {old.value} already", hint=f"nothing was changed: {_HINTS[old]}")
    if new not in TRANSITIONS[old]:
        raise KeyUnusable(f"a key cannot go from {old.value} to {new.value}", hint=_HINTS[old])
    return new


def check_use(state: KeyState, use: Use, *, recovering: bool = False) -> KeyState:
    """Return `state` if a key in it may be used so, else raise KeyUnusable.

    `recovering` says that the unwrapped key serves recovery or re-encryption only; it matters for compromised keys.
    """
    usable = state is KeyState.ACTIVE
    if use == "unwrap":
        usable |= state is KeyState.DEACTIVATED or (state is KeyState.COMPROMISED and recovering)
    if not usable:
        raise KeyUnusable(f"a {state.value} key cannot {use}", hint=_HINTS[state])
    return state
