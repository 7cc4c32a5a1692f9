"""A process of its own that asks custody for one thing, and meets another one between decision and commit."""

from __future__ import annotations

import importlib

from hermetic.errors import HermeticError
from tests.world import World


def attempt(root, request, where, barrier, answers):
    """Ask for `request` in the domain below `root`; wait for the other process where `where` (module, step) begins its unit."""
    module, step = where
    room = importlib.import_module(module)
    before, met = room.unit, []

    def together(custodian, name, *more, **named):
        if name == step and not met:
            met.append(name)
            barrier.wait(timeout=60)
        return before(custodian, name, *more, **named)

    room.unit = together
    world = World(root)
    try:
        world.port().ask(request)
        answers.put("done")
    except HermeticError as error:
        answers.put(type(error).__name__)
    finally:
        world.close()
