"""Key states, exhaustively."""

import itertools

import pytest

from hermetic.errors import Conflict, KeyUnusable
from hermetic.ids import KeyState
from hermetic.keys.states import TRANSITIONS, check_transition, check_use

# NIST SP 800-57 part 1 revision 5, figure 3: transition number -> from, to. Transition 1 is generation.
STANDARD = {
    2: ("pre-active", "destroyed"),
    3: ("pre-active", "compromised"),
    4: ("pre-active", "active"),
    5: ("active", "destroyed"),
    6: ("active", "compromised"),
    7: ("active", "suspended"),
    8: ("active", "deactivated"),
    9: ("suspended", "destroyed"),
    10: ("suspended", "compromised"),
    11: ("suspended", "active"),
    12: ("suspended", "deactivated"),
    13: ("deactivated", "destroyed"),
    14: ("deactivated", "compromised"),
    15: ("compromised", "destroyed"),
}
USES = {
    ("active", "wrap", False),
    ("active", "wrap", True),
    ("active", "unwrap", False),
    ("active", "unwrap", True),
    ("deactivated", "unwrap", False),
    ("deactivated", "unwrap", True),
    ("compromised", "unwrap", True),
}


@pytest.mark.parametrize(("old", "new"), list(itertools.product(KeyState, KeyState)))
def test_transitions_are_those_of_the_standard(old, new):
    if old == new:
        with pytest.raises(Conflict):
            check_transition(old, new)
    elif (old.value, new.value) in STANDARD.values():
        assert check_transition(old, new) is new
    else:
        with pytest.raises(KeyUnusable) as caught:
            check_transition(old, new)
        assert caught.value.hint


@pytest.mark.parametrize(("state", "use", "recovering"), list(itertools.product(KeyState, ["wrap", "unwrap"], [False, True])))
def test_uses(state, use, recovering):
    if (state.value, use, recovering) in USES:
        assert check_use(state, use, recovering=recovering) is state
    else:
        with pytest.raises(KeyUnusable) as caught:
            check_use(state, use, recovering=recovering)
        assert caught.value.exit_code == 3
        assert caught.value.hint


def test_every_state_ends_in_destroyed():
    for state in KeyState:
        assert state is KeyState.DESTROYED or KeyState.DESTROYED in TRANSITIONS[state]
    assert set(TRANSITIONS) == set(KeyState)
