"""schemathesis 4 against a running service, by what /v1/openapi.json says: every answer has a status, a type and a form that it names.

It calls as three people: who administers the domain, who works with data, and who reads records.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests import world as w
from tests.unit.server import https_world

PROGRAM = Path(sys.executable).with_name("schemathesis")
HOOKS = Path(__file__).with_name("canonical_calls.py")
EXAMPLES = os.environ.get("HERMETIC_EXAMPLES", "200")
PEOPLE = {"olga": ("domain-owner",), "ana": ("ml-engineer",), "ben": ("auditor",)}
# That what the schema allows is accepted is not asked: what exists, and what is permitted, no schema says.
ASKED_NOT = "positive_data_acceptance,unsupported_method,ignored_auth,use_after_free,ensure_resource_availability"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    service = https_world.make(tmp_path_factory.mktemp("https") / "world")
    for name, roles in PEOPLE.items():
        service.enrol(name, roles=roles)
    with contextlib.closing(service), service.running(rate=1e6, burst=1e6):
        w.seal(service.plain, "dataset/a")
        yield service


@pytest.mark.parametrize("name", PEOPLE)
def test_every_answer_is_documented(made, name, tmp_path, record_property):
    paths = made.paths(name)
    command = [PROGRAM, "run", f"{made.place}/v1/openapi.json", "--request-cert", paths.chain, "--request-cert-key", paths.key]
    command += ["--tls-verify", paths.authorities, "-c", "all", "--exclude-checks", ASKED_NOT, "--phases", "examples,coverage,fuzzing"]
    command += ["-n", EXAMPLES, "--continue-on-failure", "--no-shrink", "--generation-database", "none", "--seed", "1", "--no-color"]
    command += ["--suppress-health-check", "all", "--warnings", "off", "--request-timeout", "60"]
    given = os.environ | {
        "SCHEMATHESIS_HOOKS": HOOKS.stem,
        "PYTHONPATH": str(HOOKS.parent),
        "CALLER_FOLDER": str(paths.chain.parent),
        "CALLER_DOMAIN": made.world.domain,
        "COLUMNS": "120",
    }
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, env=given)
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-4000:]
    (count,) = re.findall(r"Test cases:\s*\n?\s*(.*)", done.stdout)
    record_property("summary", f"schemathesis as {name}: {count}")
