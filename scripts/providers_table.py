"""Rows of docs/reference/providers.md: the conformance reports of runs, kept in docs/reference/providers.json.

.venv/bin/python scripts/providers_table.py                       measure the local providers here
HERMETIC_PROVIDERS_TABLE=1 make interop-NAME                      let the tests of an environment put in theirs (`record`)
hermetic key providers --check URI --json > FILE
.venv/bin/python scripts/providers_table.py FILE AGAINST          put in what somebody measured against AGAINST, as `SoftHSM 2.6.1`

`make docs` then writes the page. A row is named by the kind of provider: one run of each is kept, the newest.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hermetic.formats.messages.roots import ProviderReport

FILE = Path(__file__).resolve().parent.parent / "docs" / "reference" / "providers.json"
SWITCH = "HERMETIC_PROVIDERS_TABLE"
ASKED = bool(os.environ.get(SWITCH))  # at import: a test has an environment of its own
LOCAL = ("local:passphrase", "local:insecure-file")


def record(report: ProviderReport, *, against: str) -> None:
    """Put a report into the file when `HERMETIC_PROVIDERS_TABLE` is set; `against` says what was running, with its version."""
    if ASKED:
        put(asdict(report), against)


def put(report: dict[str, Any], against: str) -> None:
    """Put a report, as plain values, into the file. Raises ValueError for a provider that could not be tried."""
    if not report["probes"]:
        raise ValueError(f"{report['provider']} was {report['status']}: nothing was measured")
    uri: str = report["provider"]
    kind = uri if uri.startswith("local:") else uri.partition(":")[0]
    kept = {name: report[name] for name in sorted(report) if name not in {"provider", "root", "status", "detail", "findings"}}
    rows = json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else {}
    rows[kind] = {"against": against, "report": kept}
    FILE.write_text(json.dumps(rows, indent=1, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")


def main() -> None:
    """See above."""
    if len(sys.argv) == 3:
        (report,) = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))["providers"]
        put(report, sys.argv[2])
        return
    from hermetic.domain.root_trial import try_provider  # noqa: PLC0415 - `record` is for tests, which have it already

    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)  # outside any project
        for uri in LOCAL:
            put(asdict(try_provider(uri)), "this machine")


if __name__ == "__main__":
    main()
