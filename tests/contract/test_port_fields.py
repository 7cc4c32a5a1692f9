"""What a release said on the wire stays: peers of other releases speak it (spec/port.md section 1.1)."""

from __future__ import annotations

import copy
import importlib.util
import json
from importlib import metadata
from pathlib import Path

import pytest

from hermetic.formats.release import RELEASE

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("port_fields", ROOT / "scripts" / "port_fields.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def kept(script):
    return json.loads(script.TARGET.read_text())


def test_what_releases_before_said_is_still_said(script, kept):
    breaking, harmless = script.differences(kept, script.found())
    assert not breaking, "\n".join(["messages that peers of another release would not understand:", *breaking])
    assert not harmless, "\n".join([f"{script.WRITE}, and commit what it writes:", *harmless])
    assert script.TARGET.read_text() == script.text(script.found()), script.WRITE


def test_this_release_says_which_it_is():
    assert metadata.version("hermetic") == RELEASE
    assert f'\nversion = "{RELEASE}"\n' in (ROOT / "pyproject.toml").read_text()


BREAKING = {
    "is gone. Keep it, and do without": lambda now: now["open-versions"].pop("run"),
    "the message is gone": lambda now: now.pop("list-keys"),
    "has another type": lambda now: now["rotate-key"]["reason"].update(type="integer"),
    "has another default": lambda now: now["rewrap-key"]["limit"].update(default=500),
    "got a default or lost it: ": lambda now: now["rotate-key"]["kek"].update(default=""),
    "lost it: what": lambda now: now["rotate-key"]["reason"].pop("default"),
    "purpose lacks train": lambda now: now["open-versions"]["purpose"]["words"].remove("train"),
    "Give it a default": lambda now: now["rotate-key"].update(more={"type": "text"}),
    "say it in another one": lambda now: now["hello"].update(more={"type": "text", "default": ""}),
}


@pytest.mark.parametrize("said", BREAKING)
def test_what_a_peer_could_not_live_with_is_named_with_a_remedy(script, kept, said):
    now = copy.deepcopy(kept)
    BREAKING[said](now)
    breaking, _ = script.differences(kept, now)
    assert said in breaking[0]
    assert "--anyway" in breaking[0]


def test_what_a_peer_can_live_with_is_written(script, kept):
    now = copy.deepcopy(kept)
    now["rotate-key"]["more"] = {"type": "list of part", "default": []}
    now["rotate-key"]["more.inside"] = {"type": "text"}
    now["open-versions"]["purpose"]["words"].append("dream")
    now["new-message"] = {"any": {"type": "text"}}
    breaking, harmless = script.differences(kept, now)
    assert breaking == []
    assert [line.partition(" ")[0] for line in harmless] == ["new-message:", "open-versions:", "rotate-key:"]
