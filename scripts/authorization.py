"""Write docs/reference/authorization.md: every request of the port x every role x every environment, as asked and as expected.

`python scripts/authorization.py`; tests/unit/server/test_authorization.py compares the page with what it asks itself.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "reference" / "authorization.md"
HEAD = """# Who may ask what

<!-- Written by `make docs` from tests/authorization.py; edit the table there, or the policies. -->

Every request of the port (and so every command, call of the library and endpoint of the service), asked in the name of every
shipped role, in each of the three environments, from another machine, under the shipped policies. The rows are answers that custody
gave; what was expected is written by hand in `tests/authorization.py`, by action. A cell in which the two differ would be bold and
name both; a test fails then.

| word | means |
|---|---|
| yes | permitted |
| factor | permitted with a second factor of the last 15 minutes, and with the approvals that the action asks for |
| approval | permitted once others have agreed |
| own | one's own things only: runs, drafts, leases, exposures, requests, certificates, factors |
| no | refused, and on record |

`a/b/c` is development/staging/production. Data is confidential; what other classes ask for is in
[the policy](../../spec/policy.md). `no role` is somebody whom the domain knows and has given nothing. Roles of one project
(`ROLE@PROJECT`) get the same for its assets, and `no` for others and for what is about the whole domain.

The enforcement level is `service`. `separated` (custody under another user of the machine) gets the same answers: no shipped policy
tells the two apart, and duties are separated at both, whatever hermetic.yaml says; a class or environment of yours may ask for
`service`. In a `cooperative` domain (custody in the caller's process) there are two differences: the domain-owner works too (seals,
opens for purposes other than debug and share, administers keys; shares and promotes with an approval), and no second factors are
asked for.

"""


def main() -> None:
    """Ask, and write."""
    sys.path.insert(0, str(ROOT))
    from tests import authorization  # noqa: PLC0415 - found by the line above

    roles = authorization.ROLES
    lines = [f"| request | action | {' | '.join(roles)} |", f"|{'---|' * (len(roles) + 2)}"]
    with tempfile.TemporaryDirectory() as folder:
        matrix = authorization.Matrix(Path(folder) / "world")
        lines += [authorization.line(name, matrix.row(name)) for name in authorization.REQUESTS]
        matrix.close()
    PAGE.write_text(HEAD + "\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
