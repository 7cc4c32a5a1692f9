"""A domain whose root is in a key service, from `init` to `cat` in other processes, and what they say when the key is taken away.

`journey` is the same for every service: `take_away` and `give_back` act on the key behind our back. `together` uses
a root from many threads, `check_page` runs a how-to.
"""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import hermetic
from hermetic.crypto.secret import Secret
from hermetic.domain.create import create_domain
from tests.docs.pages import ROOT, check, run, steps

DATA = b"id,age\n1,44\n2,53\n" * 1000


def command(*words, code=0):
    """Run the command line in a process of its own and return what it writes; standard error on top when it fails."""
    program = Path(sys.prefix) / "bin" / "hermetic"
    done = subprocess.run([program, *words], capture_output=True, check=False, timeout=120)
    assert done.returncode == code, (done.returncode, (done.stdout + done.stderr).decode())
    return done.stdout + (done.stderr if code else b"")


def journey(project, provider, *, take_away, give_back, says):
    """Seal, read, verify and show the log under a root that is `provider` (URI, settings)."""
    uri, settings = provider
    created = create_domain(project, provider_uri=uri, project_name="clinic", settings=settings)
    assert "protocol-tested" in {finding.code for finding in created.findings}
    (project / "visits.csv").write_bytes(DATA)
    with hermetic.connect(project) as h:
        h.seal("visits.csv", name="dataset/visits", data_class="confidential", owner="ana")
    command("seal", "visits.csv", "--as", "dataset/again", "--class", "internal")
    assert command("cat", "dataset/visits@1", "--purpose", "prepare") == DATA
    assert b"intact" in command("verify", "dataset/again@1")
    assert b"protocol-tested" in command("key", "providers")
    assert b"low     protocol-tested  " + uri.encode() in command("status", code=7)
    take_away()
    for words in (
        ("cat", "dataset/visits@1", "--purpose", "prepare"),
        ("seal", "visits.csv", "--as", "dataset/third", "--class", "internal"),
    ):
        refused = command(*words, code=6)
        assert says in refused
        assert b"hint: " in refused
        assert DATA[:40] not in refused
    give_back()
    assert command("cat", "dataset/again@1", "--purpose", "prepare") == DATA
    assert b"log                      whole" in command("log", "verify", code=7)  # a finding: nobody anchors it
    home = Path(os.environ["HERMETIC_HOME"])
    (kept,) = home.glob("config/*/config.yaml")
    assert uri in kept.read_text()
    assert not list(home.rglob("root-*.json"))


def together(root):
    """Wrap and unwrap from many threads at once, whose client is made by whichever comes first."""

    def one(number):
        secret, context = Secret.random(32), b"%d" % number
        return root.unwrap(root.wrap(secret, context), context).same_as(secret)

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(one, range(40))) == [True] * 40


def check_page(name, settings, folder, home):
    """Run a how-to whose service is reached elsewhere: its `init` is given `settings` besides."""
    (folder / "patients.parquet").write_bytes(b"PAR1 not really PAR1")
    page = ROOT / "docs" / "how-to" / f"{name}.md"
    more = "".join(f" --root-setting {key}={value}" for key, value in settings.items())
    asked = [replace(step, command=step.command + more) if " init --root " in step.command else step for step in steps(page)]
    assert sum(more in step.command for step in asked) == 1
    check(page, run(asked, folder, home))
